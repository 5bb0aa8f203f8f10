package streamer

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/core/schema"
)

// Access is a question to RouterOptions.Authorize: may Subject, with Scopes, do
// Verb to the call ID of Action that Owner made? Both are of Tenant.
type Access = core.Access

// Verb is an operation on a call: [VerbFollow] or [VerbCancel].
type Verb = core.Verb

// The verbs.
const (
	VerbFollow = core.Follow
	VerbCancel = core.Cancel
)

// RouterOptions are a router's. The zero value, and nil, are useful.
type RouterOptions struct {
	// LongAttempts allows a Timeout above 14 min. Servers on Lambda refuse such
	// a router. Default false.
	LongAttempts bool
	// Authorize lets a subject act on a call of another subject of its tenant.
	// Called concurrently. Default: only the owner may.
	Authorize func(ctx context.Context, access Access) bool
}

// Router holds handlers by name. Registration neither panics nor returns errors:
// [Router.Build], which servers call when they start, returns all of them.
//
// Registration is for one goroutine. After it, all methods are safe for
// concurrent use.
type Router struct {
	options    RouterOptions
	entries    []*entry
	names      map[string]bool
	middleware []Middleware
	errs       []error
}

// entry is a registered handler without its types.
type entry struct {
	action core.Action
	// invoke calls the handler; its first result holds an Out.
	invoke func(ctx context.Context, in any, call *core.Call) (any, error)
	// fits reports whether what middleware returned is an Out.
	fits func(out any) bool
	bad  bool
}

// NewRouter returns an empty router. The options are copied; nil counts as the
// zero value.
func NewRouter(o *RouterOptions) *Router {
	r := &Router{names: map[string]bool{}}
	if o != nil {
		r.options = *o
	}
	return r
}

// Use adds middleware around every handler of the router, also around those that
// were registered before. The first is outermost.
func (r *Router) Use(middleware ...Middleware) {
	r.middleware = append(r.middleware, middleware...)
}

// Handle registers a handler that answers with one result. The name is 1 to 128
// bytes of letters, digits and ._:/-. The result's JSON has at most 96 KiB.
func Handle[In, Out any](r *Router, name string, handler func(ctx context.Context, in In) (Out, error), opts ...Option) {
	g := registration{name: name, missing: handler == nil, opts: opts}
	register(r, g, func(ctx context.Context, in In, _ *core.Call) (Out, error) { return handler(ctx, in) })
}

// HandleStream registers a handler that may report progress, emit chunks and
// make checkpoints while it works. A call that emits, or makes a checkpoint, is
// stored; so a handler that does neither may still be answered inline.
func HandleStream[In, Chunk, Out any](r *Router, name string, handler func(ctx context.Context, in In, call *Call[Chunk]) (Out, error), opts ...Option) {
	g := registration{name: name, missing: handler == nil, opts: opts, chunk: reflect.TypeFor[Chunk]()}
	register(r, g, func(ctx context.Context, in In, call *core.Call) (Out, error) {
		return handler(ctx, in, &Call[Chunk]{call: call})
	})
}

// registration describes a handler that Handle or HandleStream registers.
type registration struct {
	name    string
	missing bool // the handler is nil
	opts    []Option

	in, out, chunk reflect.Type // chunk is nil for plain handlers
	decode         func(*schema.Type) func([]byte) (any, error)
}

// register registers a handler of either kind.
func register[In, Out any](r *Router, g registration, handler func(context.Context, In, *core.Call) (Out, error)) {
	g.in, g.out, g.decode = reflect.TypeFor[In](), reflect.TypeFor[Out](), decoder[In]
	r.register(g, &entry{
		invoke: func(ctx context.Context, in any, call *core.Call) (any, error) {
			typed, err := input[In](in)
			if err != nil {
				return nil, err
			}
			return handler(ctx, typed, call)
		},
		fits: isOfType[Out],
	})
}

