package streamer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
)

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

func build(t *testing.T, r *streamer.Router) *core.Registry {
	t.Helper()
	registry, err := r.Build()
	if err != nil {
		t.Fatal(err)
	}
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
	if got, err := run(t, registry.Actions["plain"], `{"a":1,"b":"<x>"}`, &sink{}); err != nil || got != `{"sum":"1<x>"}` {
		t.Errorf("%s %v", got, err)
	}
	s := &sink{}
	if got, err := run(t, registry.Actions["stream"], `{"a":2}`, s); err != nil || got != `{"sum":""}` || len(s.events) != 2 {
		t.Errorf("%s %v %v", got, err, s.events)
	}
	if a := registry.Actions["plain"]; a.Stream || a.Chunk != nil || a.Timeout != core.DefaultTimeout || a.Placement != core.Auto || a.Retries != 0 {
		t.Errorf("defaults: %+v", a)
	}
	if a := registry.Actions["stream"]; !a.Stream || !strings.Contains(string(a.Chunk), `"integer"`) {
		t.Errorf("stream: %+v", a)
	}
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
	if a.Placement != core.Async || a.Retries != 5 || a.Backoff != (core.Backoff{Base: time.Second, Max: time.Hour}) || a.Timeout != time.Hour ||
		!reflect.DeepEqual(a.Scopes, []string{"x", "y", "z"}) || a.Description != "what it does" {
		t.Errorf("a: %+v", a)
	}
	if a.Expect(in{A: 9}) != 7*time.Second || a.Expect(in{A: 1}) != 0 || a.Expect(in{A: 99}) != core.Threshold {
		t.Errorf("expect: %v %v %v", a.Expect(in{A: 9}), a.Expect(in{A: 1}), a.Expect(in{A: 99}))
	}
	if b.Placement != core.Sync || b.Expect(in{}) != 2*time.Second {
		t.Errorf("b: %+v", b)
	}
	if !registry.LongAttempts || registry.Authorize == nil || !registry.Authorize(t.Context(), core.Access{}) {
		t.Errorf("registry: %+v", registry)
	}
}

