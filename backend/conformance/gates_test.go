package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// gates stops handlers of the action gate until they are released: the one action
// that needs the player in the same process. The zero
// value is ready; its methods are safe for concurrent use.
type gates struct {
	mu    sync.Mutex
	gates map[string]*gate
}

// gate is closed twice: reached when the first handler is there, open when all
// may pass.
type gate struct {
	reached, open         chan struct{}
	reachedOnce, openOnce sync.Once
}

type gateInput struct {
	Name string `json:"name" jsonschema:"minLength=1,maxLength=36"`
}

// register adds the action gate: it waits at the gate that its input names,
// and returns its input.
func (g *gates) register(r *streamer.Router) {
	streamer.Handle(r, "gate", func(ctx context.Context, in gateInput) (gateInput, error) {
		at := g.gate(in.Name)
		at.reachedOnce.Do(func() { close(at.reached) })
		select {
		case <-at.open:
			return in, nil
		case <-ctx.Done():
			return in, context.Cause(ctx)
		}
	})
}

// await waits until a handler has come to the gate.
func (g *gates) await(ctx context.Context, name string) error {
	select {
	case <-g.gate(name).reached:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release lets all pass that are at the gate, or come later.
func (g *gates) release(name string) {
	at := g.gate(name)
	at.openOnce.Do(func() { close(at.open) })
}

func (g *gates) gate(name string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gates == nil {
		g.gates = map[string]*gate{}
	}
	if g.gates[name] == nil {
		g.gates[name] = &gate{reached: make(chan struct{}), open: make(chan struct{})}
	}
	return g.gates[name]
}

func TestGates(t *testing.T) {
	var g gates
	r := streamer.NewRouter(nil)
	g.register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	run := func(ctx context.Context) (json.RawMessage, error) {
		in, err := registry.Actions["gate"].Decode([]byte(`{"name": "here"}`))
		if err != nil {
			return nil, err
		}
		return registry.Actions["gate"].Run(ctx, in, nil)
	}
	synctest.Test(t, func(t *testing.T) {
		g = gates{} // its channels must be of this bubble
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.await(ctx, "here"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a handler is at the gate: %v", err)
		}
		passed := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := run(t.Context())
				passed <- err
			}()
		}
		assert.NoError(t, g.await(t.Context(), "here"))
		synctest.Wait()
		if len(passed) > 0 {
			t.Error("a closed gate was passed")
		}
		g.release("here")
		g.release("here")
		assert.NoError(t, errors.Join(<-passed, <-passed))
		if _, err := run(t.Context()); err != nil {
			t.Errorf("an open gate was not passed: %v", err)
		}
		if _, err := run(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
