package streamer

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// CallInfo describes the call that a context belongs to.
type CallInfo struct {
	// ID is the call's id, the same in all its attempts: the idempotency key for
	// other systems, which may see a call more than once.
	ID     string
	Action string
	// Tenant and Subject are the caller's, from its verified token. Its scopes
	// are checked before the call is accepted, see [RequireScope]: the token may
	// have expired when a stored call runs.
	Tenant  string
	Subject string
	// Attempt counts from 1.
	Attempt int
	// Correlation is on every log line of the call.
	Correlation string
	// Metadata is the request's, raw; nil if it had none.
	Metadata json.RawMessage
	// Accepted is when the call was accepted, or began if it is inline.
	Accepted time.Time
	// Deadline is when the whole call ends.
	Deadline time.Time

	report func(percent float64, text string)
}

// Info returns the info of a handler's context, for middleware and plain
// handlers. Outside of a call it is the zero CallInfo, whose methods do nothing.
func Info(ctx context.Context) CallInfo {
	info, ok := core.InfoFrom(ctx)
	if !ok {
		return CallInfo{}
	}
	return newInfo(info)
}

func newInfo(i *core.Info) CallInfo {
	return CallInfo{
		ID: i.ID, Action: i.Action, Tenant: i.Tenant, Subject: i.Subject, Attempt: i.Attempt,
		Correlation: i.Correlation, Metadata: i.Metadata, Accepted: i.Accepted, Deadline: i.Deadline, report: i.Report,
	}
}

// Progress reports how far the call is, as [Call.Progress] does.
func (i CallInfo) Progress(percent float64, text string) {
	if i.report == nil {
		return
	}
	if percent, text, ok := core.CleanProgress(percent, text); ok {
		i.report(percent, text)
	}
}
