package engine

import (
	"encoding/json"

	"github.com/pay-theory/streamer/backend/internal/core"
)

var _ core.Sink = (*Attempt)(nil)

// Emit implements core.Sink. An inline call is promoted first.
func (a *Attempt) Emit(data json.RawMessage) {
	if !a.hasFailed() && !a.reports().emit(data) {
		a.promote()
		a.reports().emit(data)
	}
}

// Checkpoint implements core.Sink. An inline call is promoted first.
func (a *Attempt) Checkpoint(data json.RawMessage) {
	if !a.hasFailed() && !a.reports().setCheckpoint(data) {
		a.promote()
		a.reports().setCheckpoint(data)
	}
}

// Progress implements core.Sink.
func (a *Attempt) Progress(percent float64, message string) {
	a.reports().setProgress(percent, message)
}

// Fail implements core.Sink.
func (a *Attempt) Fail(err error) {
	err = sanitize(err)
	a.mu.Lock()
	if a.fatal == nil {
		a.fatal = err
	}
	a.mu.Unlock()
	a.cancel(err)
}

func (a *Attempt) hasFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fatal != nil
}