func TestWrongRegistrations(t *testing.T) {
	type bad struct {
		C chan int `json:"c"`
	}
	var none func(context.Context, in) (out, error)
	for name, c := range map[string]struct {
		register func(*streamer.Router)
		want     string
	}{
		"empty name":      {func(r *streamer.Router) { streamer.Handle(r, "", plain) }, `action "": a name is`},
		"long name":       {func(r *streamer.Router) { streamer.Handle(r, strings.Repeat("x", 129), plain) }, "a name is"},
		"name with space": {func(r *streamer.Router) { streamer.Handle(r, "a b", plain) }, "a name is"},
		"twice": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			streamer.HandleStream(r, "a", stream)
		}, `action "a": the name is registered twice`},
		"nil handler":    {func(r *streamer.Router) { streamer.Handle(r, "a", none) }, "the handler is nil"},
		"nil option":     {func(r *streamer.Router) { streamer.Handle(r, "a", plain, nil) }, "an option is nil"},
		"sync stream":    {func(r *streamer.Router) { streamer.HandleStream(r, "a", stream, streamer.Sync()) }, "Sync does not fit a stream handler"},
		"sync and async": {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.Async(), streamer.Sync()) }, "exclude each other"},
		"sync and long": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain, streamer.Sync(), streamer.Expect(time.Minute))
		}, "stored first"},
		"negative expect": {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.Expect(-1)) }, "not negative"},
		"nil expect":      {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.ExpectFunc[in](nil)) }, "the function is nil"},
		"other expect": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain, streamer.ExpectFunc(func(out) time.Duration { return 0 }))
		}, "ExpectFunc takes streamer_test.out, the handler streamer_test.in"},
		"negative retry": {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.Retry(-1, streamer.Backoff{})) }, "fewer than none"},
		"negative backoff": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain, streamer.Retry(1, streamer.Backoff{Base: -1}))
		}, "not negative"},
		"upside down": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain, streamer.Retry(1, streamer.Backoff{Base: 2, Max: 1}))
		}, "above its Max"},
		"no timeout":   {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.Timeout(0)) }, "no time to work in"},
		"long timeout": {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.Timeout(15*time.Minute)) }, "LongAttempts"},
		"no scope":     {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.RequireScope("")) }, "not a scope"},
		"two scopes":   {func(r *streamer.Router) { streamer.Handle(r, "a", plain, streamer.RequireScope("a b")) }, "not a scope"},
		"input": {func(r *streamer.Router) {
			streamer.Handle(r, "a", func(context.Context, bad) (int, error) { return 0, nil })
		}, "the input: streamer_test.bad.C: JSON has nothing for a chan int"},
		"result": {func(r *streamer.Router) {
			streamer.Handle(r, "a", func(context.Context, int) (func(), error) { return nil, nil })
		}, "the result: func(): JSON has nothing"},
		"chunk": {func(r *streamer.Router) {
			streamer.HandleStream(r, "a", func(context.Context, int, *streamer.Call[complex64]) (int, error) { return 0, nil })
		}, "the chunk: complex64: JSON has nothing"},
		"nil middleware": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			r.Use(nil)
		}, "middleware 1 is nil"},
		"lost handler": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			r.Use(func(streamer.HandlerFunc) streamer.HandlerFunc { return nil })
		}, "middleware 1 returned nil"},
		"panic": {func(r *streamer.Router) {
			streamer.Handle(r, "a", plain)
			r.Use(func(streamer.HandlerFunc) streamer.HandlerFunc { panic("oh") })
		}, "panicked"},
	} {
		t.Run(name, func(t *testing.T) {
			r := streamer.NewRouter(nil)
			c.register(r)
			registry, err := r.Build()
			if registry != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
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
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if infos := r.Actions(); len(infos) != 1 || infos[0].Name != "good" {
		t.Errorf("actions: %+v", infos)
	}
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
	if _, err := run(t, registry.Actions["plain"], `{"a":1}`, &sink{}); err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	if _, err := run(t, registry.Actions["stream"], `{"a":3}`, s); err != nil || len(s.events) != 3 {
		t.Fatalf("the stream's abilities are hidden: %v %v", s.events, err)
	}
	if want := []string{"outer plain", "inner plain", "outer stream", "inner stream"}; !reflect.DeepEqual(trace, want) {
		t.Errorf("%v", trace)
	}
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
	if got, err := with(double, "plain", `{"a":2}`); err != nil || got != `{"sum":"4!"}` {
		t.Errorf("%s %v", got, err)
	}
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
		if !errors.As(err, &permanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	lost := func(next streamer.HandlerFunc) streamer.HandlerFunc {
		return func(_ context.Context, v any) (any, error) { return next(context.Background(), v) }
	}
	if _, err := with(lost, "stream", `{"a":2}`); err == nil || !strings.Contains(err.Error(), "the call is lost") {
		t.Errorf("lost: %v", err)
	}
	if got, err := with(tag("x", &[]string{}), "any", `null`); err != nil || got != "null" {
		t.Errorf("any: %s %v", got, err)
	}
}

func TestActionsAreStable(t *testing.T) {
	list := func(names ...string) string {
		r := streamer.NewRouter(nil)
		for _, name := range names {
			streamer.HandleStream(r, name, stream, streamer.Expect(time.Minute), streamer.Describe("it"))
		}
		text, err := json.Marshal(r.Actions())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := list("b", "a", "c")
	if second := list("c", "b", "a"); first != second || !strings.HasPrefix(first, `[{"name":"a","description":"it","stream":true,"placement":"auto","retries":0,"timeoutMs":840000,"input":{`) {
		t.Errorf("%s\n%s", first, second)
	}
}

func TestBuildIsASnapshot(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "a", plain)
	first := build(t, r)
	streamer.Handle(r, "b", plain)
	if len(first.Actions) != 1 || len(build(t, r).Actions) != 2 {
		t.Error("what was built changed afterwards")
	}
}
