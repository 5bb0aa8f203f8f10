package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/machine"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// scenarios make the tables, in this order.
var scenarios = []struct {
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

func names() []string {
	var out []string
	for _, s := range scenarios {
		out = append(out, s.name)
	}
	return out
}

// bench is one run.
type bench struct {
	*options
	dir    string
	status *status
}

// results are a run's, as JSON.
type results struct {
	Machine machine.Machine `json:"machine"`
	Quick   bool            `json:"quick,omitempty"`
	Tables  []*table        `json:"tables"`
}

// run makes the tables that are wanted and prints them on out; what is being
// measured it says on say. It leaves neither processes nor
// files behind.
func run(ctx context.Context, o *options, out io.Writer, say *status) (err error) {
	dir, err := os.MkdirTemp(o.dir, "streamer-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }() //nolint:gosec // the path was made above
	// PostgreSQL runs as another user, who must be able to go through.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // what is in it is closed
		return err
	}
	b := &bench{options: o, dir: dir, status: say}
	defer b.status.clear()
	r := results{Machine: machine.Describe(dir), Quick: o.quick, Tables: []*table{}}
	if !o.json {
		describe(out, &r)
	}
	b.status.of = len(scenarios)
	if len(o.only) > 0 {
		b.status.of = len(o.only)
	}
	for _, s := range scenarios {
		if !o.wants(s.name) {
			continue
		}
		b.status.begin(s.name)
		t, err := s.run(b, ctx)
		b.status.clear()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		t.Name = s.name
		if r.Tables = append(r.Tables, t); !o.json {
			t.print(out)
		}
	}
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(&r)
	}
	return nil
}

// describe says what the figures below were made on.
func describe(out io.Writer, r *results) {
	m := &r.Machine
	_, _ = fmt.Fprintf(out, "Streamer on %v;\nload and servers on the same machine. Only ratios carry over.\n", m)
	if !m.Durable() {
		_, _ = fmt.Fprintln(out, "These files are in memory: what is said of durable calls means nothing. Name another place with -dir.")
	}
	if r.Quick {
		_, _ = fmt.Fprintln(out, "This was a quick run: its figures mean nothing.")
	}
}

// start starts a peer with an empty directory of its own.
func (b *bench) start(ctx context.Context, kind peer.Kind, o peer.Options) (*peer.Peer, error) {
	dir, err := b.place(kind)
	if err != nil {
		return nil, err
	}
	return peer.Start(ctx, kind, dir, o)
}

// place makes an empty directory for a peer.
func (b *bench) place(kind peer.Kind) (string, error) { return os.MkdirTemp(b.dir, string(kind)) }

// stop stops peers; what one of them says counts if all was well so far.
func stop(err *error, peers ...*peer.Peer) {
	for _, p := range peers {
		if failed := p.Stop(); *err == nil && failed != nil {
			*err = fmt.Errorf("the server did not stop in good order: %w", failed)
		}
	}
}

// warm is how long a load lasts before it is measured.
func (b *bench) warm() time.Duration { return max(b.duration/5, 10*time.Millisecond) }

// shape is how a load is spread: so many requests in flight on each of so many
// connections.
type shape struct{ conns, window int }

func (s shape) String() string { return fmt.Sprintf("%d × %d", s.conns, s.window) }

// small makes shapes that a quick run can bear.
func (b *bench) small(shapes []shape) []shape {
	if !b.quick {
		return shapes
	}
	out := slices.Clone(shapes)
	for i := range out {
		out[i].conns, out[i].window = min(out[i].conns, 8), min(out[i].window, 4)
	}
	return out
}

// order is what echoes carry.
var order = peer.NewOrder()

// request is the template of an echo.
func request(mode string) (load.Template, error) {
	payload, err := json.Marshal(order)
	return load.NewTemplate(peer.Echo, mode, payload), err
}

// closed measures a closed loop.
func (b *bench) closed(ctx context.Context, p *peer.Peer, conns []*load.Conn, t load.Template, window int) (*load.Measured, error) {
	c := load.Closed{Conns: conns, Template: t, Window: window, Warm: b.warm(), Measure: b.duration, Meter: b.meter(p)}
	return c.Run(ctx)
}

// meter tells what a peer, this process and the disk have used.
func (b *bench) meter(p *peer.Peer) load.Meter {
	return func() (load.Used, error) {
		server, err := p.CPU()
		own, failed := machine.Own()
		if errors.Is(failed, machine.ErrUnknown) {
			failed = nil
		}
		written, unread := machine.Written(b.dir)
		return load.Used{Server: server, Own: own, Written: written}, errors.Join(err, failed, unread)
	}
}

// profile writes a CPU profile of a peer while the load lasts, if profiles are
// wanted. The figures of that load are not to be used.
func (b *bench) profile(ctx context.Context, p *peer.Peer, name string, during func() error) (err error) {
	if b.profiles == "" {
		return nil
	}
	f, err := os.Create(filepath.Join(b.profiles, name+".pprof"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	written := make(chan error, 1)
	go func() { written <- p.Profile(ctx, int(max(1, b.duration.Seconds())), f) }()
	err = during()
	return errors.Join(err, <-written)
}
