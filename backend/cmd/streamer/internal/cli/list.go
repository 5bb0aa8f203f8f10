package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// listCommand lists the caller's calls.
type listCommand struct {
	Status string `enum:",queued,running,succeeded,failed,cancelled" default:"" placeholder:"STATUS" help:"Only calls that are queued, running, succeeded, failed or cancelled."`
	Action string `placeholder:"NAME" help:"Only calls of this action."`
	Limit  int    `short:"n" default:"20" placeholder:"N" help:"How many calls at most, 1 to 10000. Default: ${default}"`
	JSON   bool   `help:"Print each call as one line of JSON."`

	connection
}

// maxListed and pageSize bound a list and one page of it.
const (
	maxListed = 10_000
	pageSize  = 100
)

// Help is the longer help.
func (*listCommand) Help() string {
	return `Calls that were answered at once were never stored, and are not listed. On a terminal, what does not fit is left out or cut.`
}

// Run lists the calls.
func (k *listCommand) Run(a *App) error {
	if k.Limit < 1 || k.Limit > maxListed {
		return usage(fmt.Sprintf("--limit is 1 to %d", maxListed), "")
	}
	ctx, stop := a.interruptible(context.Background())
	defer stop()
	c, err := k.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer hangUp(c)
	filter := client.ListFilter{Status: client.Status(k.Status), Action: k.Action, PageSize: min(k.Limit, pageSize)}
	var calls []client.CallInfo
	for info, err := range client.List(ctx, c, filter) {
		if interrupted(ctx) {
			return errInterrupted
		}
		if err != nil {
			return err
		}
		if calls = append(calls, info); len(calls) == k.Limit {
			break
		}
	}
	if k.JSON {
		return printCalls(a, calls)
	}
	if len(calls) == 0 {
		_, err := fmt.Fprintln(a.Stderr, "no calls")
		return err
	}
	return callTable(a, calls).write(a.Stdout, a.columns(), a.outStyle())
}

// columns is how wide a table may be; 0: as wide as it is.
func (a *App) columns() int {
	if !a.StdoutTerminal || a.Width == nil {
		return 0
	}
	return a.Width()
}

// callLine is a call as a line of JSON.
type callLine struct {
	ID              string        `json:"id"`
	Action          string        `json:"action"`
	Status          client.Status `json:"status"`
	Attempt         int           `json:"attempt"`
	CreatedAt       time.Time     `json:"createdAt"`
	EndedAt         *time.Time    `json:"endedAt,omitempty"`
	Due             *time.Time    `json:"due,omitempty"`
	LastSeq         uint64        `json:"lastSeq"`
	Code            string        `json:"code,omitempty"`
	Percent         float64       `json:"percent,omitempty"`
	CancelRequested bool          `json:"cancelRequested,omitempty"`
}

func printCalls(a *App, calls []client.CallInfo) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	for i := range calls {
		c := &calls[i]
		line := callLine{
			ID: c.ID, Action: c.Action, Status: c.Status, Attempt: c.Attempt, CreatedAt: c.CreatedAt.UTC(), EndedAt: timeOrNil(c.EndedAt),
			Due: timeOrNil(c.Due), LastSeq: c.LastSeq, Code: c.Code, Percent: c.Percent, CancelRequested: c.CancelRequested,
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func callTable(a *App, calls []client.CallInfo) *table {
	st, now := a.outStyle(), a.Now()
	t := &table{columns: []column{
		{title: "ID"},
		{title: "ACTION", least: 12},
		{title: "STATUS", paint: st.status},
		{title: "DONE", right: true, rank: 2},
		{title: "AGE", right: true, rank: 1},
		{title: "TOOK", right: true, rank: 3},
		{title: "ATTEMPT", right: true, rank: 5},
		{title: "CODE", rank: 4, least: 8},
	}}
	for i := range calls {
		c := &calls[i]
		done, took, code := "", "", clean(c.Code)
		if code == string(c.Status) {
			code = "" // cancelled twice says no more than once
		}
		if c.Percent > 0 {
			done = strconv.Itoa(int(c.Percent)) + "%"
		}
		if !c.EndedAt.IsZero() {
			took = duration(c.EndedAt.Sub(c.CreatedAt))
		}
		t.rows = append(t.rows, []string{
			c.ID, clean(c.Action), clean(string(c.Status)), done, age(now.Sub(c.CreatedAt)), took, strconv.Itoa(c.Attempt), code,
		})
	}
	return t
}

// age writes how long ago something was, in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	}
	return strconv.Itoa(int(d.Hours())/24) + "d"
}
