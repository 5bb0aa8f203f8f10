package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/check"
	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

const (
	// volumeSize is a small disk's: the data, a log of its full length, and
	// little more.
	volumeSize = 192 << 20
	// logSize is how long a log may become before it is copied and starts again,
	// amply: see framesHeld and walLimit in the store.
	logSize = 96 << 20
	// cutAfter is after about how many bytes connections are cut; where calls are
	// large, more.
	cutAfter, largeCutAfter = 40_000, 400_000
	// drainLimit is how long clients may take to see their calls through without
	// further faults. It only catches calls that do not end.
	drainLimit = 5 * time.Minute
)

// world is a world while it is carried out.
type world struct {
	World
	Faults
	campaign *Campaign
	report   check.Report
	stopped  bool

	dir, data string
	log       *os.File
	proxy     *proxy
	clockFile string // empty: the machine's clock
	hours     int    // the latest that the clock was set to
	volume    volume // empty: no volume
	filled    bool
	probes    []serverproc.Entry // the calls that the world itself has made

	server, client       *serverproc.Process
	serverRun, clientRun int
	address              string // of the server
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) find(rule check.Rule, format string, args ...any) {
	w.report.Findings = append(w.report.Findings, check.Finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// open makes what the world needs.
func (w *world) open() (err error) {
	w.dir = filepath.Join(w.campaign.dir, fmt.Sprintf("world-%03d", w.Number))
	w.data = w.file("streamer.db")
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	if w.log, err = os.Create(w.file("log")); err != nil {
		return err
	}
	budget := int64(cutAfter)
	switch w.Kind {
	case serverproc.FullDisk:
		if w.volume, err = newVolume(w.file("volume"), volumeSize); err != nil {
			return err
		}
		w.data = filepath.Join(string(w.volume), "streamer.db")
		budget = largeCutAfter
	case serverproc.Clock:
		w.clockFile = w.file("clock")
		if err := setClock(w.clockFile, 0); err != nil {
			return err
		}
	case serverproc.Heavy:
		budget = largeCutAfter
	default:
	}
	if w.proxy, err = newProxy(w.Seed, budget); err != nil {
		return err
	}
	return w.startClient()
}

// run carries the world out and checks it. Without findings nothing is left of
// it.
func (w *world) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.close(err != nil)) }()
	if err := w.open(); err != nil {
		return err
	}
	for i := range w.Rounds {
		if w.stopped = ctx.Err() != nil; w.stopped || len(w.report.Findings) > 0 {
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
	w.proxy.set(func(p *proxy) { p.budget = 0 })
	if err := w.makeSpace(); err != nil {
		return nil, err
	}
	if w.clockFile != "" { // what was due by the latest clock is due now
		if err := setClock(w.clockFile, int64(w.hours)*3600); err != nil {
			return nil, err
		}
	}
	if err := w.startServer(&Round{}); err != nil {
		return nil, err
	}
	evidence := &check.Evidence{Retention: w.Retention}
	if !w.ready() {
		w.find(check.Crash, "after the last kill no server comes up: %s", w.logTail())
		return evidence, nil
	}
	w.drain()
	evidence.ReadAt = serverproc.Now()
	conn, err := recorder.Dial(w.address)
	if err == nil {
		evidence.Stored, err = conn.Stored()
		conn.Close()
	}
	if err != nil {
		w.find(check.Crash, "what is stored cannot be read: %v", err)
	}
	w.shutDown()
	return evidence, nil
}

// drain waits until the clients have seen all their calls through.
func (w *world) drain() {
	w.client.Send(recorder.Finish)
	select {
	case <-w.client.Done:
		if !w.client.Cmd.ProcessState.Success() {
			w.find(check.Crash, "the client failed: %v: %s", w.client.Cmd.ProcessState, w.logTail())
		}
	case <-w.server.Done:
		w.find(check.Crash, "the last server ended by itself: %v: %s", w.server.Cmd.ProcessState, w.logTail())
		w.client.Stop()
	case <-time.After(drainLimit):
		w.find(check.Unended, "calls have not ended %v after the last kill", drainLimit)
		w.client.Stop()
	}
}

// shutDown shuts the server down, and checks that the data file is intact.
func (w *world) shutDown() {
	_ = w.server.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.server.Done:
		if !w.server.Cmd.ProcessState.Success() {
			w.find(check.Crash, "the last server did not shut down: %v: %s", w.server.Cmd.ProcessState, w.logTail())
		}
	case <-time.After(recorder.Wait):
		w.find(check.Crash, "the last server does not end on SIGTERM")
		w.server.Stop()
	}
	if err := checkDatabase(w.data); err != nil {
		w.find(check.Crash, "the data file: %v", err)
	}
}

