// Package serverproc runs the server under test: the real one, with its real
// store, in a process that is killed with SIGKILL at chosen points. It also has
// the jobs that it runs, and reports what their handlers do.
package serverproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/store/faultstore"
)

const (
	// Token is of the subject of Tenant that owns all calls of a run.
	Token  = "token-of-ann"
	Tenant = "acme"
	// noCrashLimit is a number of crashes that no call reaches: none has caused
	// them.
	noCrashLimit = 1 << 20
)

// Settings are what a server is started with.
type Settings struct {
	// Run is the number of the process, from 1.
	Run  int
	Data string // the file
	// Workers and Retention are the server's; 0: its defaults.
	Workers   int
	Retention time.Duration
	// Expire is how often clean-up runs beside the server's own; 0: never.
	Expire time.Duration
	// Points that others watch for are ignored.
	Kill
}

// run runs a server until the process is killed, or shuts it down on SIGTERM.
func run(settings string) error {
	var s Settings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	t := &trigger{Settings: &s}
	switch s.Point {
	case Create, Open:
		time.AfterFunc(s.Delay, killSelf)
	case CheckpointDuring, CheckpointIdle:
		go watchFile(s.Data, func() { t.reach(s.Point) })
	default:
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	queue, err := embedded.Open(s.Data, &embedded.Options{Retention: s.Retention, Logger: log})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	return errors.Join(serve(ctx, &s, faultstore.New(queue, t.hooks()), log), queue.Close())
}

func serve(ctx context.Context, s *Settings, queue *faultstore.Store, log *slog.Logger) error {
	srv, err := server.New(router(&worker{s.Run, sendEntry}), &server.Options{ //nolint:contextcheck // the store also writes for itself, and nobody waits for that
		Auth: auth.Static{Token: {Tenant: Tenant, Subject: "ann"}}, Queue: queue, Logger: log,
		Workers: s.Workers, Retention: s.Retention, MaxQuarantineCrashes: noCrashLimit,
		ReconnectWithin: 50 * time.Millisecond, Grace: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cleaned := make(chan struct{})
	go func() { // what the server's own sweeper does, more often
		defer close(cleaned)
		for s.Expire > 0 {
			select {
			case <-time.After(s.Expire):
			case <-ctx.Done():
				return
			}
			if _, err := queue.Expire(ctx, 200); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "clean-up:", err)
			}
		}
	}()
	fmt.Println(readyPrefix + l.Addr().String())
	err = srv.Serve(ctx, l)
	<-cleaned
	return err
}
