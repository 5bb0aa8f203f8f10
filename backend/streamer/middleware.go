package streamer

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// HandlerFunc is a handler without its types, for middleware: in holds the
// handler's In, and the first result must hold its Out.
type HandlerFunc func(ctx context.Context, in any) (any, error)

// Middleware wraps handlers: for logging, tracing, tenancy. [Info] returns the
// current call. The context that it passes on must be derived from the one that it
// got, which carries the call.
type Middleware func(next HandlerFunc) HandlerFunc

// callKey is the key of the call in a context that goes through the middleware.
type callKey struct{}

var errLostContext = errors.New("a middleware handed on a context that does not come from its own: the call is lost")

// applyMiddleware wraps a handler in middleware, the first outermost.
func applyMiddleware(next HandlerFunc, all []Middleware) (out HandlerFunc, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("a middleware panicked while it wrapped a handler: %v", p)
		}
	}()
	for i, middleware := range slices.Backward(all) {
		if middleware == nil {
			return nil, fmt.Errorf("middleware %d is nil", i+1)
		}
		if next = middleware(next); next == nil {
			return nil, fmt.Errorf("middleware %d returned nil", i+1)
		}
	}
	return next, nil
}
