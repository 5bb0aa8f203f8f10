package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/embedded"
)

// Who asks, and with what.
const (
	token   = "bench"
	tenant  = "bench"
	subject = "load"
)

// Database is where a Streamer server keeps its data, in the directory that is
// a peer's.
func Database(dir string) string { return filepath.Join(dir, "streamer.db") }

func openStreamer(ctx context.Context, s *settings, address string, controls *http.ServeMux) (*service, error) {
	o := &server.Options{
		Data: Database(s.Dir), Workers: s.Workers, Grace: time.Second,
		Auth:   auth.Static{token: {Tenant: tenant, Subject: subject}},
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	closeStore := func() error { return nil }
	if s.Expire {
		// The server's own sweeper would come once a minute. This one does the
		// same when it is asked to.
		store, err := embedded.Open(o.Data, &embedded.Options{Logger: o.Logger})
		if err != nil {
			return nil, err
		}
		o.Queue, closeStore = store, store.Close
		controls.HandleFunc("POST /expire", func(w http.ResponseWriter, r *http.Request) { expire(w, r, store) })
	}
	srv, err := server.New(router(), o)
	if err != nil {
		return nil, errors.Join(err, closeStore())
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return nil, errors.Join(err, srv.Shutdown(ended), closeStore())
	}
	return &service{run: func(ctx context.Context) error {
		return errors.Join(srv.Serve(ctx, l), closeStore())
	}}, nil
}

// expire deletes what has expired, in the steps in which the engine does it,
// and tells how many calls each has deleted.
func expire(w http.ResponseWriter, r *http.Request, store *embedded.Store) {
	const step = 200
	for {
		n, err := store.Expire(r.Context(), step)
		if err != nil {
			if r.Context().Err() == nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
			return
		}
		_, _ = fmt.Fprintln(w, n)
		_ = http.NewResponseController(w).Flush()
		if n < step {
			return
		}
	}
}
