package conformance_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/store/memory"
)

// Whatever the server says in any of the transcripts is what the schema allows:
// events, pages, ends, errors and goodbyes that no vector provokes. Whether a
// transcript passes is another test's question.
func TestServerSpeaksTheSchema(t *testing.T) {
	list := load(t, conformance.Server)
	o := newOracle(t)
	frames := 0
	for _, tr := range list {
		if slices.Contains(tr.Needs, conformance.AbilityStall) {
			continue // floods: they take long, and say one thing often
		}
		t.Run(tr.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queue := memory.New(nil)
				target := newEmbedded(t, host{open: inMemory(queue), listen: listenInMemory, bubble: true}, tr)
				onFrame := func(frame []byte) {
					frames++
					if bad := o.serverFrame(frame); bad != nil {
						t.Errorf("the schema does not allow this: %v\n%s", bad, frame)
					}
				}
				if err := conformance.Run(t.Context(), tr, observed{target, onFrame}, nil); err != nil {
					t.Log(err)
				}
			})
		})
	}
	if frames < 200 {
		t.Errorf("only %d frames were judged", frames)
	}
}

// observed is an embedded server whose frames are passed on to a test.
type observed struct {
	*embedded
	onFrame func(frame []byte)
}

func (o observed) Connect(ctx context.Context, who conformance.Identity) (conformance.Conn, error) {
	c, err := o.embedded.Connect(ctx, who)
	if err != nil {
		return nil, err
	}
	return &observedConn{c.(*conformance.Socket), o.onFrame}, nil
}

type observedConn struct {
	*conformance.Socket
	onFrame func(frame []byte)
}

func (c *observedConn) Recv(ctx context.Context) ([]byte, error) {
	frame, err := c.Socket.Recv(ctx)
	if err == nil {
		c.onFrame(frame)
	}
	return frame, err
}
