package conformance_test

import (
	"context"
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
type gates struct{ gates sync.Map }

// gate is reached when the first handler is there, and opened when all may pass.
type gate struct {
	reached, opened context.Context
	reach, open     context.CancelFunc
}

type gateInput struct {
	Name string `json:"name" jsonschema:"minLength=1,maxLength=36"`
}

// register adds the action gate: it waits at the gate that its input names,
// and returns its input.
func (g *gates) register(r *streamer.Router) {
	streamer.Handle(r, "gate", func(ctx context.Context, in gateInput) (gateInput, error) {
		at := g.gate(in.Name)
		at.reach()
		select {
		case <-at.opened.Done():
			return in, nil
		case <-ctx.Done():
			return in, context.Cause(ctx)
		}
	})
}

// await waits until a handler has come to the gate.
func (g *gates) await(ctx context.Context, name string) error {
	select {
	case <-g.gate(name).reached.Done():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gates) gate(name string) *gate {
	var made gate
	made.reached, made.reach = context.WithCancel(context.Background())
	made.opened, made.open = context.WithCancel(context.Background())
	kept, _ := g.gates.LoadOrStore(name, &made)
	return kept.(*gate)
}

func TestGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g gates
		r := streamer.NewRouter(nil)
		g.register(r)
		registry, err := r.Build()
		require.NoError(t, err)
		run := func(ctx context.Context) error {
			in, err := registry.Actions["gate"].Decode([]byte(`{"name": "here"}`))
			if err == nil {
				_, err = registry.Actions["gate"].Run(ctx, in, nil)
			}
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, g.await(ctx, "here"), context.DeadlineExceeded, "no handler is at the gate")
		passed := make(chan error, 2)
		for range 2 {
			go func() { passed <- run(t.Context()) }()
		}
		require.NoError(t, g.await(t.Context(), "here"))
		synctest.Wait()
		require.Empty(t, passed, "a closed gate was passed")
		require.ErrorIs(t, run(ctx), context.DeadlineExceeded, "a handler waits beyond its context")
		g.gate("here").open()
		g.gate("here").open()
		assert.NoError(t, <-passed)
		assert.NoError(t, <-passed)
		require.NoError(t, run(t.Context()), "an open gate was not passed")
	})
}
