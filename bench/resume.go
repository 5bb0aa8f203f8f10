package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// comeback is how clients came back after their server was killed.
type comeback struct {
	// listening is how long the new server took to listen.
	listening time.Duration
	// back is when the last client knew where it stands, ended when the last
	// call had ended, since the new server listened.
	back, ended time.Duration
	// lost calls have not ended; gaps and doubles are events.
	gaps, doubles, lost int
}

// resume kills servers under clients that follow calls.
func (b *bench) resume(ctx context.Context) (_ *table, err error) {
	t := &table{
		Title: "a server is killed (SIGKILL) and started again under clients that each follow a call that emits chunks",
		Goal:  "0 gaps, 0 doubles, 0 lost",
		columns: []column{
			{"clients", "clients"},
			{"connections", "connections"},
			{"listens after", "listeningUs"},
			{"last one back", "backUs"},
			{"× bare", "ratio"},
			{"last call ended", "endedUs"},
			{"gaps", "gaps"},
			{"doubles", "doubles"},
			{"lost", "lost"},
		},
	}
	n := b.bounded(t)
	lines := []struct {
		name string
		run  func(ctx context.Context, n int) (*comeback, error)
		seen []*comeback
	}{
		{name: "bare gorilla", run: b.bareComeback},
		{name: "streamer, raw", run: b.rawComeback},
		{name: "streamer, Go client", run: b.clientComeback},
	}
	// Each round takes long, and counts what must be 0.
	for round := range min(b.rounds, 2) {
		for i := range lines {
			b.status.say("%s, round %d", lines[i].name, round+1)
			c, err := lines[i].run(ctx, n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", lines[i].name, err)
			}
			lines[i].seen = append(lines[i].seen, c)
		}
	}
	for i, l := range lines {
		of := func(f func(*comeback) time.Duration) time.Duration {
			return time.Duration(median(l.seen, func(c *comeback) float64 { return float64(f(c)) }))
		}
		row := []cell{
			text(l.name), count(float64(n)), span(of(func(c *comeback) time.Duration { return c.listening })),
			span(of(func(c *comeback) time.Duration { return c.back })), none(), none(), none(), none(), none(),
		}
		if i > 0 {
			total := comeback{}
			for _, c := range l.seen {
				total.gaps, total.doubles, total.lost = total.gaps+c.gaps, total.doubles+c.doubles, total.lost+c.lost
			}
			row[4] = ratio(backShare(l.seen, lines[0].seen))
			row[5] = span(of(func(c *comeback) time.Duration { return c.ended }))
			row[6], row[7], row[8] = count(float64(total.gaps)), count(float64(total.doubles)), count(float64(total.lost))
		}
		t.add(row...)
	}
	t.note("times since the new server listens. Back: the client has its snapshot (of bare gorilla: its first echo). Gaps, doubles, lost: of all rounds together")
	t.note("raw: comes back at once, 32 handshakes at a time, as bare gorilla does. Go client: with its own backoff (random up to 250 ms, doubling)")
	t.note("every call runs when the server dies, and begins anew at its checkpoint: a claim, a mark, a chunk and an end each")
	return t, nil
}

func backShare(ours, bare []*comeback) float64 {
	var shares []float64
	for i := range ours {
		if bare[i].back > 0 {
			shares = append(shares, float64(ours[i].back)/float64(bare[i].back))
		}
	}
	return median(shares, func(f float64) float64 { return f })
}

// mortal is a server that is killed, and started again at the same address with
// the same data.
type mortal struct {
	*bench
	kind peer.Kind
	dir  string
	o    peer.Options
	peer *peer.Peer
}

func (b *bench) mortal(ctx context.Context, kind peer.Kind, workers int) (*mortal, error) {
	dir, err := b.place(kind)
	if err != nil {
		return nil, err
	}
	m := &mortal{bench: b, kind: kind, dir: dir, o: peer.Options{Workers: workers}}
	if m.peer, err = peer.Start(ctx, kind, dir, m.o); err != nil {
		return nil, err
	}
	m.o.Address = m.peer.Address
	return m, nil
}

// die kills the server and starts the next. It returns how long that took to
// listen.
func (m *mortal) die(ctx context.Context) (listening time.Duration, err error) {
	m.peer.Kill()
	begun := time.Now()
	if m.peer, err = peer.Start(ctx, m.kind, m.dir, m.o); err != nil {
		return 0, fmt.Errorf("after the kill: %w", err)
	}
	return time.Since(begun), nil
}

// bareComeback has sockets of bare gorilla come back, without anything to
// resume.
func (b *bench) bareComeback(ctx context.Context, n int) (_ *comeback, err error) {
	m, err := b.mortal(ctx, peer.Bare, 0)
	if err != nil {
		return nil, err
	}
	defer func() { stop(&err, m.peer) }()
	conns, err := load.DialAll(ctx, m.peer.Target, n)
	if err != nil {
		return nil, err
	}
	defer func() { load.CloseAll(conns) }()
	c := new(comeback)
	if c.listening, err = m.die(ctx); err != nil {
		return nil, err
	}
	begun := time.Now()
	load.CloseAll(conns)
	if conns, err = load.DialAll(ctx, m.peer.Target, n); err != nil {
		return nil, err
	}
	template, err := request("")
	if err != nil {
		return nil, err
	}
	if err := load.Follow(ctx, conns, template, func(int, int64, *load.Answer) {}); err != nil {
		return nil, err
	}
	c.back = time.Since(begun)
	return c, nil
}

// step is how fast calls walk so that a server of any size bears it: 2,000
// chunks a second.
func (b *bench) step(n int) peer.Step { return peer.Step{IntervalMs: max(20, n/2)} }
