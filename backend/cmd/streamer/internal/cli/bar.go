package cli

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// barState is what a bar shows of a call.
type barState struct {
	action  string
	since   time.Time
	percent float64 // 0: not known
	message string
	chunks  int
	lost    bool // the connection is
}

// barFiller has a line drawn that takes at most the width that there is.
func barFiller(line func(width int) string) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, stat decor.Statistics) error {
		_, err := io.WriteString(w, lineStart+line(stat.AvailableWidth))
		return err
	})
}

const (
	maxBarName = 24
	maxBar     = 40
	minBar     = 8
)

// line draws the state in at most width columns: the action, a bar, percent,
// time, chunks and message, as far as there is room.
func (s *barState) line(width int, now time.Time, st style) string {
	took := now.Sub(s.since)
	name := fit(s.action, maxBarName)
	percent := "    "
	if s.percent > 0 {
		percent = fmt.Sprintf("%3d%%", int(s.percent))
	}
	tail := " " + percent + "  " + duration(took)
	if s.chunks > 0 {
		tail += "  " + count(s.chunks, "chunk")
	}
	message := s.message
	if s.lost {
		message = "connecting anew"
	}
	room := width - runewidth.StringWidth(name) - 2 - runewidth.StringWidth(tail) - 1
	if room < minBar {
		return fit(name+tail, max(0, width-1))
	}
	bar := min(room, maxBar)
	if message != "" {
		// A bar gives way to a message, down to half of the room.
		bar = min(bar, max(minBar, room-2-runewidth.StringWidth(message), room/2))
		message = fit(message, room-bar-2)
	}
	text := st.bold(name) + "  " + s.bar(bar, took, st) + tail
	if message != "" {
		text += "  " + st.dim(message)
	}
	return text
}

// bar draws how much is done; or, when that is not known, a light that goes to
// and fro.
func (s *barState) bar(width int, took time.Duration, st style) string {
	full, empty := "━", "─"
	if runewidth.StringWidth(full) != 1 {
		full, empty = "=", "-" // East Asian terminals draw them twice as wide
	}
	from, to := 0, int(math.Round(float64(width)*min(s.percent, 100)/100))
	if s.percent <= 0 {
		const light = 4
		way := max(1, width-light)
		at := int(took/barEvery) % (2 * way)
		from = min(at, 2*way-at)
		to = min(width, from+light)
	}
	return st.dim(strings.Repeat(empty, from)) + st.cyan(strings.Repeat(full, to-from)) + st.dim(strings.Repeat(empty, width-to))
}

// fit cuts a text to at most width columns, and shows that it did.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	return runewidth.Truncate(text, width, "…")
}

// duration writes a time as people say it, in at most seven columns or so.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Second:
		return strconv.FormatFloat(math.Floor(d.Seconds()*10)/10, 'f', -1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}