// check checks the evidence, and keeps it if there are findings.
func (w *world) check(e *check.Evidence) (err error) {
	if e.Clients, err = serverproc.LoadJournal(w.file("clients")); err != nil {
		return err
	}
	if e.Handlers, err = serverproc.LoadJournal(w.file("handlers")); err != nil {
		return err
	}
	e.Clients = append(e.Clients, w.probes...)
	var unreadable int
	if e.Wire, unreadable = w.proxy.wire.Events(); unreadable > 0 {
		w.find(check.Crash, "%d messages on the wire could not be read", unreadable)
	}
	if own := w.report.Findings; len(own) == 0 || e.Stored != nil {
		w.report = check.Check(e)
		w.report.Findings = append(own, w.report.Findings...)
	}
	if w.Unavailable > 0 && w.NotReady == 0 {
		w.find(check.Disk, "%d calls were refused on a full disk, and /readyz never said no", w.Unavailable)
	}
	w.Cuts = int(w.proxy.cuts.Load())
	if len(w.report.Findings) == 0 {
		return nil
	}
	var errs []error
	for name, v := range map[string]any{"findings": w.report.Findings, "plan": w.World, "wire": e.Wire, "stored": e.Stored} {
		text, err := json.MarshalIndent(v, "", " ")
		errs = append(errs, err, os.WriteFile(w.file(name+".json"), text, 0o600))
	}
	if w.volume != "" {
		errs = append(errs, copyDatabase(w.data, w.file("streamer.db")))
	}
	return errors.Join(errs...)
}

// close ends all processes. Failed tells that the world could not be carried
// out.
func (w *world) close(failed bool) error {
	for _, p := range []*serverproc.Process{w.server, w.client} {
		if p != nil {
			p.Stop()
		}
	}
	var errs []error
	if w.proxy != nil {
		w.proxy.close()
	}
	if w.volume != "" {
		errs = append(errs, w.volume.close())
	}
	if w.log != nil {
		errs = append(errs, w.log.Close())
	}
	if !failed && len(w.report.Findings) == 0 {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// startClient starts the next client process.
func (w *world) startClient() (err error) {
	w.clientRun++
	w.client, err = serverproc.Start([]string{w.campaign.program}, w.log, recorder.Variable, recorder.Settings{
		Run: w.clientRun, Seed: w.Seed, URL: "ws://" + w.proxy.address(), Journal: w.file("clients"), Kind: w.Kind, Callers: w.Callers,
	})
	return err
}

// startServer starts the next server process for a round.
func (w *world) startServer(r *Round) (err error) {
	w.serverRun++
	s := serverproc.Settings{
		Run: w.serverRun, Data: w.data, Journal: w.file("handlers"), Workers: w.Workers, Retention: w.Retention,
		Point: r.Point, Nth: r.Nth, Delay: r.Delay,
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
	w.server, err = serverproc.Start(append(command, program), w.log, serverproc.Variable, s, environment...)
	return err
}

// ready waits until the server accepts connections, and tells whether it does.
func (w *world) ready() bool {
	select {
	case w.address = <-w.server.Address:
		w.proxy.set(func(p *proxy) { p.target = w.address })
		return true
	case <-w.server.Done:
	case <-time.After(recorder.Wait):
	}
	return false
}

// logTail returns the end of the log.
func (w *world) logTail() string {
	text, err := os.ReadFile(w.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-600):])
}
