package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

const (
	// slowness is how long a slow disk takes.
	slowness = 15 * time.Millisecond
	// maxStarts is how often a server is started on a disk that may fail.
	maxStarts = 40
	// fillWait is how long it may take until a call is refused on a full disk; it
	// need not happen.
	fillWait = time.Second
	// probeEvery is how often a call is made meanwhile, probeSize how large it is.
	probeEvery, probeSize = 5 * time.Millisecond, 30_000
)

// round starts a server, and has it run until it is killed.
func (w *world) round(ctx context.Context, r *Round) error {
	acts := r.Acts
	for ; len(acts) > 0 && acts[0].At == 0; acts = acts[1:] {
		if err := w.act(ctx, acts[0]); err != nil {
			return err
		}
	}
	up, err := w.start(r)
	if err != nil || len(w.report.Findings) > 0 {
		return err
	}
	reached := true // when it is killed before it is up
	if up {
		if reached, err = w.live(ctx, r, acts); err != nil {
			return err
		}
	}
	w.proxy.set(func(p *proxy) { p.trigger, p.target = nil, "" })
	<-w.server.Done
	if !w.server.Killed() {
		w.find(check.Crash, "a server ended by itself: %v: %s", w.server.Cmd.ProcessState, w.logTail())
		return nil
	}
	always := []serverproc.Point{serverproc.Backup, serverproc.Slow, serverproc.Broken, serverproc.Full}
	if reached || slices.Contains(always, r.Point) {
		w.campaign.countKill(r.Point)
	} else {
		w.campaign.countKill(serverproc.Random)
	}
	w.checkLog()
	w.client.Send(recorder.Resume)
	if r.Point == serverproc.Backup {
		w.Copies++
		to := w.file(fmt.Sprintf("copy-%d.db", w.Copies))
		if err := moveDatabase(w.data, to); err != nil {
			return err
		}
		w.data = to
	}
	return nil
}

// diskFails tells whether the disk may fail.
func (w *world) diskFails() bool {
	return w.Kind == serverproc.BrokenDisk || w.Kind == serverproc.FullDisk
}

// checkLog checks how long the write-ahead log has become. Where writes fail,
// copying it may fail, too.
func (w *world) checkLog() {
	log, err := os.Stat(w.data + "-wal")
	if err == nil && log.Size() > logSize && !w.diskFails() {
		w.find(check.Disk, "the write-ahead log has grown to %d MiB", log.Size()>>20)
	}
}

// start starts a server, and tells whether it came up before it was killed. A
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
			w.find(check.Crash, "a server neither comes up nor ends: %s", w.logTail())
			return false, nil
		}
		if w.server.Killed() {
			return false, nil
		}
		if !w.diskFails() {
			w.find(check.Crash, "a server could not start: %v: %s", w.server.Cmd.ProcessState, w.logTail())
			return false, nil
		}
		if err := w.makeSpace(); err != nil {
			return false, err
		}
	}
	w.find(check.Disk, "of %d starts none came up: %s", maxStarts, w.logTail())
	return false, nil
}

// live does what the round plans until the server is killed, at the latest when
// the round is over, and tells whether it was killed at its point.
func (w *world) live(ctx context.Context, r *Round, acts []Act) (reached bool, err error) {
	defer w.server.Kill()
	fired := w.watchWire(r)
	began := time.Now()
	over := func(at time.Duration) bool { // waits, and tells whether the server is to be killed, or was
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
		if err := w.act(ctx, a); err != nil {
			return false, err
		}
	}
	over(r.Life)
	return reached || fired.Load(), nil
}

// watchWire has the server killed by what it sends, if that is the round's
// point: before it arrives (told), or when it has (heard).
func (w *world) watchWire(r *Round) *atomic.Bool {
	fired := &atomic.Bool{}
	how, what, _ := strings.Cut(string(r.Point), ".")
	if how != "told" && how != "heard" {
		return fired
	}
	types := []string{what}
	if what == "end" {
		types = []string{"result", "error"}
	}
	server := w.server
	w.proxy.set(func(p *proxy) {
		p.trigger = &wireTrigger{types: types, nth: r.Nth, arrives: how == "heard", fire: func() {
			fired.Store(true)
			server.Kill()
		}}
	})
	return fired
}

