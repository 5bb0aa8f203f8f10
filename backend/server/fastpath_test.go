package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/require"
)

// An action that was quick a hundred times, and is performed by whoever reads,
// may still block: the connection is read on, and its answer comes later.
func TestFastActionThatBlocks(t *testing.T) {
	r := streamer.NewRouter(nil)
	gate := make(chan struct{})
	streamer.Handle(r, "gate", func(ctx context.Context, wait bool) (bool, error) {
		if !wait {
			return false, nil
		}
		select {
		case <-gate:
			return true, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	})
	h := startWith(t, r, server.Options{})
	p := h.dial("ann")
	train := func() {
		for range 100 {
			id := p.call("gate", "false")
			require.Equal(t, id, p.next().ID)
		}
	}
	train()
	first := p.call("gate", "true")
	train()
	second, third := p.call("gate", "true"), p.call("gate", "true")
	p.send(`{"type":"cancel","ref":"c","id":"%s"}`, second)
	m := p.next(wire.TypeOK)
	require.Equal(t, second, m.ID)
	require.Equal(t, wire.CodeCancelled, m.Code)
	close(gate)
	got := map[string]string{}
	for range 2 {
		m := p.next(wire.TypeOK)
		got[m.ID] = string(m.Payload)
	}
	require.Equal(t, map[string]string{first: "true", third: "true"}, got)
}

// A call that blocks is promoted although whoever read performs it: its ack
// does not wait for its end.
func TestFastActionIsPromoted(t *testing.T) {
	r := streamer.NewRouter(nil)
	gate := make(chan struct{})
	streamer.Handle(r, "gate", func(ctx context.Context, wait bool) (bool, error) {
		if wait {
			<-gate
		}
		return wait, nil
	})
	h := startWith(t, r, server.Options{Threshold: time.Millisecond}) // less than the reader's patience
	p := h.dial("ann")
	for range 100 {
		p.call("gate", "false")
		p.expect(wire.TypeResult, wire.TypeAck)
	}
	id := p.call("gate", "true")
	p.expect(wire.TypeAck)
	close(gate)
	require.Equal(t, id, p.expect(wire.TypeResult).ID)
}

// Whatever the mixture of quick and slow calls, alone and in batches, each is
// answered once.
func TestEachCallIsAnsweredOnce(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "nap", func(ctx context.Context, ms int) (int, error) {
		if ms > 0 {
			<-time.After(time.Duration(ms) * time.Millisecond)
		}
		return ms, nil
	})
	h := startWith(t, r, server.Options{})
	const calls, window = 400, 20
	var peers sync.WaitGroup
	for n := range 4 {
		p := h.dial("ann")
		peers.Go(func() {
			open := map[string]string{}
			for i := range calls {
				payload := "0"
				if i%37 == n {
					payload = "12"
				}
				id := wire.NewID()
				message := fmt.Sprintf(`{"type":"request","id":"%s","action":"nap","payload":%s}`, id, payload)
				if i%5 == 0 {
					message = "[" + message + `,{"type":"ping"}]`
				}
				open[id] = payload
				p.send("%s", message)
				for len(open) >= window || i == calls-1 && len(open) > 0 {
					m := p.next(wire.TypePong)
					if open[m.ID] != string(m.Payload) || !json.Valid(m.Payload) {
						t.Errorf("%s of %s is answered %s", m.Type, m.ID, m.Payload)
						return
					}
					delete(open, m.ID)
				}
			}
		})
	}
	peers.Wait()
}
