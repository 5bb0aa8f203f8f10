package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// panickingError is an error of which one method panics.
type panickingError struct{ method string }

func (e *panickingError) panicIn(method string) {
	if e.method == method {
		panic("in " + method)
	}
}

func (e *panickingError) Error() string  { e.panicIn("Error"); return "broken" }
func (e *panickingError) Unwrap() error  { e.panicIn("Unwrap"); return nil }
func (e *panickingError) Is(error) bool  { e.panicIn("Is"); return false }
func (e *panickingError) As(any) bool    { e.panicIn("As"); return false }
func (e *panickingError) String() string { panic("in String") }
func nilError() error                    { return (*core.Error)(nil) }
func ownError(code string) *core.Error   { return &core.Error{Code: code, Message: "own"} }
func permanent(err error) error          { return &core.PermanentError{Err: err} }
func later(after time.Duration) error    { return &core.RetryAfterError{After: after, Err: nilError()} }
func withCause(method string) *core.Error {
	return &core.Error{Code: "own", Cause: &panickingError{method}}
}

// The methods of a handler's error are the user's: whatever they do, the call ends
// with a code, inline as well as stored.
func TestErrorsThatCannotBeUsed(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"a nil *Error":               {nilError(), core.CodeInternal},
		"a nil *Error inside":        {fmt.Errorf("pay: %w", nilError()), core.CodeInternal},
		"a nil *Error, joined":       {errors.Join(nilError(), ownError("own")), core.CodeInternal},
		"a nil *PermanentError":      {(*core.PermanentError)(nil), core.CodeInternal},
		"a nil *ContinueError":       {(*core.ContinueError)(nil), core.CodeInternal},
		"permanent, of a nil *Error": {permanent(nilError()), core.CodeInternal},
		"retried, of a nil *Error":   {later(time.Second), core.CodeInternal},
		"Error panics":               {&panickingError{"Error"}, core.CodeInternal},
		"Unwrap panics":              {&panickingError{"Unwrap"}, core.CodeInternal},
		"As panics":                  {&panickingError{"As"}, core.CodeInternal},
		"Is panics":                  {&panickingError{"Is"}, core.CodeInternal},
		"the cause's Error panics":   {withCause("Error"), "own"},
		"the cause's Is panics":      {withCause("Is"), "own"},
	} {
		t.Run(name, func(t *testing.T) {
			fails := func(context.Context, any, *core.Call) ([]byte, error) { return nil, c.err }
			stops := func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
				call.Sink.Fail(c.err)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			inBubble(t, settings{}, func(w *world) {
				require.Equal(w, c.code, w.submit(w.request("fails", wire.ModeSync)).one(w).End.Code)
				stored := w.start("fails")
				require.Equal(w, "ack error:"+c.code, list(w.events(stored.Key)))
				require.Equal(w, c.code, w.submit(w.request("stops", wire.ModeSync)).one(w).End.Code)
			}, &core.Action{Name: "fails", Run: fails}, &core.Action{Name: "stops", Run: stops})
		})
	}
}

// A panic's value is the user's, too.
func TestPanicOfAValueThatCannotBeWritten(t *testing.T) {
	inBubble(t, settings{}, func(w *world) {
		require.Equal(w, core.CodeHandlerPanic, w.submit(w.request("panics", wire.ModeSync)).one(w).End.Code)
	}, &core.Action{Name: "panics", Run: func(context.Context, any, *core.Call) ([]byte, error) {
		panic(&panickingError{"Error"})
	}})
}

// A sanitized error keeps what decides the outcome, and no more text than fits a
// line of the log.
func TestSanitize(t *testing.T) {
	require.NoError(t, sanitize(nil))
	require.Len(t, sanitize(errors.New(strings.Repeat("x", 1<<20))).Error(), maxErrorLog)
	own := sanitize(fmt.Errorf("pay: %w", permanent(ownError("no_funds"))))
	require.Equal(t, "pay: no_funds: own", own.Error())
	require.ErrorAs(t, own, new(*core.PermanentError))
	require.ErrorAs(t, own, new(*core.Error))
	var after *core.RetryAfterError
	require.ErrorAs(t, sanitize(&core.RetryAfterError{After: time.Minute, Err: errors.New("busy")}), &after)
	require.Equal(t, time.Minute, after.After)
}
