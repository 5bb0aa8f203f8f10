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
				target := newEmbedded(t, host{open: inMemory(queue), listen: listenPipe, bubble: true}, tr)
				hear := func(frame []byte) {
					frames++
					if bad := o.server(frame); bad != nil {
						t.Errorf("the schema does not allow this: %v\n%s", bad, frame)
					}
				}
				if err := conformance.Run(t.Context(), tr, listened{target, hear}, nil); err != nil {
					t.Log(err)
				}
			})
		})
	}
	if frames < 200 {
		t.Errorf("only %d frames were judged", frames)
	}
}

// listened is an embedded server whose frames somebody listens to.
type listened struct {
	*embedded
	hear func(frame []byte)
}

func (l listened) Connect(ctx context.Context, who conformance.Identity) (conformance.Conn, error) {
	c, err := l.embedded.Connect(ctx, who)
	if err != nil {
		return nil, err
	}
	return &listenedConn{c.(*conformance.Socket), l.hear}, nil
}

type listenedConn struct {
	*conformance.Socket
	hear func(frame []byte)
}

func (c *listenedConn) Recv(ctx context.Context) ([]byte, error) {
	frame, err := c.Socket.Recv(ctx)
	if err == nil {
		c.hear(frame)
	}
	return frame, err
}
