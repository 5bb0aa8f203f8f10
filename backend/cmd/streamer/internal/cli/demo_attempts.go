package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// showAttempts is a middleware that prints each attempt on standard output when it
// has ended. Payloads are not printed.
func (a *App) showAttempts(next streamer.HandlerFunc) streamer.HandlerFunc {
	return func(ctx context.Context, in any) (out any, err error) {
		started, returned := time.Now(), false
		defer func() {
			outcome := "panicked"
			if returned {
				outcome = outcomeOf(err)
			}
			a.printAttempt(streamer.Info(ctx), outcome, time.Since(started))
		}()
		out, err = next(ctx, in)
		returned = true
		return out, err
	}
}

func (a *App) printAttempt(info streamer.CallInfo, outcome string, took time.Duration) {
	st := a.outStyle()
	mark := st.green("✓")
	if outcome != "" {
		mark = st.yellow("·")
		outcome = "  " + st.yellow(outcome)
	}
	attempt := ""
	if info.Attempt > 1 {
		attempt = fmt.Sprintf("  attempt %d", info.Attempt)
	}
	_, _ = fmt.Fprintf(a.Stdout, "  %s %s %s  %s%s%s  %s\n", st.dim(a.Now().Format(time.TimeOnly)), mark, info.Action,
		st.dim(info.ID), attempt, outcome, st.dim(formatDuration(took)))
}

// outcomeOf returns how an attempt ended, in a word; empty: with a result.
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
	return truncate(clean(err.Error()), 60)
}
