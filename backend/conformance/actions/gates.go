package actions

import (
	"context"
	"sync"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Gates holds handlers up at named points until they are let go. The zero
// value is ready; its methods are safe for concurrent use.
type Gates struct {
	mu    sync.Mutex
	gates map[string]*gate
}

// gate is closed twice: come when the first handler is there, open when all
// may pass.
type gate struct {
	come, open           chan struct{}
	comeOnce, openedOnce sync.Once
}

// Passage names a gate.
type Passage struct {
	Name string `json:"name" jsonschema:"minLength=1,maxLength=36"`
}

// Register adds the action gate: it waits at the gate that its input names,
// and returns its input.
func (g *Gates) Register(r *streamer.Router) {
	streamer.Handle(r, "gate", func(ctx context.Context, in Passage) (Passage, error) {
		at := g.at(in.Name)
		at.comeOnce.Do(func() { close(at.come) })
		select {
		case <-at.open:
			return in, nil
		case <-ctx.Done():
			return in, context.Cause(ctx)
		}
	})
}

// Await waits until a handler has come to the gate.
func (g *Gates) Await(ctx context.Context, name string) error {
	select {
	case <-g.at(name).come:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Release lets all pass that are at the gate, or come later.
func (g *Gates) Release(name string) {
	at := g.at(name)
	at.openedOnce.Do(func() { close(at.open) })
}

func (g *Gates) at(name string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gates == nil {
		g.gates = map[string]*gate{}
	}
	at, ok := g.gates[name]
	if !ok {
		at = &gate{come: make(chan struct{}), open: make(chan struct{})}
		g.gates[name] = at
	}
	return at
}
