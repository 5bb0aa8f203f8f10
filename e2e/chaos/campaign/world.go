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

	"github.com/pay-theory/streamer/e2e/chaos/caller"
	"github.com/pay-theory/streamer/e2e/chaos/faults"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/judge"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
)

const (
	// volumeSize is a small disk's: the data, a log of its full length, and
	// little more. there is room for a log that has not been
	// copied yet.
	// volumeSize is a small disk's: the data, a log of its full length, and
	// little more.
	volumeSize = 192 << 20
	// logSize is how long a log may become before it is copied and begins anew,
	// amply: see framesHeld and walLimit in the store.
	logSize = 96 << 20
	// budget is after about how many bytes connections are cut; where calls are
	// large, more.
	budget, largeBudget = 40_000, 400_000
	// drain is how long callers may take to see their calls through when
	// nothing goes wrong any more.
	drain = 90 * time.Second
)

// world is a data file, the servers that have it one after the other, and the
// clients that call them.
type world struct {
	plan.World
	c      *campaign
	dir    string
	data   string
	log    *os.File
	proxy  *faults.Proxy
	clock  *faults.Clock   // nil: the machine's
	volume *faults.Volume  // nil: the directory's
	probes []journal.Entry // what we have asked for ourselves
	filled bool

	server, client       *process
	serverRun, clientRun int
	address              string // of the server
	latest               int    // the clock's latest setting, in hours

	cuts, clients, steps, copies           int
	full, unavailable, notReady, unstarted int
	stopped                                bool
	report                                 judge.Report
}

func newWorld(c *campaign, p plan.World) (*world, error) {
	w := &world{World: p, c: c, dir: filepath.Join(c.Dir, fmt.Sprintf("world-%03d", p.Number))}
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return nil, err
	}
	w.data = filepath.Join(w.dir, "streamer.db")
	return w, nil
}

// open makes what the world needs.
func (w *world) open() (err error) {
	if w.log, err = os.Create(w.file("log")); err != nil {
		return err
	}
	bytes := int64(budget)
	switch w.Kind {
	case plan.FullDisk:
		if w.volume, err = faults.NewVolume(w.file("volume"), volumeSize); err != nil {
			return err
		}
		w.data = filepath.Join(w.volume.Dir(), "streamer.db")
		bytes = largeBudget
	case plan.Clock:
		if w.clock, err = faults.NewClock(w.file("clock")); err != nil {
			return err
		}
	case plan.Heavy:
		bytes = largeBudget
	case plan.Plain, plan.Clean, plan.SlowDisk, plan.BrokenDisk:
	}
	if w.proxy, err = faults.NewProxy(w.Seed, bytes); err != nil {
		return err
	}
	return w.startClient()
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) find(rule judge.Rule, format string, args ...any) {
	w.report.Findings = append(w.report.Findings, judge.Finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
}

// run carries the world out and has it judged. Without findings nothing is
// left of it.
func (w *world) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.close(err != nil)) }()
	if err := w.open(); err != nil {
		return err
	}
	for i := range w.Rounds {
		if ctx.Err() != nil {
			w.stopped = true
			break
		}
		if err := w.round(ctx, &w.Rounds[i]); err != nil {
			return fmt.Errorf("round %d (%s): %w", i+1, w.Rounds[i].Point, err)
		}
		if len(w.report.Findings) > 0 {
			break
		}
	}
	return w.settle()
}

// settle lets all calls come to their end, and judges.
func (w *world) settle() error {
	w.proxy.Calm()
	if err := w.empty(); err != nil {
		return err
	}
	if w.clock != nil {
		// What was due by the latest clock is due now.
		if err := w.clock.Set(int64(w.latest) * 3600); err != nil {
			return err
		}
	}
	if err := w.startServer(&plan.Round{}, nil); err != nil {
		return err
	}
	evidence := judge.Evidence{Retention: w.Retention}
	if !w.ready(patience) {
		w.find(judge.Crash, "after all that, no server comes up: %s", w.lastWords())
	} else {
		if err := w.drain(); err != nil {
			return err
		}
		var err error
		if evidence.ReadAt, evidence.Stored, err = w.read(); err != nil {
			w.find(judge.Crash, "what is stored cannot be read: %v", err)
		}
		w.goodbye()
	}
	return w.judge(&evidence)
}

// drain waits until the callers have seen all their calls through.
func (w *world) drain() error {
	if err := w.client.stdin.Close(); err != nil {
		return err
	}
	limit := time.NewTimer(drain)
	defer limit.Stop()
	select {
	case <-w.client.done:
		if !w.client.cmd.ProcessState.Success() {
			w.find(judge.Crash, "the client failed: %v: %s", w.client.cmd.ProcessState, w.lastWords())
		}
	case <-w.server.done:
		w.find(judge.Crash, "the last server ended by itself: %v: %s", w.server.cmd.ProcessState, w.lastWords())
		w.client.end()
	case <-limit.C:
		w.find(judge.Unended, "calls have not ended %v after the last kill", drain)
		w.client.end()
	}
	return nil
}

