package servers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/streamer"
)

// token is what clients authenticate with, subject who they are then.
const (
	token   = "bench"
	subject = "load"
)

// Database is where a Streamer server keeps its data, in its directory.
func Database(dir string) string { return filepath.Join(dir, "streamer.db") }

func serveStreamer(ctx context.Context, s *settings, controls *http.ServeMux) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	// The server would open the same store by itself, but give no access to it.
	store, err := embedded.Open(Database(s.Dir), &embedded.Options{
		Logger: logger, Now: func() time.Time { return time.Now().Add(-s.Age) },
	})
	if err != nil {
		return err
	}
	controls.HandleFunc("/expire", func(w http.ResponseWriter, r *http.Request) { expire(w, r, store) })
	err = server.Run(ctx, router(), &server.Options{
		Address: s.Address, Queue: store, Workers: s.Workers, Grace: time.Second, Logger: logger,
		Auth: auth.Static{token: {Tenant: "bench", Subject: subject}},
	})
	return errors.Join(err, store.Close())
}

// expire deletes what has expired, in the steps of the server's sweeper, which
// comes once per minute, and writes how many calls it has deleted.
func expire(w http.ResponseWriter, r *http.Request, store *embedded.Store) {
	during, _ := time.ParseDuration(r.FormValue("for"))
	deleted, n := 0, 1
	var err error
	for end := time.Now().Add(during); n > 0 && err == nil && time.Now().Before(end); deleted += n {
		n, err = store.Expire(r.Context(), 200)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprint(w, deleted)
}

// Names of the actions that the Streamer server has.
const (
	// Echo takes an Order and returns it.
	Echo = "bench.echo"
	// Clock returns the time at which its handler began, in Unix nanoseconds.
	Clock = "bench.clock"
	// Report takes Params and reports progress, whose text is the time of the
	// report, in Unix nanoseconds.
	Report = "bench.report"
	// Walk takes Params and emits chunks 1, 2, 3 …, with a checkpoint after
	// each, until its server is killed. The next attempt emits one more, and
	// returns its number.
	Walk = "bench.walk"
)

// Order is what echoes carry.
type Order struct {
	Customer string   `json:"customer"`
	Amount   int64    `json:"amount"`
	Currency string   `json:"currency"`
	Tags     []string `json:"tags"`
	Paid     bool     `json:"paid"`
	Note     string   `json:"note"`
}

// NewOrder returns an order that makes an inline request of 300 bytes.
func NewOrder() Order {
	return Order{
		Customer: "cus_4gT9", Amount: 129900, Currency: "EUR", Tags: []string{"new", "web"}, Paid: true,
		Note: strings.Repeat("x", 106),
	}
}

// Params say at which interval Report reports and Walk emits.
type Params struct {
	IntervalMs int `json:"intervalMs"`
	// Reports is how many reports Report makes.
	Reports int `json:"reports"`
	// Chunks has Report emit chunks, which are stored, instead of progress.
	Chunks bool `json:"chunks"`
}

func router() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, Echo, func(_ context.Context, in Order) (Order, error) { return in, nil })
	streamer.Handle(r, Clock, func(context.Context, struct{}) (int64, error) { return time.Now().UnixNano(), nil })
	streamer.HandleStream(r, Report, report, streamer.Async())
	streamer.HandleStream(r, Walk, emitInSteps, streamer.Async())
	return r
}

func report(ctx context.Context, in Params, call *streamer.Call[int64]) (int, error) {
	ticker := time.NewTicker(time.Duration(in.IntervalMs) * time.Millisecond)
	defer ticker.Stop()
	for i := range in.Reports {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return i, ctx.Err()
		}
		if now := time.Now().UnixNano(); in.Chunks {
			call.Emit(now)
		} else {
			call.Progress(100*float64(i)/float64(in.Reports), strconv.FormatInt(now, 10))
		}
	}
	return in.Reports, nil
}

// emitInSteps emits a chunk and makes a checkpoint once in each interval.
func emitInSteps(ctx context.Context, in Params, call *streamer.Call[int]) (int, error) {
	at := 0
	resumed, err := call.Resume(&at)
	if err != nil {
		return 0, err
	}
	interval := time.Duration(in.IntervalMs) * time.Millisecond
	timer := time.NewTimer(rand.N(interval)) // spread over the interval
	defer timer.Stop()
	for !resumed {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return at, ctx.Err()
		}
		at++
		call.Emit(at)
		call.Checkpoint(at)
		timer.Reset(interval)
	}
	call.Emit(at + 1)
	call.Checkpoint(at + 1)
	return at + 1, nil
}
