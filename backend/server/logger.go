package server

import (
	"context"
	"fmt"
	"log/slog"
)

// guardedHandler is a handler of logs whose panics become errors, which slog
// ignores: a line that cannot be written must not end the process.
type guardedHandler struct{ slog.Handler }

func guarded(l *slog.Logger) *slog.Logger { return slog.New(guardedHandler{l.Handler()}) }

// Enabled implements slog.Handler.
func (h guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	defer func() { _ = recover() }()
	return h.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h guardedHandler) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the log's handler panicked: %v", v)
		}
	}()
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h guardedHandler) WithAttrs(attrs []slog.Attr) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return guardedHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h guardedHandler) WithGroup(name string) (with slog.Handler) {
	defer func() {
		if recover() != nil {
			with = h
		}
	}()
	return guardedHandler{h.Handler.WithGroup(name)}
}
