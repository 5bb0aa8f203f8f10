package cli

import (
	"fmt"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

// maxListed and pageSize bound a list and one page of it.
const (
	maxListed = 10_000
	pageSize  = 100
)

// listing holds the flags of commands that print a list.
type listing struct {
	Limit int  `short:"n" default:"20" placeholder:"N" help:"How many to list at most, 1 to 10000. Default: ${default}"`
	JSON  bool `help:"Print each as one line of JSON."`
}

// Validate is called by kong.
func (l *listing) Validate() error {
	if l.Limit < 1 || l.Limit > maxListed {
		return fmt.Errorf("--limit must be 1 to %d", maxListed)
	}
	return nil
}

// print prints a list as lines of JSON or as a table.
func (l *listing) print(a *App, items []any, noun string, t *table) error {
	if l.JSON {
		for _, item := range items {
			if err := writeJSON(a.Stdout, item); err != nil {
				return err
			}
		}
		return nil
	}
	if len(items) == 0 {
		_, err := fmt.Fprintln(a.Stderr, "no "+noun)
		return err
	}
	return t.print(a.Stdout, a.columns(), a.outStyle())
}

type listCommand struct {
	Status string `enum:",queued,running,succeeded,failed,cancelled" default:"" placeholder:"STATUS" help:"Only calls that are queued, running, succeeded, failed or cancelled."`
	Action string `placeholder:"NAME" help:"Only calls of this action."`

	listing
	connection
}

func (*listCommand) Help() string {
	return `Calls that were answered at once were not stored, and are not listed. On a terminal, columns that do not fit are left out, and long names are cut.`
}

func (k *listCommand) Run(a *App) error {
	ctx, stop := a.interruptible()
	defer stop()
	c, err := k.dial(ctx, nil)
	if err != nil {
		return err
	}
	defer disconnect(c)
	filter := client.ListFilter{Status: client.Status(k.Status), Action: k.Action, PageSize: min(k.Limit, pageSize)}
	var calls []client.CallInfo
	var items []any
	for info, err := range client.List(ctx, c, filter) {
		if interrupted(ctx) {
			return errInterrupted
		}
		if err != nil {
			return err
		}
		calls, items = append(calls, info), append(items, newCallLine(&info))
		if len(calls) == k.Limit {
			break
		}
	}
	return k.print(a, items, "calls", callTable(calls, a.Now()))
}

// callLine is a call as a line of JSON.
type callLine struct {
	ID              string        `json:"id"`
	Action          string        `json:"action"`
	Status          client.Status `json:"status"`
	Attempt         int           `json:"attempt"`
	CreatedAt       time.Time     `json:"createdAt"`
	EndedAt         time.Time     `json:"endedAt,omitzero"`
	Due             time.Time     `json:"due,omitzero"`
	LastSeq         uint64        `json:"lastSeq"`
	Code            string        `json:"code,omitempty"`
	Percent         float64       `json:"percent,omitempty"`
	CancelRequested bool          `json:"cancelRequested,omitempty"`
}

func newCallLine(c *client.CallInfo) *callLine {
	return &callLine{
		ID: c.ID, Action: c.Action, Status: c.Status, Attempt: c.Attempt, CreatedAt: c.CreatedAt.UTC(), EndedAt: c.EndedAt.UTC(),
		Due: c.Due.UTC(), LastSeq: c.LastSeq, Code: c.Code, Percent: c.Percent, CancelRequested: c.CancelRequested,
	}
}

func callTable(calls []client.CallInfo, now time.Time) *table {
	t := &table{
		titles:   []string{"ID", "ACTION", statusTitle, "DONE", "AGE", "TOOK", "ATTEMPT", "CODE"},
		flexible: 1,
		optional: []int{6, 7, 5, 3, 4},
	}
	for i := range calls {
		c := &calls[i]
		done, took, code := "", "", clean(c.Code)
		if code == string(c.Status) {
			code = "" // both are "cancelled"
		}
		if c.Percent > 0 {
			done = strconv.Itoa(int(c.Percent)) + "%"
		}
		if !c.EndedAt.IsZero() {
			took = formatDuration(c.EndedAt.Sub(c.CreatedAt))
		}
		t.rows = append(t.rows, []string{
			c.ID, clean(c.Action), clean(string(c.Status)), done, formatAge(now.Sub(c.CreatedAt)), took, strconv.Itoa(c.Attempt), code,
		})
	}
	return t
}
