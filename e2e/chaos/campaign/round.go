package campaign

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
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
	// logSize is how long a log may become before it is copied and starts again,
	// amply: see framesHeld and walLimit in the store.
	logSize = 96 << 20
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
		w.addCrash(check.Crash, "a server ended by itself")
		return nil
	}
	if reached || r.Nth == 0 {
		w.campaign.countKill(r.Point)
	} else {
		w.campaign.countKill(serverproc.Random)
	}
	log, err := os.Stat(w.data + "-wal")
	if err == nil && log.Size() > logSize && !w.diskFails() { // where writes fail, copying it may fail, too
		w.addFinding(check.Disk, "the write-ahead log has grown to %d MiB", log.Size()>>20)
	}
	w.recorder.Pause.Store(false)
	if r.Point != serverproc.Backup {
		return nil
	}
	w.counts[Backups]++
	original := w.data
	w.data = w.filePath(fmt.Sprintf("copy-%d.db", w.counts[Backups]))
	return moveDatabase(original, w.data)
}

func (w *world) diskFails() bool {
	return w.Kind == serverproc.BrokenDisk || w.Kind == serverproc.FullDisk
}

// start starts a server, and reports whether it came up before it was killed. A
// server that does not start on a disk that fails is started again. A full disk is
// emptied as soon as it is up.
func (w *world) start(r *Round) (up bool, err error) {
	for range maxStarts {
		up, err := w.startServer(r)
		switch {
		case err != nil:
			return false, err
		case up && w.Kind == serverproc.FullDisk:
			return true, w.recover()
		case up || w.server.Killed():
			return up, nil
		case !w.diskFails():
			w.addCrash(check.Crash, "a server could not start")
			return false, nil
		}
		if err := w.volume.empty(); err != nil {
			return false, err
		}
	}
	w.addCrash(check.Disk, fmt.Sprintf("of %d starts none came up", maxStarts))
	return false, nil
}

// runUntilKilled executes acts until the server is killed, at the latest when the
// round is over, and reports whether it was killed at its point.
func (w *world) runUntilKilled(ctx context.Context, r *Round, acts []Act) (reached bool, err error) {
	defer w.server.Kill()
	began := time.Now()
	for _, a := range slices.Concat(acts, []Act{{At: r.Life}}) {
		select {
		case <-w.server.Done:
			return true, nil
		case <-ctx.Done():
			return false, nil
		case <-time.After(a.At - time.Since(began)):
		}
		if time.Since(began) >= r.Life {
			break
		}
		if err := w.execute(a); err != nil {
			return false, err
		}
	}
	return false, nil
}

// watch returns what kills the server by what it sends, if that is the round's
// point: before it arrives (sent), or when it has (received).
func (w *world) watch(r *Round) func(*recorder.Event) bool {
	how, what, _ := strings.Cut(string(r.Point), ".")
	if how != "sent" && how != "received" {
		return nil
	}
	server, left := w.server, r.Nth
	return func(e *recorder.Event) (lost bool) {
		if e.Type != what && (what != "end" || !e.IsEnd()) {
			return false
		}
		if left--; left != 0 {
			return false
		}
		server.Kill()
		return how == "sent"
	}
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
		return w.setClock(a.Hours)
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
	w.counts[Full]++
	before := w.recorder.Unavailable.Load()
	if w.await(fillWait, func() bool { return w.recorder.Unavailable.Load() > before }) {
		w.notReady = w.await(recorder.Wait, w.isNotReady) || w.notReady
		w.counts[Unavailable] += int(w.recorder.Unavailable.Load() - before)
	}
	return nil
}

// recover makes space again, and checks that the server accepts calls.
func (w *world) recover() error {
	if err := w.volume.empty(); err != nil {
		return err
	}
	before := w.recorder.Acked.Load()
	if !w.await(recorder.Wait, func() bool { return w.recorder.Acked.Load() > before }) {
		w.addCrash(check.Disk, "after the disk has space again, no call is accepted")
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

func (w *world) isNotReady() bool {
	once := &http.Client{Timeout: recorder.Wait, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Get("http://" + w.address + "/readyz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusServiceUnavailable
}
