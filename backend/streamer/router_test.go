package streamer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type in struct {
	A int    `json:"a" jsonschema:"minimum=1"`
	B string `json:"b,omitempty"`
}

type out struct {
	Sum string `json:"sum"`
}

func plain(_ context.Context, v in) (out, error) { return out{fmt.Sprint(v.A, v.B)}, nil }

func stream(_ context.Context, v in, call *streamer.Call[int]) (out, error) {
	for i := range v.A {
		call.Emit(i)
	}
	return out{v.B}, nil
}

func build(t testing.TB, r *streamer.Router) *core.Registry {
	t.Helper()
	registry, err := r.Build()
	require.NoError(t, err)
	return registry
}

// sink records what a handler reports.
type sink struct {
	events []string
	chunks []json.RawMessage
	failed error
}

func (s *sink) Emit(data json.RawMessage) {
	s.events, s.chunks = append(s.events, "chunk "+string(data)), append(s.chunks, data)
}

func (s *sink) Checkpoint(data json.RawMessage) {
	s.events = append(s.events, "checkpoint "+string(data))
}

func (s *sink) Progress(p float64, text string) {
	s.events = append(s.events, fmt.Sprintf("progress %v %s", p, text))
}
func (s *sink) Fail(err error) { s.failed = err }

// run calls an action as the engine does.
func run(t *testing.T, a *core.Action, payload string, s *sink) (string, error) {
	t.Helper()
	v, err := a.Decode([]byte(payload))
	if err != nil {
		return "", err
	}
	call := &core.Call{Info: core.Info{ID: "id", Action: a.Name, Tenant: "t", Subject: "s", Attempt: 1, Report: s.Progress}, Sink: s}
	data, err := a.Run(core.WithInfo(t.Context(), &call.Info), v, call)
	return string(data), err
}

func TestHandleAndHandleStream(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "plain", plain)
	streamer.HandleStream(r, "stream", stream)
	registry := build(t, r)
	a := registry.Actions["plain"]
	got, err := run(t, a, `{"a":1,"b":"<x>"}`, &sink{})
	require.NoError(t, err)
	require.Equal(t, `{"sum":"1<x>"}`, got)
	require.False(t, a.Stream)
	require.Nil(t, a.Chunk)
	require.Equal(t, core.DefaultTimeout, a.Timeout)
	require.Equal(t, core.Auto, a.Placement)
	require.Zero(t, a.Retries)

	a, s := registry.Actions["stream"], &sink{}
	got, err = run(t, a, `{"a":2}`, s)
	require.NoError(t, err)
	require.Equal(t, `{"sum":""}`, got)
	require.Len(t, s.events, 2)
	require.True(t, a.Stream)
	require.Contains(t, string(a.Chunk), `"integer"`)
}

func TestOptions(t *testing.T) {
	r := streamer.NewRouter(&streamer.RouterOptions{LongAttempts: true, Authorize: func(context.Context, streamer.Access) bool { return true }})
	streamer.HandleStream(r, "a", stream,
		streamer.ExpectFunc(func(v in) time.Duration {
			if v.A == 99 {
				panic("no idea")
			}
			return time.Duration(v.A-2) * time.Second
		}),
		streamer.Async(), streamer.Retry(5, streamer.Backoff{Base: time.Second, Max: time.Hour}), streamer.Timeout(time.Hour),
		streamer.RequireScope("x", "y"), streamer.RequireScope("z"), streamer.Describe("what it does"))
	streamer.Handle(r, "b", plain, streamer.Sync(), streamer.Expect(2*time.Second))
	registry := build(t, r)
	a, b := registry.Actions["a"], registry.Actions["b"]
	require.Equal(t, core.Async, a.Placement)
	require.Equal(t, 5, a.Retries)
	require.Equal(t, core.Backoff{Base: time.Second, Max: time.Hour}, a.Backoff)
	require.Equal(t, time.Hour, a.Timeout)
	require.Equal(t, []string{"x", "y", "z"}, a.Scopes)
	require.Equal(t, "what it does", a.Description)
	require.Equal(t, 7*time.Second, a.Expect(in{A: 9}))
	require.Zero(t, a.Expect(in{A: 1}))
	require.Equal(t, core.Threshold, a.Expect(in{A: 99}))
	require.Equal(t, core.Sync, b.Placement)
	require.Equal(t, 2*time.Second, b.Expect(in{}))
	require.True(t, registry.LongAttempts)
	require.True(t, registry.Authorize(t.Context(), core.Access{}))
}

