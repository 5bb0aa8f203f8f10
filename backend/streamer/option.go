package streamer

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
)

// Option is a property of an action, for [Handle] and [HandleStream]. An invalid
// option is an error of the registration. Of two that set the same property the
// later one applies; scopes add up.
type Option func(*options)

type options struct {
	action     *core.Action
	sync       bool
	expectType reflect.Type
	errs       []error
}

func (o *options) wrong(format string, args ...any) {
	o.errs = append(o.errs, fmt.Errorf(format, args...))
}

// Backoff is how long to wait before another attempt: a random time up to an
// interval that doubles with each failure ("full jitter").
type Backoff struct {
	// Base is the first interval. Default 1 s.
	Base time.Duration
	// Max bounds the interval. Default 1 min.
	Max time.Duration
}

// Expect sets how long a call should take. From 5 s on, calls are stored before
// they run; shorter ones run at once, and are stored when they overrun 5 s.
// Default 0.
func Expect(d time.Duration) Option {
	return func(o *options) {
		if d < 0 {
			o.wrong("Expect: a time is not negative")
		}
		o.action.Expect, o.expectType = func(any) time.Duration { return d }, nil
		if d == 0 {
			o.action.Expect = nil
		}
	}
}

// ExpectFunc is [Expect] by the call's input. In must be the handler's. It is
// called for every request, so it should be fast; if it panics, the call counts as
// a long one.
func ExpectFunc[In any](expect func(In) time.Duration) Option {
	return func(o *options) {
		if expect == nil {
			o.wrong("ExpectFunc: the function is nil")
			return
		}
		o.expectType = reflect.TypeFor[In]()
		o.action.Expect = func(in any) (d time.Duration) {
			defer func() {
				if recover() != nil {
					d = core.Threshold // without an estimate the call is stored first
				}
			}()
			typed, _ := in.(In)
			return max(expect(typed), 0)
		}
	}
}

// Sync keeps an action out of the store unless the client requests it: it runs
// inline, and is not promoted when it overruns 5 s. It cannot be combined with
// [HandleStream], whose chunks must be stored.
func Sync() Option {
	return func(o *options) { o.sync = true }
}

// Async has every call stored before it runs. Calls of mode sync are refused.
func Async() Option {
	return func(o *options) { o.action.Placement = core.Async }
}

// Retry allows n failures beyond the first: errors, panics and timeouts.
// Default 0. What an attempt emitted after its last checkpoint is discarded when
// the next one begins.
func Retry(n int, backoff Backoff) Option {
	return func(o *options) {
		switch {
		case n < 0:
			o.wrong("Retry: %d failures are fewer than none", n)
		case backoff.Base < 0 || backoff.Max < 0:
			o.wrong("Retry: a backoff is not negative")
		case backoff.Max > 0 && backoff.Base > backoff.Max:
			o.wrong("Retry: the backoff's Base %v is above its Max %v", backoff.Base, backoff.Max)
		}
		o.action.Retries, o.action.Backoff = n, core.Backoff(backoff)
	}
}

// Timeout bounds one attempt, not the whole call. Default 14 min, which is also
// the maximum unless the router allows LongAttempts; longer work uses checkpoints.
func Timeout(d time.Duration) Option {
	return func(o *options) {
		if d <= 0 {
			o.wrong("Timeout: %v is no time to work in", d)
		}
		o.action.Timeout = d
	}
}

// RequireScope admits only callers whose token has all of these scopes. Other
// callers get forbidden.
func RequireScope(scopes ...string) Option {
	return func(o *options) {
		for _, scope := range scopes {
			if scope == "" || strings.ContainsAny(scope, " \t\r\n") {
				o.wrong("RequireScope: %q is not a scope", scope)
			}
		}
		o.action.Scopes = append(o.action.Scopes, scopes...)
	}
}

// Describe sets a description of the action for people.
func Describe(text string) Option {
	return func(o *options) { o.action.Description = text }
}

// apply runs the options and returns everything that is wrong with them.
func (o *options) apply(opts []Option, in reflect.Type, long bool) error {
	a := o.action
	for _, opt := range opts {
		if opt == nil {
			o.wrong("an option is nil")
			continue
		}
		opt(o)
	}
	if o.sync {
		switch {
		case a.Stream:
			o.wrong("Sync does not fit a stream handler: what it emits has to be stored")
		case a.Placement == core.Async:
			o.wrong("Sync and Async exclude each other")
		case a.Expect != nil && o.expectType == nil && a.Expect(nil) >= core.Threshold:
			o.wrong("Sync does not fit Expect of %v or more: such calls are stored first", core.Threshold)
		}
		a.Placement = core.Sync
	}
	if o.expectType != nil && o.expectType != in {
		o.wrong("ExpectFunc takes %v, the handler %v", o.expectType, in)
	}
	if a.Timeout > core.DefaultTimeout && !long {
		o.wrong("Timeout: %v is above %v; use checkpoints, or allow LongAttempts in RouterOptions", a.Timeout, core.DefaultTimeout)
	}
	return errors.Join(o.errs...)
}
