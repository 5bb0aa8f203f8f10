package cli

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
)

// Times of a bar.
const (
	// barAfter is when a call is slow enough for one.
	barAfter = 300 * time.Millisecond
	// barEvery is how often it is drawn.
	barEvery = 100 * time.Millisecond
)

// lineStart clears the line. What the user types, and be it Ctrl-C, is echoed
// where the bar is drawn next.
const lineStart = "\r\x1b[K"

// screen writes to both streams, with a bar below if standard error is a
// terminal. It is safe for concurrent use.
type screen struct {
	app *App
	may bool // there may be a bar

	mu    sync.Mutex
	state barState
	timer *time.Timer
	// bars is nil while there is no bar.
	bars *mpb.Progress
	bar  *mpb.Bar
	over bool
}

func newScreen(a *App, quiet bool) *screen {
	return &screen{app: a, may: a.StderrTerminal && !a.Dumb && !quiet}
}

// begin draws a bar soon.
func (s *screen) begin(action string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.action, s.state.since = action, since
	if s.may && s.timer == nil {
		s.timer = time.AfterFunc(barAfter, s.draw)
	}
}

// draw starts to draw the bar. Where both streams are the same terminal it is
// drawn by the one through which the output comes, so that they take turns.
func (s *screen) draw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.bars != nil {
		return
	}
	s.bars = mpb.New(mpb.WithOutput(s.terminal()), mpb.WithRefreshRate(barEvery), mpb.WithAutoRefresh())
	st := s.app.errStyle()
	s.bar = s.bars.MustAdd(0, barFiller(func(width int) string {
		s.mu.Lock()
		state := s.state
		s.mu.Unlock()
		return state.line(width, s.app.Now(), st)
	}), mpb.BarFillerTrim())
}

func (s *screen) terminal() io.Writer {
	if s.app.StdoutTerminal {
		return s.app.Stdout
	}
	return s.app.Stderr
}

// update changes what the bar shows.
func (s *screen) update(change func(*barState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

// output writes to standard output.
func (s *screen) output(text string) error {
	if s.app.StdoutTerminal {
		return s.above(s.app.Stdout, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(s.app.Stdout, text)
	return err
}

// note writes to standard error.
func (s *screen) note(text string) { _ = s.above(s.app.Stderr, text) }

// above writes lines above the bar, if there is one. The lock is not held
// while the bar's goroutine is spoken to: it takes the lock to draw.
func (s *screen) above(w io.Writer, text string) error {
	s.mu.Lock()
	bars := s.bars
	s.mu.Unlock()
	if bars != nil {
		if _, err := io.WriteString(bars, lineStart+text); !errors.Is(err, mpb.ErrDone) {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := io.WriteString(w, text)
	return err
}

// close takes the bar away, once all that was written above it is there. It
// may be called again.
func (s *screen) close() {
	s.mu.Lock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
	}
	bars, bar := s.bars, s.bar
	s.mu.Unlock()
	if bars == nil {
		return
	}
	bar.Abort(true)
	bars.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars != nil {
		s.bars = nil
		_, _ = io.WriteString(s.terminal(), lineStart)
	}
}
