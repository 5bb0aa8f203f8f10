package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// measurements make the tables, in this order.
var measurements = []struct {
	name string
	run  func(b *bench, ctx context.Context) (*table, error)
}{
	{"inline", (*bench).inline},
	{"durable", (*bench).durable},
	{"peers", (*bench).peers},
	{"pickup", (*bench).pickup},
	{"progress", (*bench).progress},
	{"idle", (*bench).idleConnections},
	{"resume", (*bench).resume},
	{"cleanup", (*bench).cleanup},
	{"connections", (*bench).connectionGrowth},
	{"stored", (*bench).storedGrowth},
	{"client", (*bench).client},
}

func names() (out []string) {
	for _, m := range measurements {
		out = append(out, m.name)
	}
	return out
}

type bench struct {
	*options
	dir    string
	stderr io.Writer
	begun  time.Time
	// table is what is being made, running are its servers.
	table   string
	running []*servers.Server
}

// run makes the tables that are wanted and prints them on out; what is being
// measured it prints on stderr. It leaves neither processes nor files behind.
func run(ctx context.Context, o *options, out, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "streamer-bench-")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() //nolint:gosec // the path was made above
	// PostgreSQL runs as another user, who must be able to go through.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // what is in it is closed
		return err
	}
	b := &bench{options: o, dir: dir, stderr: stderr, begun: time.Now()}
	_, _ = fmt.Fprintf(out, "Streamer on %v;\nload and servers on the same machine. Only ratios carry over.\n", machine.Describe(dir))
	if machine.FileSystem(dir) == "tmpfs" {
		_, _ = fmt.Fprintln(out, "These files are in memory: the figures of durable calls mean nothing. Name another place with -dir.")
	}
	if o.quick {
		_, _ = fmt.Fprintln(out, "This was a quick run: its figures mean nothing.")
	}
	for _, m := range measurements {
		if len(o.only) > 0 && !slices.Contains(o.only, m.name) {
			continue
		}
		b.table = m.name
		b.announce("%s", m.name)
		t, err := m.run(b, ctx)
		failed := b.stopAll()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := errors.Join(err, failed); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		t.print(out, m.name)
	}
	return nil
}

func (b *bench) announce(format string, args ...any) {
	_, _ = fmt.Fprintf(b.stderr, "%6s  %s\n", time.Since(b.begun).Round(time.Second), fmt.Sprintf(format, args...))
}

// start starts a server, which is stopped when the table is made. An empty dir
// is a new one.
func (b *bench) start(ctx context.Context, kind servers.Kind, dir string, o servers.Options) (*servers.Server, error) {
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp(b.dir, string(kind)); err != nil {
			return nil, err
		}
	}
	if b.profiles != "" && kind == servers.Streamer {
		o.Profile = filepath.Join(b.profiles, fmt.Sprintf("%s-%d.pprof", b.table, len(b.running)))
	}
	s, err := servers.Start(ctx, kind, dir, o)
	if err == nil {
		b.running = append(b.running, s)
	}
	return s, err
}

func (b *bench) startPair(ctx context.Context) (ours, bare *servers.Server, err error) {
	if ours, err = b.start(ctx, servers.Streamer, "", servers.Options{}); err != nil {
		return nil, nil, err
	}
	bare, err = b.start(ctx, servers.Bare, "", servers.Options{})
	return ours, bare, err
}

func (b *bench) stopAll() (err error) {
	for _, s := range b.running {
		if failed := s.Stop(); failed != nil {
			err = errors.Join(err, fmt.Errorf("a server did not stop in good order: %w", failed))
		}
	}
	b.running = nil
	return err
}

// shape is how a load is spread: so many requests in flight on each of so many
// connections.
type shape struct{ conns, window int }

func (s shape) String() string { return fmt.Sprintf("%d × %d", s.conns, s.window) }

// small makes a shape that a quick run can bear.
func (b *bench) small(s shape) shape {
	if b.quick {
		s.conns, s.window = min(s.conns, 8), min(s.window, 4)
	}
	return s
}

func (b *bench) driver(s *servers.Server, slots int) *load.Driver {
	return &load.Driver{Slots: slots, Warm: max(b.duration/5, 10*time.Millisecond), Measure: b.duration, Meter: s.Usage}
}

// requests is a load of requests to Streamer or the bare echo.
type requests struct {
	server *servers.Server
	// action and payload default to an echo of an order.
	action  string
	payload any
	mode    string
	// shape is that of a closed loop, rate that of an open loop.
	shape shape
	rate  float64
	// pickup measures until the handler begins. Default: until the result comes.
	pickup bool
	// calls ends a closed loop after that many.
	calls int
	each  func(id string)
}

// order is what echoes carry.
var order = servers.NewOrder()

// requests returns what runs a round of a load.
func (b *bench) requests(r requests) func(context.Context) (*load.Result, error) {
	if r.action == "" {
		r.action, r.payload = servers.Echo, order
	}
	slots := r.shape.conns * r.shape.window
	if r.rate > 0 {
		// Seconds of the highest rates may be in flight.
		r.shape, slots = shape{64, 0}, 60_000
	}
	return func(ctx context.Context) (*load.Result, error) {
		template, err := load.NewTemplate(r.action, r.mode, r.payload)
		if err != nil {
			return nil, err
		}
		conns, err := load.DialAll(ctx, r.server.Target, r.shape.conns)
		if err != nil {
			return nil, err
		}
		defer load.CloseAll(conns)
		d := b.driver(r.server, slots)
		d.Rate, d.SinceSent, d.Calls = r.rate, r.pickup, r.calls
		if r.rate == 0 {
			// A round has to see a call on each connection end a few times.
			d.Measure = max(d.Measure, time.Duration(r.shape.conns)*400*time.Microsecond)
		}
		l := load.Requests{Conns: conns, Template: template, Pickup: r.pickup, Each: r.each}
		return l.Run(ctx, d)
	}
}

func (b *bench) fsync(ctx context.Context) (*load.Result, error) {
	return machine.Fsync(ctx, b.dir, b.duration/2)
}
