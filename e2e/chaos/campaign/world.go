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

// volumeSize is a small disk's: a log of its full length, and more than twice the
// data that a world leaves behind, some 50 MiB.
const volumeSize = 256 << 20

// world is a world while it is carried out.
type world struct {
	World
	campaign *Campaign
	findings []check.Finding
	counts   check.Counts

	dir, data string
	log       *os.File
	network   *recorder.Network
	recorder  *recorder.Recorder
	hours     int    // the latest that the clock was set to
	volume    volume // mounted where the disk may be full
	notReady  bool   // /readyz has said so

	servers []*serverproc.Process
	server  *serverproc.Process // the last one
	address string              // its address, when it has accepted connections
}

func (w *world) filePath(name string) string { return filepath.Join(w.dir, name) }

func (w *world) addFinding(rule check.Rule, format string, args ...any) {
	w.findings = append(w.findings, check.Finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// addCrash adds a finding about the last server, which is stopped, with the end of
// its log.
func (w *world) addCrash(rule check.Rule, what string) {
	w.server.Stop()
	log, err := os.ReadFile(w.filePath("log"))
	if err != nil {
		log = []byte(err.Error())
	}
	w.addFinding(rule, "%s (%v): %s", what, w.server.Cmd.ProcessState, log[max(0, len(log)-600):])
}

// carryOut carries the world out and checks it. Without findings nothing is left of
// it.
func (w *world) carryOut(ctx context.Context) (err error) {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err == nil && len(w.findings) == 0 {
			err = os.RemoveAll(w.dir)
		}
	}()
	if w.log, err = os.Create(w.filePath("log")); err != nil {
		return err
	}
	defer func() { _ = w.log.Close() }()
	w.data, w.volume = w.filePath("streamer.db"), volume(w.filePath("volume"))
	if w.Kind == serverproc.FullDisk {
		if err := w.volume.mount(volumeSize); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.volume.unmount()) }()
		w.data = filepath.Join(string(w.volume), "streamer.db")
	}
	if err := w.setClock(0); err != nil {
		return err
	}
	w.network = recorder.NewNetwork(w.Seed, w.CutAfter)
	w.recorder = recorder.New(w.network, w.Kind, w.Seed, w.Callers)
	if err := w.recorder.Start(); err != nil {
		return err
	}
	defer func() {
		for _, s := range w.servers {
			s.Stop()
		}
		w.recorder.Kill()
	}()
	for i := range w.Rounds {
		if ctx.Err() != nil || len(w.findings) > 0 {
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

// setClock sets the clock of the servers so many hours off the machine's. Only those
// of clock worlds read it.
func (w *world) setClock(hours int) error {
	w.hours = max(w.hours, hours)
	return setClock(w.filePath("clock"), hours)
}

// finish lets all calls end without further faults, and reads what is stored.
func (w *world) finish() (*check.Evidence, error) {
	w.network.StopCuts()
	w.recorder.Pause.Store(false)
	// What was due by the latest clock is due now.
	if err := errors.Join(w.volume.empty(), w.setClock(w.hours)); err != nil {
		return nil, err
	}
	evidence := &check.Evidence{Retention: w.Retention}
	up, err := w.startServer(&Round{})
	if err != nil {
		return nil, err
	}
	if !up {
		w.addCrash(check.Crash, "after the last kill no server comes up")
		return evidence, nil
	}
	select {
	case <-w.recorder.Finish():
	case <-w.server.Done:
		w.addCrash(check.Crash, "the last server ended by itself")
	case <-time.After(recorder.Wait):
		w.addFinding(check.Unended, "calls have not ended %v after the last kill", recorder.Wait)
	}
	evidence.ReadAt = serverproc.Now()
	if evidence.Stored, err = recorder.Stored(w.address); err != nil {
		w.addFinding(check.Crash, "what is stored cannot be read: %v", err)
	}
	w.shutDown()
	return evidence, nil
}

// shutDown shuts the server down, and checks that the data file is intact.
func (w *world) shutDown() {
	_ = w.server.Cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.server.Done:
		if !w.server.Cmd.ProcessState.Success() {
			w.addCrash(check.Crash, "the last server did not shut down")
		}
	case <-time.After(recorder.Wait):
		w.addCrash(check.Crash, "the last server does not end on SIGTERM")
	}
	if err := checkDatabase(w.data); err != nil {
		w.addFinding(check.Crash, "the data file: %v", err)
	}
}

// check checks the evidence, and keeps it if there are findings.
func (w *world) check(e *check.Evidence) error {
	w.recorder.Kill()
	e.Calls = w.recorder.Calls()
	for _, s := range w.servers {
		e.Handlers = append(e.Handlers, s.Entries...)
	}
	var cuts int
	e.Sent, cuts = w.network.SentEvents()
	w.counts[Cuts] += cuts
	if len(w.findings) == 0 || e.Stored != nil {
		findings, counts := check.Check(e)
		w.findings = append(w.findings, findings...)
		maps.Copy(w.counts, counts)
	}
	if w.counts[Unavailable] > 0 && !w.notReady {
		w.addFinding(check.Disk, "%d calls were refused on a full disk, and /readyz never said no", w.counts[Unavailable])
	}
	if len(w.findings) == 0 {
		return nil
	}
	var errs []error
	for name, v := range map[string]any{
		"findings": w.findings, "plan": w.World, "calls": e.Calls, "handlers": e.Handlers, "sent": e.Sent, "stored": e.Stored,
	} {
		text, err := json.MarshalIndent(v, "", " ")
		errs = append(errs, err, os.WriteFile(w.filePath(name+".json"), text, 0o600))
	}
	if w.Kind == serverproc.FullDisk {
		errs = append(errs, copyDatabase(w.data, w.filePath("streamer.db")))
	}
	return errors.Join(errs...)
}

// startServer starts the next server process for a round, and reports whether it
// accepts connections. If not it has ended.
func (w *world) startServer(r *Round) (up bool, err error) {
	s := &serverproc.Settings{Run: len(w.servers) + 1, Data: w.data, Workers: w.Workers, Retention: w.Retention, Kill: r.Kill}
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
	if w.Kind == serverproc.Clock {
		program, environment = w.campaign.clocked, []string{clockVariable + "=" + w.filePath("clock")}
	}
	if w.server, err = serverproc.Start(append(command, program), s, w.log, environment...); err != nil {
		return false, err
	}
	w.servers = append(w.servers, w.server)
	select {
	case w.address, up = <-w.server.Address:
	case <-time.After(recorder.Wait):
		w.addCrash(check.Crash, "a server neither comes up nor ends")
	}
	if up {
		w.network.SetTarget(w.address, w.watch(r))
	}
	return up, nil
}
