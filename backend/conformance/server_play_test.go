package conformance_test

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/assert"
)

// The transcripts, played against the embedded server in a bubble: a store in
// memory, a network of pipes, and a clock that a transcript can move. Whatever
// the server says is what the schema allows: events, pages, ends, errors and
// goodbyes that no vector provokes.
func TestServerInBubble(t *testing.T) {
	list, o := load(t, conformance.Server), newOracle(t)
	known := conformance.KnownOf(t, "embedded", list)
	frames := 0
	for _, tr := range list {
		t.Run(tr.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				onFrame := func(frame []byte) {
					frames++
					if bad := o.serverFrame(frame); bad != nil {
						t.Errorf("the schema does not allow this: %v\n%s", bad, frame)
					}
				}
				if slices.Contains(tr.Needs, conformance.AbilityStall) {
					onFrame = func([]byte) {} // floods: they take long, and say one thing often
				}
				conformance.Play(t, tr, observed{newEmbedded(t, place{bubble: true}, tr.Settings), onFrame}, known)
			})
		})
	}
	assert.GreaterOrEqual(t, frames, 200, "frames that were judged")
}

// The transcripts, played against the embedded server as it is: a SQLite file,
// TCP, and the time there is.
func TestServer(t *testing.T) {
	list := load(t, conformance.Server)
	known := conformance.KnownOf(t, "embedded", list)
	for _, tr := range list {
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "streamer.db")
			conformance.Play(t, tr, newEmbedded(t, place{file: file}, tr.Settings), known)
		})
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
	return observedConn{c, o.onFrame}, nil
}

type observedConn struct {
	conformance.Conn
	onFrame func(frame []byte)
}

func (c observedConn) Recv(ctx context.Context) ([]byte, error) {
	frame, err := c.Conn.Recv(ctx)
	if err == nil {
		c.onFrame(frame)
	}
	return frame, err
}