// read reads what the server has stored.
func (w *world) read() (at int64, stored []judge.Stored, err error) {
	r, err := dial(w.address)
	if err != nil {
		return 0, nil, err
	}
	defer r.close()
	at = journal.Now()
	stored, err = r.stored()
	return at, stored, err
}

// goodbye shuts the server down in good order, and looks whether the file is
// sound.
func (w *world) goodbye() {
	_ = w.server.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case <-w.server.done:
		if !w.server.cmd.ProcessState.Success() {
			w.find(judge.Crash, "the last server did not end in good order: %v: %s", w.server.cmd.ProcessState, w.lastWords())
		}
	case <-limit.C:
		w.find(judge.Crash, "the last server does not end when it is asked to")
		w.server.end()
	}
	if err := checkFile(w.data); err != nil {
		w.find(judge.Crash, "the data file: %v", err)
	}
}

// judge has the evidence judged, and keeps it if there are findings.
func (w *world) judge(e *judge.Evidence) (err error) {
	if e.Called, err = journal.Load(w.file("called")); err != nil {
		return err
	}
	if e.Worked, err = journal.Load(w.file("worked")); err != nil {
		return err
	}
	e.Called = append(e.Called, w.probes...)
	var unread int
	e.Told, unread = w.proxy.Witness.Told()
	if unread > 0 {
		w.find(judge.Crash, "%d messages on the wire could not be read", unread)
	}
	own := w.report.Findings
	if len(own) == 0 || e.Stored != nil {
		w.report = judge.Judge(e)
	}
	w.report.Findings = append(own, w.report.Findings...)
	if w.unavailable > 0 && w.notReady == 0 {
		w.find(judge.Disk, "%d calls were refused on a full disk, and /readyz never said no", w.unavailable)
	}
	w.cuts = w.proxy.Cuts()
	if len(w.report.Findings) == 0 {
		return nil
	}
	return w.keep(e)
}

// keep writes down what only we have seen, beside the journals.
func (w *world) keep(e *judge.Evidence) error {
	var findings []byte
	for _, f := range w.report.Findings {
		findings = append(findings, f.String()+"\n"...)
	}
	errs := []error{os.WriteFile(w.file("findings.txt"), findings, 0o600)}
	for name, v := range map[string]any{"plan.json": w.World, "told.json": e.Told, "stored.json": e.Stored} {
		text, err := json.MarshalIndent(v, "", " ")
		errs = append(errs, err, os.WriteFile(w.file(name), text, 0o600))
	}
	if w.volume != nil {
		errs = append(errs, faults.CopyDatabase(w.data, w.file("streamer.db")))
	}
	return errors.Join(errs...)
}

// close ends all processes. Failed tells that the world could not be carried
// out.
func (w *world) close(failed bool) error {
	for _, p := range []*process{w.server, w.client} {
		if p != nil {
			p.end()
		}
	}
	var errs []error
	if w.proxy != nil {
		errs = append(errs, w.proxy.Close())
	}
	if w.volume != nil {
		errs = append(errs, w.volume.Close())
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
func (w *world) startClient() error {
	w.clientRun++
	s := caller.Settings{
		Run: w.clientRun, Seed: w.Seed, URL: "ws://" + w.proxy.Address(), Journal: w.file("called"), Kind: w.Kind, Callers: w.Callers,
	}
	variable, err := s.Environment()
	if err != nil {
		return err
	}
	w.client, err = start([]string{w.c.Program}, w.log, variable)
	return err
}

// startServer starts the next server process, to die as the round says.
func (w *world) startServer(r *plan.Round, under faults.Trace) error {
	w.serverRun++
	s := victim.Settings{
		Run: w.serverRun, Data: w.data, Journal: w.file("worked"), Workers: w.Workers, Retention: w.Retention,
		Point: r.Point, Nth: r.Nth, Delay: r.Delay,
	}
	if w.Kind == plan.Clean {
		s.Expire = 20 * time.Millisecond
	}
	variable, err := s.Environment()
	if err != nil {
		return err
	}
	program, environment := w.c.Program, []string{variable}
	if w.c.Server != "" {
		program = w.c.Server
	}
	if w.clock != nil {
		program, environment = w.c.Clocked, append(environment, w.clock.Environment())
	}
	w.server, err = start(append(under[:len(under):len(under)], program), w.log, environment...)
	return err
}

// ready waits until the server serves, and tells whether it does.
func (w *world) ready(wait time.Duration) bool {
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case w.address = <-w.server.ready:
		w.proxy.SetTarget(w.address)
		return true
	case <-w.server.done:
		return false
	case <-limit.C:
		return false
	}
}

// lastWords returns the end of the log.
func (w *world) lastWords() string {
	text, err := os.ReadFile(w.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-600):])
}
