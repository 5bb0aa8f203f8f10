package server_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

type panickingError struct{}

func (panickingError) Error() string { panic("in Error") }
func (panickingError) Is(error) bool { panic("in Is") }

// An authenticator's errors are the user's: what they do ends neither the server nor
// the connection.
func TestErrorsOfTheAuthenticatorThatCannotBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := map[string]error{"nil": (*auth.Error)(nil), "panics": panickingError{}}
		h := inBubble(t, router(), server.Options{Auth: auth.AuthenticatorFunc(func(_ context.Context, token string) (auth.Identity, error) {
			return identities[token], failures[token]
		})})
		p := h.dial("ann")
		for token := range failures {
			status, code, _ := h.refused(bearer(token))
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.Equal(t, wire.CodeUnavailable, code)
			p.send(`{"type":"auth","ref":"r","token":"%s"}`, token)
			require.Equal(t, wire.CodeUnavailable, p.next().Code)
		}
	})
}

// panickingLog is a handler of logs whose methods panic.
type panickingLog struct{ method string }

func (l panickingLog) panicIn(method string) {
	if l.method == method {
		panic("in " + method)
	}
}

func (l panickingLog) Enabled(context.Context, slog.Level) bool  { l.panicIn("Enabled"); return true }
func (l panickingLog) Handle(context.Context, slog.Record) error { l.panicIn("Handle"); return nil }
func (l panickingLog) WithAttrs([]slog.Attr) slog.Handler        { l.panicIn("WithAttrs"); return l }
func (l panickingLog) WithGroup(string) slog.Handler             { l.panicIn("WithGroup"); return l }

// A logger that panics ends nothing.
func TestLoggerThatPanics(t *testing.T) {
	for _, method := range []string{"Enabled", "Handle", "WithAttrs"} {
		r := router()
		streamer.Handle(r, "fails", func(context.Context, struct{}) (struct{}, error) { return struct{}{}, panickingError{} })
		h := startWith(t, r, server.Options{Logger: slog.New(panickingLog{method})})
		p := h.dial("ann")
		p.call("fails", `{}`)
		require.Equal(t, wire.CodeInternal, p.next(wire.TypeAck).Code, method)
	}
}
