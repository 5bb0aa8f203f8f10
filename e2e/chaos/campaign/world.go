package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

const (
	// volumeSize is a small disk's: a log of its full length, and more than twice
	// the data that a world leaves behind, some 50 MiB.
	volumeSize = 256 << 20
	// logSize is how long a log may become before it is copied and starts again,
	// amply: see framesHeld and walLimit in the store.
	logSize = 96 << 20
	// cutAfter is after about how many bytes connections are cut; where calls are
	// large, more.
	cutAfter, largeCutAfter = 40_000, 400_000
	// drainLimit is how long clients may take to see their calls through without
	// further faults. It only catches calls that do not end.
	drainLimit = 2 * time.Minute
)

// world is a world while it is carried out.
type world struct {
	World
	campaign *Campaign
	findings []check.Finding
	counts   check.Counts
	stopped  bool

	dir, data string
	log       *os.File
	network   *recorder.Network
	recorder  *recorder.Recorder
	clockFile string // empty: the machine's clock
	hours     int    // the latest that the clock was set to
	volume    volume // empty: no volume
	filled    bool
	notReady  bool // /readyz has said so

	server   *serverproc.Process // the last one
	run      int                 // its number, from 1
	address  string              // its address, when it has accepted connections
	handlers []serverproc.Entry  // of the servers before
}

func (w *world) filePath(name string) string { return filepath.Join(w.dir, name) }

func (w *world) addFinding(rule check.Rule, format string, args ...any) {
	w.findings = append(w.findings, check.Finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// setUp creates what the world needs.
func (w *world) setUp() (err error) {
	w.dir = filepath.Join(w.campaign.dir, fmt.Sprintf("world-%03d", w.Number))
	w.data = w.filePath("streamer.db")
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	if w.log, err = os.Create(w.filePath("log")); err != nil {
		return err
	}
	budget := int64(cutAfter)
	switch w.Kind {
	case serverproc.FullDisk:
		if w.volume, err = newVolume(w.filePath("volume"), volumeSize); err != nil {
			return err
		}
		w.data = filepath.Join(string(w.volume), "streamer.db")
		budget = largeCutAfter
	case serverproc.Clock:
		w.clockFile = w.filePath("clock")
		if err := setClock(w.clockFile, 0); err != nil {
			return err
		}
	case serverproc.Heavy:
		budget = largeCutAfter
	default:
	}
	w.network = recorder.NewNetwork(w.Seed, budget)
	w.recorder = recorder.New(w.network, w.Kind, w.Seed, w.Callers)
	return w.recorder.Start()
}

// carryOut carries the world out and checks it. Without findings nothing is left of
// it.
func (w *world) carryOut(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.close(err != nil)) }()
	if err := w.setUp(); err != nil {
		return err
	}
	for i := range w.Rounds {
		if w.stopped = ctx.Err() != nil; w.stopped || len(w.findings) > 0 {
			break
		}
		if err := w.round(ctx, &w.Rounds[i]); err != nil {
			return fmt.Errorf("round %d (%s): %w", i+1, w.Rounds[i].Point, err)
		}
	}
	evidence, err := w.finish()
	if err != nil {
		return err
	}
	return w.check(evidence)
}

// finish lets all calls end without further faults, and reads what is stored.
func (w *world) finish() (*check.Evidence, error) {
	w.network.StopCuts()
	w.recorder.Pause.Store(false)
	if err := w.makeSpace(); err != nil {
		return nil, err
	}
	if w.clockFile != "" { // what was due by the latest clock is due now
		if err := setClock(w.clockFile, w.hours); err != nil {
			return nil, err
		}
	}
	if err := w.startServer(&Round{}); err != nil {
		return nil, err
	}
	evidence := &check.Evidence{Retention: w.Retention}
	if !w.ready() {
		w.addFinding(check.Crash, "after the last kill no server comes up: %s", w.logTail())
		return evidence, nil
	}
	w.drain()
	evidence.ReadAt = serverproc.Now()
	var err error
	if evidence.Stored, err = recorder.Stored(w.address); err != nil {
		w.addFinding(check.Crash, "what is stored cannot be read: %v", err)
	}
	w.shutDown()
	return evidence, nil
}

