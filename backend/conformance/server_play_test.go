package conformance_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/servertest"
	sqlite "github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/memory"
)

// The transcripts, played against the embedded server in a bubble: a store in
// memory, a network of pipes, and a clock that a transcript can move.
func TestServerInBubble(t *testing.T) {
	list := load(t, conformance.Server)
	known := conformance.KnownOf(t, "embedded", list)
	for _, tr := range list {
		t.Run(tr.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queue := memory.New(nil)
				conformance.Play(t, tr, newEmbedded(t, host{
					open: inMemory(queue), listen: listenInMemory, bubble: true,
				}, tr), known)
			})
		})
	}
}

// The transcripts, played against the embedded server as it is: a SQLite file,
// TCP, and the time there is.
func TestServer(t *testing.T) {
	list := load(t, conformance.Server)
	known := conformance.KnownOf(t, "embedded", list)
	for _, tr := range list {
		t.Run(tr.Name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "streamer.db")
			conformance.Play(t, tr, newEmbedded(t, host{
				open:       func() (roles, error) { return sqlite.Open(path, nil) },
				closeStore: func(r roles) error { return r.(*sqlite.Store).Close() },
				listen:     listenTCP,
			}, tr), known)
		})
	}
}

func listenTCP() (net.Listener, func(context.Context) (net.Conn, error), error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	return l, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}, nil
}

func listenInMemory() (net.Listener, func(context.Context) (net.Conn, error), error) {
	l := servertest.NewListener()
	return l, func(ctx context.Context) (net.Conn, error) { return l.DialContext(ctx, "", "") }, nil
}
