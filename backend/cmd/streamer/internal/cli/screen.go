package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	// statusDelay is how long a command runs before its status line appears.
	statusDelay = 300 * time.Millisecond
	// statusInterval is how often the status line is redrawn.
	statusInterval = 100 * time.Millisecond
	// clearLine moves to the start of the terminal's line and clears it, with
	// whatever the user typed there (a Ctrl-C is echoed).
	clearLine = "\r\x1b[K"
)

// status is what the status line shows.
type status struct {
	name    string
	since   time.Time
	percent float64 // 0: unknown
	chunks  int
	message string
	lost    bool // the connection is
}

const (
	maxStatusName = 24
	statusBar     = 20
	// minBarWidth is how wide a terminal must be for a progress bar.
	minBarWidth = 60
)

// format returns the status in fewer columns than width, so that the terminal
// does not wrap the line.
func (s *status) format(width int, now time.Time) string {
	parts := []string{truncate(s.name, maxStatusName)}
	if s.percent > 0 {
		percent := int(min(s.percent, 100))
		text := fmt.Sprintf("%3d%%", percent)
		if width >= minBarWidth {
			full := statusBar * percent / 100
			text = strings.Repeat("━", full) + strings.Repeat("─", statusBar-full) + " " + text
		}
		parts = append(parts, text)
	}
	parts = append(parts, formatDuration(now.Sub(s.since)))
	if s.chunks > 0 {
		parts = append(parts, plural(s.chunks, "chunk"))
	}
	switch {
	case s.lost:
		parts = append(parts, "reconnecting")
	case s.message != "":
		parts = append(parts, s.message)
	}
	return truncate(strings.Join(parts, "  "), width-1)
}

// screen writes to standard output and standard error. If standard error is a
// terminal, its last line shows the status. It is safe for concurrent use.
type screen struct {
	app *App
	// hasStatus reports whether there may be a status line.
	hasStatus bool

	mu      sync.Mutex
	status  status
	visible bool        // the status line is on the terminal
	timer   *time.Timer // redraws; nil: not started
	closed  bool
}

func newScreen(a *App, quiet bool) *screen {
	return &screen{app: a, hasStatus: a.StderrTerminal && !a.Dumb && !quiet}
}

// start shows the status line until close.
func (s *screen) start(name string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.name, s.status.since = name, since
	if s.hasStatus {
		s.timer = time.AfterFunc(statusDelay, s.redraw)
	}
}

func (s *screen) redraw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.draw()
		s.timer.Reset(statusInterval)
	}
}

// draw draws the status line. The caller holds the lock.
func (s *screen) draw() {
	width := 80
	if s.app.Width != nil {
		if columns := s.app.Width(); columns > 0 {
			width = columns
		}
	}
	line := s.app.errStyle().cyan(s.status.format(width, s.app.Now()))
	_, _ = io.WriteString(s.app.Stderr, clearLine+line)
	s.visible = true
}

// erase removes the status line. The caller holds the lock.
func (s *screen) erase() {
	if s.visible {
		_, _ = io.WriteString(s.app.Stderr, clearLine)
	}
	s.visible = false
}

// update changes the status.
func (s *screen) update(change func(*status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// output writes whole lines to standard output.
func (s *screen) output(lines string) error { return s.write(s.app.Stdout, lines) }

// note writes whole lines to standard error.
func (s *screen) note(lines string) { _ = s.write(s.app.Stderr, lines) }

// write writes lines above the status line.
func (s *screen) write(w io.Writer, lines string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	visible := s.visible
	s.erase()
	_, err := io.WriteString(w, lines)
	if visible {
		s.draw()
	}
	return err
}

// close removes the status line. It may be called again.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.erase()
}
