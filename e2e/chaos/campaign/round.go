package campaign

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

const (
	// slowness is how long a slow disk takes.
	slowness = 15 * time.Millisecond
	// maxStarts is how often a server is started on a disk that may fail.
	maxStarts = 40
	// fillWait is how long a call may take to be refused on a full disk, which need
	// not happen.
	fillWait = time.Second
)

// round starts a server, and has it run until it is killed.
func (w *world) round(ctx context.Context, r *Round) error {
	acts := r.Acts
	for ; len(acts) > 0 && acts[0].At == 0; acts = acts[1:] {
		if err := w.execute(acts[0]); err != nil {
			return err
		}
	}
	up, err := w.start(r)
	if err != nil || len(w.findings) > 0 {
		return err
	}
	reached := true // when it is killed before it is up
	if up {
		if reached, err = w.runUntilKilled(ctx, r, acts); err != nil {
			return err
		}
	}
	w.network.SetTarget("", nil)
	<-w.server.Done
	if !w.server.Killed() {
		w.addFinding(check.Crash, "a server ended by itself: %v: %s", w.server.Cmd.ProcessState, w.logTail())
		return nil
	}
	always := []serverproc.Point{serverproc.Backup, serverproc.Slow, serverproc.Broken, serverproc.Full}
	if reached || slices.Contains(always, r.Point) {
		w.campaign.countKill(r.Point)
	} else {
		w.campaign.countKill(serverproc.Random)
	}
	w.checkLog()
	w.recorder.Pause.Store(false)
	if r.Point == serverproc.Backup {
		w.counts[Backups]++
		to := w.filePath(fmt.Sprintf("copy-%d.db", w.counts[Backups]))
		if err := moveDatabase(w.data, to); err != nil {
			return err
		}
		w.data = to
	}
	return nil
}

// diskFails reports whether the disk may fail.
func (w *world) diskFails() bool {
	return w.Kind == serverproc.BrokenDisk || w.Kind == serverproc.FullDisk
}

// checkLog checks how long the write-ahead log has become. Where writes fail,
// copying it may fail, too.
func (w *world) checkLog() {
	log, err := os.Stat(w.data + "-wal")
	if err == nil && log.Size() > logSize && !w.diskFails() {
		w.addFinding(check.Disk, "the write-ahead log has grown to %d MiB", log.Size()>>20)
	}
}

// start starts a server, and reports whether it came up before it was killed. A
// server that does not start on a disk that fails is started again.
func (w *world) start(r *Round) (up bool, err error) {
	for range maxStarts {
		if err := w.startServer(r); err != nil {
			return false, err
		}
		if w.ready() {
			if w.filled {
				return true, w.recover()
			}
			return true, nil
		}
		select {
		case <-w.server.Done:
		default:
			w.server.Stop()
			w.addFinding(check.Crash, "a server neither comes up nor ends: %s", w.logTail())
			return false, nil
		}
		if w.server.Killed() {
			return false, nil
		}
		if !w.diskFails() {
			w.addFinding(check.Crash, "a server could not start: %v: %s", w.server.Cmd.ProcessState, w.logTail())
			return false, nil
		}
		if err := w.makeSpace(); err != nil {
			return false, err
		}
	}
	w.addFinding(check.Disk, "of %d starts none came up: %s", maxStarts, w.logTail())
	return false, nil
}

// runUntilKilled does what the round plans until the server is killed, at the latest when
// the round is over, and reports whether it was killed at its point.
func (w *world) runUntilKilled(ctx context.Context, r *Round, acts []Act) (reached bool, err error) {
	defer w.server.Kill()
	fired := &atomic.Bool{}
	w.network.SetTarget(w.address, w.trigger(r, fired))
	began := time.Now()
	over := func(at time.Duration) bool { // waits, and reports whether the server is to be killed, or was
		select {
		case <-w.server.Done:
			reached = true
		case <-ctx.Done():
		case <-time.After(at - time.Since(began)):
			return time.Since(began) >= r.Life
		}
		return true
	}
	for _, a := range acts {
		if over(min(a.At, r.Life)) {
			return reached || fired.Load(), nil
		}
		if err := w.execute(a); err != nil {
			return false, err
		}
	}
	over(r.Life)
	return reached || fired.Load(), nil
}

// trigger returns what kills the server by what it sends, if that is the round's
// point: before it arrives (sent), or when it has (received).
func (w *world) trigger(r *Round, fired *atomic.Bool) *recorder.Trigger {
	how, what, _ := strings.Cut(string(r.Point), ".")
	if how != "sent" && how != "received" {
		return nil
	}
	types := []string{what}
	if what == "end" {
		types = []string{"result", "error"}
	}
	server := w.server
	return &recorder.Trigger{Types: types, Nth: r.Nth, Arrives: how == "received", Fire: func() {
		fired.Store(true)
		server.Kill()
	}}
}

func (w *world) execute(a Act) error {
	switch a.Verb {
	case killClient:
		w.counts[Clients]++
		w.recorder.Kill()
		return w.recorder.Start()
	case cutAll:
		w.counts[Cuts] += w.network.CutAll()
	case stepClock:
		w.counts[Steps]++
		w.hours = max(w.hours, a.Hours)
		return setClock(w.clockFile, a.Hours)
	case pause:
		w.recorder.Pause.Store(true)
	case fillDisk:
		return w.fillDisk()
	case emptyDisk:
		return w.recover()
	}
	return nil
}

// fillDisk fills the disk, and checks that the server says so if it refuses a call.
func (w *world) fillDisk() error {
	if err := w.volume.fillUp(); err != nil {
		return err
	}
	w.filled = true
	w.counts[Full]++
	before := w.recorder.Unavailable.Load()
	if w.await(fillWait, func() bool { return w.recorder.Unavailable.Load() > before }) {
		w.notReady = w.await(recorder.Wait, w.isNotReady) || w.notReady
		w.counts[Unavailable] += int(w.recorder.Unavailable.Load() - before)
	}
	return nil
}

// makeSpace makes space on the disk again.
func (w *world) makeSpace() error {
	if w.filled = false; w.volume == "" {
		return nil
	}
	return w.volume.empty()
}

// recover makes space again, and checks that the server accepts calls.
func (w *world) recover() error {
	if err := w.makeSpace(); err != nil {
		return err
	}
	before := w.recorder.Acked.Load()
	if !w.await(recorder.Wait, func() bool { return w.recorder.Acked.Load() > before }) {
		select {
		case <-w.server.Done: // it has crashed, which is found elsewhere
		default:
			w.addFinding(check.Disk, "%v after the disk has space again, no call is accepted", recorder.Wait)
		}
	}
	return nil
}

// await waits until a condition holds, the time is over or the server has ended,
// and reports whether it holds.
func (w *world) await(limit time.Duration, condition func() bool) bool {
	over := time.After(limit)
	for !condition() {
		select {
		case <-w.server.Done:
			return false
		case <-over:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	return true
}

// isNotReady asks the server whether it is ready.
func (w *world) isNotReady() bool {
	once := &http.Client{Timeout: recorder.Wait, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Get("http://" + w.address + "/readyz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusServiceUnavailable
}