// drain waits until the clients have seen all their calls through.
func (w *world) drain() {
	select {
	case <-w.recorder.Finish():
	case <-w.server.Done:
		w.addFinding(check.Crash, "the last server ended by itself: %v: %s", w.server.Cmd.ProcessState, w.logTail())
	case <-time.After(drainLimit):
		w.addFinding(check.Unended, "calls have not ended %v after the last kill", drainLimit)
	}
}

// shutDown shuts the server down, and checks that the data file is intact.
func (w *world) shutDown() {
	_ = w.server.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.server.Done:
		if !w.server.Cmd.ProcessState.Success() {
			w.addFinding(check.Crash, "the last server did not shut down: %v: %s", w.server.Cmd.ProcessState, w.logTail())
		}
	case <-time.After(recorder.Wait):
		w.addFinding(check.Crash, "the last server does not end on SIGTERM")
		w.server.Stop()
	}
	if err := checkDatabase(w.data); err != nil {
		w.addFinding(check.Crash, "the data file: %v", err)
	}
}

// check checks the evidence, and keeps it if there are findings.
func (w *world) check(e *check.Evidence) error {
	w.recorder.Kill()
	w.server.Stop()
	e.Calls, e.Handlers = w.recorder.Calls(), append(w.handlers, w.server.Entries...)
	var unreadable, cuts int
	e.Sent, unreadable, cuts = w.network.SentEvents()
	if w.counts[Cuts] += cuts; unreadable > 0 {
		w.addFinding(check.Crash, "%d messages on the wire could not be read", unreadable)
	}
	if len(w.findings) == 0 || e.Stored != nil {
		report := check.Check(e)
		w.findings = append(w.findings, report.Findings...)
		maps.Copy(w.counts, report.Counts)
	}
	if w.counts[Unavailable] > 0 && !w.notReady {
		w.addFinding(check.Disk, "%d calls were refused on a full disk, and /readyz never said no", w.counts[Unavailable])
	}
	if len(w.findings) == 0 {
		return nil
	}
	var errs []error
	for name, v := range map[string]any{"findings": w.findings, "plan": w.World, "calls": e.Calls, "handlers": e.Handlers, "sent": e.Sent, "stored": e.Stored} {
		text, err := json.MarshalIndent(v, "", " ")
		errs = append(errs, err, os.WriteFile(w.filePath(name+".json"), text, 0o600))
	}
	if w.volume != "" {
		errs = append(errs, copyDatabase(w.data, w.filePath("streamer.db")))
	}
	return errors.Join(errs...)
}

// close ends all processes. Failed reports that the world could not be carried
// out.
func (w *world) close(failed bool) (err error) {
	if w.server != nil {
		w.server.Stop()
	}
	if w.recorder != nil {
		w.recorder.Kill()
	}
	if w.volume != "" {
		err = w.volume.close()
	}
	if w.log != nil {
		err = errors.Join(err, w.log.Close())
	}
	if !failed && len(w.findings) == 0 {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

// startServer starts the next server process for a round.
func (w *world) startServer(r *Round) (err error) {
	if w.server != nil {
		w.handlers = append(w.handlers, w.server.Entries...)
	}
	w.run++
	s := &serverproc.Settings{
		Run: w.run, Data: w.data, Workers: w.Workers, Retention: w.Retention, Point: r.Point, Nth: r.Nth, Delay: r.Delay,
	}
	if w.Kind == serverproc.Clean {
		s.Expire = 20 * time.Millisecond
	}
	var command, environment []string
	switch {
	case r.Point == "":
	case r.Point == serverproc.Sync:
		command = killAtSync(r.Nth)
	case w.Kind == serverproc.SlowDisk:
		command = slowDisk(slowness)
	case w.Kind == serverproc.BrokenDisk:
		command = brokenDisk()
	}
	program := w.campaign.server
	if w.clockFile != "" {
		program, environment = w.campaign.clocked, []string{clockVariable + "=" + w.clockFile}
	}
	w.server, err = serverproc.Start(append(command, program), s, w.log, environment...)
	return err
}

// ready waits until the server accepts connections, and reports whether it does.
func (w *world) ready() bool {
	select {
	case w.address = <-w.server.Address:
		w.network.SetTarget(w.address, nil)
		return true
	case <-w.server.Done:
	case <-time.After(recorder.Wait):
	}
	return false
}

// logTail returns the end of the log.
func (w *world) logTail() string {
	text, err := os.ReadFile(w.filePath("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-600):])
}
