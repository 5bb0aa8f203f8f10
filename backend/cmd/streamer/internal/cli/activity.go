package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// activity shows the handlers' runs on standard output as they end. Payloads
// are not shown.
type activity struct {
	app *App
	mu  sync.Mutex
}

func newActivity(a *App) *activity { return &activity{app: a} }

// watch is middleware.
func (v *activity) watch(next streamer.HandlerFunc) streamer.HandlerFunc {
	return func(ctx context.Context, in any) (out any, err error) {
		began, came := time.Now(), false
		defer func() {
			outcome := "panicked"
			if came {
				outcome = outcomeOf(err)
			}
			v.show(streamer.Info(ctx), outcome, time.Since(began))
		}()
		out, err = next(ctx, in)
		came = true
		return out, err
	}
}

func (v *activity) show(info streamer.CallInfo, outcome string, took time.Duration) {
	st := v.app.outStyle()
	mark := st.green("✓")
	if outcome != "" {
		mark = st.yellow("·")
		outcome = "  " + st.yellow(outcome)
	}
	attempt := ""
	if info.Attempt > 1 {
		attempt = fmt.Sprintf("  attempt %d", info.Attempt)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = fmt.Fprintf(v.app.Stdout, "  %s %s %s  %s%s%s  %s\n", st.dim(v.app.Now().Format(time.TimeOnly)), mark, info.Action,
		st.dim(info.ID), attempt, outcome, st.dim(duration(took)))
}

// outcomeOf says how a run ended, in a word; empty: it returned a result.
func outcomeOf(err error) string {
	var coded *streamer.Error
	switch {
	case err == nil:
		return ""
	case errors.Is(err, streamer.ErrCancelled):
		return "cancelled"
	case errors.As(err, &coded):
		return clean(coded.Code)
	}
	return fit(clean(err.Error()), 60)
}