func TestWrongRegistrations(t *testing.T) {
	type bad struct {
		C chan int `json:"c"`
	}
	named := func(name string) func(*streamer.Router) {
		return func(r *streamer.Router) { streamer.Handle(r, name, plain) }
	}
	with := func(opts ...streamer.Option) func(*streamer.Router) {
		return func(r *streamer.Router) { streamer.Handle(r, "a", plain, opts...) }
	}
	using := func(m streamer.Middleware) func(*streamer.Router) {
		return func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			r.Use(m)
		}
	}
	for name, c := range map[string]struct {
		register func(*streamer.Router)
		want     string
	}{
		"empty name":      {named(""), `action "": a name is`},
		"long name":       {named(strings.Repeat("x", 129)), "a name is"},
		"name with space": {named("a b"), "a name is"},
		"twice": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			streamer.HandleStream(r, "a", stream)
		}, `action "a": the name is registered twice`},
		"nil handler": {func(r *streamer.Router) {
			streamer.Handle[in, out](r, "a", nil)
		}, "the handler is nil"},
		"nil option": {with(nil), "an option is nil"},
		"sync stream": {func(r *streamer.Router) {
			streamer.HandleStream(r, "a", stream, streamer.Sync())
		}, "Sync does not fit a stream handler"},
		"sync and async":   {with(streamer.Async(), streamer.Sync()), "exclude each other"},
		"sync and long":    {with(streamer.Sync(), streamer.Expect(time.Minute)), "stored first"},
		"negative expect":  {with(streamer.Expect(-1)), "not negative"},
		"nil expect":       {with(streamer.ExpectFunc[in](nil)), "the function is nil"},
		"other expect":     {with(streamer.ExpectFunc(func(out) time.Duration { return 0 })), "ExpectFunc takes streamer_test.out, the handler streamer_test.in"},
		"negative retry":   {with(streamer.Retry(-1, streamer.Backoff{})), "fewer than none"},
		"negative backoff": {with(streamer.Retry(1, streamer.Backoff{Base: -1})), "not negative"},
		"upside down":      {with(streamer.Retry(1, streamer.Backoff{Base: 2, Max: 1})), "above its Max"},
		"no timeout":       {with(streamer.Timeout(0)), "no time to work in"},
		"long timeout":     {with(streamer.Timeout(15 * time.Minute)), "LongAttempts"},
		"no scope":         {with(streamer.RequireScope("")), "not a scope"},
		"two scopes":       {with(streamer.RequireScope("a b")), "not a scope"},
		"input": {func(r *streamer.Router) {
			streamer.Handle(r, "a", func(context.Context, bad) (int, error) { return 0, nil })
		}, "the input: streamer_test.bad.C: JSON has nothing for a chan int"},
		"result": {func(r *streamer.Router) {
			streamer.Handle(r, "a", func(context.Context, int) (func(), error) { return nil, nil })
		}, "the result: func(): JSON has nothing"},
		"chunk": {func(r *streamer.Router) {
			streamer.HandleStream(r, "a", func(context.Context, int, *streamer.Call[complex64]) (int, error) { return 0, nil })
		}, "the chunk: complex64: JSON has nothing"},
		"nil middleware": {using(nil), "middleware 1 is nil"},
		"lost handler":   {using(func(streamer.HandlerFunc) streamer.HandlerFunc { return nil }), "middleware 1 returned nil"},
		"panic":          {using(func(streamer.HandlerFunc) streamer.HandlerFunc { panic("oh") }), "panicked"},
	} {
		t.Run(name, func(t *testing.T) {
			r := streamer.NewRouter(nil)
			c.register(r)
			registry, err := r.Build()
			require.Nil(t, registry)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestBuildReportsEveryError(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "a b", plain, streamer.Timeout(-1))
	streamer.HandleStream(r, "good", stream)
	streamer.HandleStream(r, "c", stream, streamer.Sync())
	_, err := r.Build()
	for _, want := range []string{"a name is", "no time", "Sync does not fit"} {
		require.ErrorContains(t, err, want)
	}
	infos := r.Actions()
	require.Len(t, infos, 1)
	require.Equal(t, "good", infos[0].Name)
}

func tag(name string, trace *[]string) streamer.Middleware {
	return func(next streamer.HandlerFunc) streamer.HandlerFunc {
		return func(ctx context.Context, v any) (any, error) {
			*trace = append(*trace, name+" "+streamer.Info(ctx).Action)
			return next(ctx, v)
		}
	}
}

func TestMiddlewareReachesEveryHandler(t *testing.T) {
	var trace []string
	r := streamer.NewRouter(nil)
	r.Use(tag("outer", &trace))
	streamer.Handle(r, "plain", plain)
	r.Use(tag("inner", &trace))
	streamer.HandleStream(r, "stream", stream)
	registry := build(t, r)
	_, err := run(t, registry.Actions["plain"], `{"a":1}`, &sink{})
	require.NoError(t, err)
	s := &sink{}
	_, err = run(t, registry.Actions["stream"], `{"a":3}`, s)
	require.NoError(t, err)
	require.Len(t, s.events, 3, "the stream's abilities are not hidden")
	require.Equal(t, []string{"outer plain", "inner plain", "outer stream", "inner stream"}, trace)
}

func TestMiddlewareMayChangeValuesNotTypes(t *testing.T) {
	with := func(m streamer.Middleware, name, payload string) (string, error) {
		r := streamer.NewRouter(nil)
		streamer.Handle(r, "plain", plain)
		streamer.HandleStream(r, "stream", stream)
		streamer.Handle(r, "any", func(context.Context, any) (any, error) { return nil, nil })
		r.Use(m)
		return run(t, build(t, r).Actions[name], payload, &sink{})
	}
	double := func(next streamer.HandlerFunc) streamer.HandlerFunc {
		return func(ctx context.Context, v any) (any, error) {
			v = in{A: v.(in).A * 2}
			got, err := next(ctx, v)
			return out{got.(out).Sum + "!"}, err
		}
	}
	got, err := with(double, "plain", `{"a":2}`)
	require.NoError(t, err)
	require.Equal(t, `{"sum":"4!"}`, got)
	wrong := map[string]streamer.Middleware{
		"handed on a string": func(next streamer.HandlerFunc) streamer.HandlerFunc {
			return func(ctx context.Context, _ any) (any, error) { return next(ctx, "x") }
		},
		"handed on a <nil>": func(next streamer.HandlerFunc) streamer.HandlerFunc {
			return func(ctx context.Context, _ any) (any, error) { return next(ctx, nil) }
		},
		"returned a int": func(streamer.HandlerFunc) streamer.HandlerFunc {
			return func(context.Context, any) (any, error) { return 1, nil }
		},
		"returned a <nil>": func(streamer.HandlerFunc) streamer.HandlerFunc {
			return func(context.Context, any) (any, error) { return nil, nil }
		},
	}
	for want, m := range wrong {
		_, err := with(m, "plain", `{"a":2}`)
		var permanent *core.PermanentError
		require.ErrorAs(t, err, &permanent)
		require.ErrorContains(t, err, want)
	}
	lost := func(next streamer.HandlerFunc) streamer.HandlerFunc {
		return func(_ context.Context, v any) (any, error) { return next(context.Background(), v) }
	}
	_, err = with(lost, "stream", `{"a":2}`)
	require.ErrorContains(t, err, "the call is lost")
	got, err = with(tag("x", &[]string{}), "any", `null`)
	require.NoError(t, err)
	require.Equal(t, "null", got)
}

func TestActionsAreStable(t *testing.T) {
	list := func(names ...string) string {
		r := streamer.NewRouter(nil)
		for _, name := range names {
			streamer.HandleStream(r, name, stream, streamer.Expect(time.Minute), streamer.Describe("it"))
		}
		text, err := json.Marshal(r.Actions())
		require.NoError(t, err)
		return string(text)
	}
	first := list("b", "a", "c")
	require.Equal(t, first, list("c", "b", "a"))
	begins := `[{"name":"a","description":"it","stream":true,"placement":"auto","retries":0,"timeoutMs":840000,"input":{`
	require.Equal(t, begins, first[:len(begins)])
}

func TestBuildIsASnapshot(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "a", plain)
	first := build(t, r)
	streamer.Handle(r, "b", plain)
	require.Len(t, first.Actions, 1, "what was built does not change afterwards")
	require.Len(t, build(t, r).Actions, 2)
}