func (r *Router) register(g registration, e *entry) {
	var errs []error
	wrong := func(err error) { errs = append(errs, err) }
	switch {
	case !core.ValidName(g.name):
		wrong(errors.New("a name is 1 to 128 bytes of letters, digits and ._:/-"))
	case r.names[g.name]:
		wrong(errors.New("the name is registered twice"))
	}
	r.names[g.name] = true
	if g.missing {
		wrong(errors.New("the handler is nil"))
	}
	e.action = core.Action{Name: g.name, Stream: g.chunk != nil, Timeout: core.DefaultTimeout}
	o := options{action: &e.action}
	if err := o.apply(g.opts, g.in, r.options.LongAttempts); err != nil {
		wrong(err)
	}
	describe := func(what string, t reflect.Type, d schema.Direction) *schema.Type {
		s, err := schema.Describe(t, d)
		if err != nil {
			wrong(fmt.Errorf("%s: %w", what, err))
		}
		return s
	}
	if s := describe("the input", g.in, schema.Input); s != nil {
		e.action.Input, e.action.Decode = s.Published(), g.decode(s)
	}
	if s := describe("the result", g.out, schema.Output); s != nil {
		e.action.Output = s.Published()
	}
	if g.chunk != nil {
		if s := describe("the chunk", g.chunk, schema.Output); s != nil {
			e.action.Chunk = s.Published()
		}
	}
	for _, err := range errs {
		r.errs = append(r.errs, fmt.Errorf("action %q: %w", g.name, err))
	}
	e.bad = len(errs) > 0
	r.entries = append(r.entries, e)
}

// Build returns the actions that servers run, or all registration errors, joined.
// Servers call it when they start. Later registrations are not part of it.
func (r *Router) Build() (*core.Registry, error) {
	errs := r.errs[:len(r.errs):len(r.errs)]
	out := &core.Registry{
		Actions:      make(map[string]*core.Action, len(r.entries)),
		Authorize:    r.options.Authorize,
		LongAttempts: r.options.LongAttempts,
	}
	for _, e := range r.entries {
		if e.bad {
			continue
		}
		run, err := e.compose(r.middleware)
		if err != nil {
			errs = append(errs, fmt.Errorf("action %q: %w", e.action.Name, err))
			continue
		}
		action := e.action
		action.Run = run
		out.Actions[action.Name] = &action
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// compose returns the handler inside its middleware; without any, the handler
// itself.
func (e *entry) compose(middleware []Middleware) (func(context.Context, any, *core.Call) ([]byte, error), error) {
	if len(middleware) == 0 {
		return func(ctx context.Context, in any, call *core.Call) ([]byte, error) {
			return e.result(e.invoke(ctx, in, call))
		}, nil
	}
	chain, err := applyMiddleware(func(ctx context.Context, in any) (any, error) {
		if !e.action.Stream {
			return e.invoke(ctx, in, nil)
		}
		call, ok := ctx.Value(callKey{}).(*core.Call)
		if !ok {
			return nil, Permanent(errLostContext)
		}
		return e.invoke(ctx, in, call)
	}, middleware)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, in any, call *core.Call) ([]byte, error) {
		return e.result(chain(context.WithValue(ctx, callKey{}, call), in))
	}, nil
}

// result encodes what a handler returned.
func (e *entry) result(out any, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if !e.fits(out) {
		return nil, Permanent(fmt.Errorf("a middleware returned a %T that is not the result of %s", out, e.action.Name))
	}
	data, err := encode(out, "result", core.MaxResult, core.CodeResultTooLarge)
	if err != nil {
		return nil, Permanent(err)
	}
	return data, nil
}

// isOfType reports whether a value is an Out; nil is one if Out is an interface.
func isOfType[Out any](v any) bool {
	if v == nil {
		return reflect.TypeFor[Out]().Kind() == reflect.Interface
	}
	_, ok := v.(Out)
	return ok
}