func (w *world) act(ctx context.Context, a Act) error {
	switch a.Verb {
	case killClient:
		w.client.Stop()
		if !w.client.Killed() {
			w.find(check.Crash, "a client ended by itself: %v: %s", w.client.Cmd.ProcessState, w.logTail())
		}
		w.Clients++
		return w.startClient()
	case cutAll:
		w.proxy.cutAll()
	case stepClock:
		w.Steps++
		w.hours = max(w.hours, a.Hours)
		return setClock(w.clockFile, int64(a.Hours)*3600)
	case pause:
		w.client.Send(recorder.Pause)
	case fillDisk:
		return w.fill(ctx)
	case emptyDisk:
		return w.recover()
	}
	return nil
}

// fill fills the disk, and looks whether the server says so.
func (w *world) fill(ctx context.Context) error {
	if err := w.volume.fill(); err != nil {
		return err
	}
	w.filled = true
	w.Full++
	w.probe(fillWait, func(code string) bool {
		if code != "unavailable" {
			return false
		}
		w.Unavailable++
		if !w.saysNotReady(ctx) {
			return false
		}
		w.NotReady++
		return true
	})
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
	if !w.probe(recorder.Wait, func(code string) bool { return code == "" }) {
		select {
		case <-w.server.Done: // it has crashed, which is found elsewhere
		default:
			w.find(check.Disk, "%v after the disk has space again, no call is accepted", recorder.Wait)
		}
	}
	return nil
}

// probe makes calls until the code of an answer (empty: acknowledged) satisfies
// done, the time is over or the server has ended, and tells which.
func (w *world) probe(wait time.Duration, done func(code string) bool) bool {
	deadline := time.Now().Add(wait)
	var conn *recorder.Conn
	disconnect := func() {
		if conn != nil {
			conn.Close()
			conn = nil
		}
	}
	defer disconnect()
	for time.Now().Before(deadline) {
		var err error
		if conn == nil {
			conn, err = recorder.Dial(w.address)
		}
		if err == nil {
			var code string
			if code, err = w.probeOnce(conn, time.Until(deadline)+time.Second); err == nil && done(code) {
				return true
			}
		}
		if err != nil {
			disconnect()
		}
		select {
		case <-w.server.Done:
			return false
		case <-time.After(probeEvery):
		}
	}
	return false
}

// probeOnce makes a call, records it like a client does, and returns the code of
// its answer.
func (w *world) probeOnce(conn *recorder.Conn, wait time.Duration) (code string, err error) {
	params := serverproc.Params{FailAt: -1, Filler: strings.Repeat("p", probeSize)}
	data, err := json.Marshal(params)
	if err != nil {
		return "", err
	}
	id := client.NewID()
	w.probes = append(w.probes, serverproc.Entry{
		At: serverproc.Now(), What: serverproc.Ask, ID: id, Action: serverproc.Stored, Data: data, Options: &serverproc.Options{},
	})
	answer, err := conn.Request(map[string]any{"type": "request", "id": id, "action": serverproc.Stored, "payload": params}, id, wait)
	if err != nil {
		return "", err
	}
	if answer.Type == "ack" {
		w.probes = append(w.probes, serverproc.Entry{At: serverproc.Now(), What: serverproc.Ack, ID: id, To: id})
	}
	return answer.Code, nil
}

// saysNotReady asks the server whether it is ready.
func (w *world) saysNotReady(ctx context.Context) bool {
	// Also when the run is being stopped, because the answer counts.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recorder.Wait)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+"/readyz", http.NoBody)
	if err != nil {
		return false
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusServiceUnavailable
}
