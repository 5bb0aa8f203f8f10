package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

const (
	barWidth = 40
	// lineEvery is how often a line is printed where there is no terminal.
	lineEvery = 5 * time.Second
)

// bar shows how far a run is: on a terminal as a line that is drawn anew, else
// as a line now and then. It is safe for concurrent use.
type bar struct {
	out      *os.File
	terminal bool
	total    int
	began    time.Time

	mu     sync.Mutex
	drawn  time.Time
	closed bool
}

func newBar(out *os.File, p plan.Plan) *bar {
	b := &bar{out: out, began: time.Now(), drawn: time.Now()}
	for _, w := range p.Worlds {
		b.total += len(w.Rounds)
	}
	if info, err := out.Stat(); err == nil {
		b.terminal = info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

// killed is told how many kills there were.
func (b *bar) killed(kills int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	every := lineEvery
	if b.terminal {
		every = 100 * time.Millisecond
	}
	if b.closed || time.Since(b.drawn) < every && kills < b.total {
		return
	}
	b.drawn = time.Now()
	took := time.Since(b.began).Round(time.Second)
	if !b.terminal {
		_, _ = fmt.Fprintf(b.out, "chaos: %d of %d kills, %v\n", kills, b.total, took)
		return
	}
	done := barWidth * kills / max(b.total, 1)
	_, _ = fmt.Fprintf(b.out, "\r\x1b[K[%s%s] %d of %d kills, %v", strings.Repeat("=", done), strings.Repeat(" ", barWidth-done), kills, b.total, took)
}

// close takes the bar away.
func (b *bar) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed = true; b.terminal {
		_, _ = fmt.Fprint(b.out, "\r\x1b[K")
	}
}
