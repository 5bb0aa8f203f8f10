package campaign

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/caller"
	"github.com/pay-theory/streamer/e2e/chaos/faults"
	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// slowness is how long a slow disk takes.
const slowness = 15 * time.Millisecond

// starts bounds how often a server is started on a disk that may fail it.
const starts = 40

// round starts a server, and lets it live until it is killed.
func (w *world) round(ctx context.Context, r *plan.Round) error {
	acts := slices.Clone(r.Acts)
	for len(acts) > 0 && acts[0].At == 0 {
		if err := w.act(ctx, acts[0]); err != nil {
			return err
		}
		acts = acts[1:]
	}
	up, err := w.begin(r)
	if err != nil || len(w.report.Findings) > 0 {
		return err
	}
	itself := !up
	if up {
		if itself, err = w.live(ctx, r, acts); err != nil {
			return err
		}
	}
	w.proxy.Arm(nil)
	w.proxy.SetTarget("")
	<-w.server.done
	if !w.server.killed() {
		w.find(judge.Crash, "a server ended by itself: %v: %s", w.server.cmd.ProcessState, w.lastWords())
		return nil
	}
	w.c.killed(w.counted(r.Point, itself))
	w.measureLog()
	if slices.ContainsFunc(r.Acts, func(a plan.Act) bool { return a.Verb == plan.Lull }) {
		w.client.command(caller.Go)
	}
	if r.Point == plan.Backup {
		return w.backup()
	}
	return nil
}

// measureLog looks how long the write-ahead log has become. Where writes fail,
// it may not be copied either.
func (w *world) measureLog() {
	log, err := os.Stat(w.data + "-wal")
	if err == nil && log.Size() > logSize && w.Kind != plan.BrokenDisk && w.Kind != plan.FullDisk {
		w.find(judge.Disk, "the write-ahead log has grown to %d MiB", log.Size()>>20)
	}
}

// begin starts a server, and tells whether it came up before it died. On disks
// that fail, starting may fail, too: then it is started again.
func (w *world) begin(r *plan.Round) (up bool, err error) {
	for range starts {
		if err := w.startServer(r, w.trace(r)); err != nil {
			return false, err
		}
		if w.ready(patience) {
			return true, w.startedFull()
		}
		select {
		case <-w.server.done:
		default:
			w.server.end()
			w.find(judge.Crash, "a server neither comes up nor ends: %s", w.lastWords())
			return false, nil
		}
		if w.server.killed() {
			return false, nil
		}
		if w.Kind != plan.BrokenDisk && w.Kind != plan.FullDisk {
			w.find(judge.Crash, "a server could not start: %v: %s", w.server.cmd.ProcessState, w.lastWords())
			return false, nil
		}
		w.unstarted++
		if err := w.empty(); err != nil {
			return false, err
		}
	}
	w.find(judge.Disk, "of %d starts none came up: %s", starts, w.lastWords())
	return false, nil
}

// trace returns what the round's server is run under.
func (w *world) trace(r *plan.Round) faults.Trace {
	switch {
	case r.Point == plan.Sync:
		return faults.KillAtSync(r.Nth)
	case w.Kind == plan.SlowDisk:
		return faults.SlowDisk(slowness)
	case w.Kind == plan.BrokenDisk:
		return faults.BrokenDisk()
	}
	return nil
}

// counted returns the point that a kill counts for.
func (w *world) counted(p plan.Point, itself bool) plan.Point {
	switch p {
	case plan.Random, plan.Backup, plan.Slow, plan.Broken, plan.Full:
		return p
	default:
		if itself {
			return p
		}
		return plan.Random
	}
}

// live does what the round has in store, until the server dies, and tells
// whether it did so at its point. When the round's time is over it is killed.
func (w *world) live(ctx context.Context, r *plan.Round, acts []plan.Act) (itself bool, err error) {
	fired := w.arm(r.Point, r.Nth)
	began := time.Now()
	for {
		next := r.Life
		if len(acts) > 0 {
			next = min(next, acts[0].At)
		}
		timer := time.NewTimer(next - time.Since(began))
		select {
		case <-w.server.done:
			timer.Stop()
			return true, nil
		case <-ctx.Done():
			timer.Stop()
			w.server.kill()
			return fired.Load(), nil
		case <-timer.C:
		}
		if len(acts) == 0 || acts[0].At > next || time.Since(began) >= r.Life {
			w.server.kill()
			return fired.Load(), nil
		}
		if err := w.act(ctx, acts[0]); err != nil {
			w.server.kill()
			return false, err
		}
		acts = acts[1:]
	}
}

// arm has the server killed by what it says.
func (w *world) arm(p plan.Point, nth int) *atomic.Bool {
	fired := &atomic.Bool{}
	types, ok := map[plan.Point][]string{
		plan.ToldAck: {"ack"}, plan.ToldChunk: {"chunk"}, plan.ToldEnd: {"result", "error"},
		plan.HeardAck: {"ack"}, plan.HeardChunk: {"chunk"}, plan.HeardEnd: {"result", "error"},
	}[p]
	if !ok {
		return fired
	}
	server := w.server
	w.proxy.Arm(&faults.Trigger{
		Types: types, Nth: nth, Arrives: p == plan.HeardAck || p == plan.HeardChunk || p == plan.HeardEnd,
		Fire: func() {
			fired.Store(true)
			server.kill()
		},
	})
	return fired
}

// act does one thing.
func (w *world) act(ctx context.Context, a plan.Act) error {
	switch a.Verb {
	case plan.KillClient:
		w.client.end()
		if !w.client.killed() {
			w.find(judge.Crash, "a client ended by itself: %v: %s", w.client.cmd.ProcessState, w.lastWords())
		}
		w.clients++
		return w.startClient()
	case plan.CutAll:
		w.proxy.CutAll()
	case plan.StepClock:
		w.steps++
		w.latest = max(w.latest, a.Hours)
		return w.clock.Set(int64(a.Hours) * 3600)
	case plan.Lull:
		w.client.command(caller.Lull)
	case plan.Fill:
		return w.fill(ctx)
	case plan.Empty:
		return w.recover()
	}
	return nil
}

// backup copies file and log elsewhere; the run goes on from the copy.
func (w *world) backup() error {
	w.copies++
	to := filepath.Join(w.dir, fmt.Sprintf("copy-%d.db", w.copies))
	if err := faults.MoveDatabase(w.data, to); err != nil {
		return err
	}
	w.data = to
	return nil
}
