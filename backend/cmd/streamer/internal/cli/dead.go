package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pay-theory/streamer/backend/server"
)

// deadCommands are about dead letters: calls that ended because workers died
// running them, or their retries were used up.
type deadCommands struct {
	List  deadListCommand  `cmd:"" help:"List dead letters, the latest death first."`
	Retry deadRetryCommand `cmd:"" help:"Run a dead letter again, as a new call of its owner's. Prints the new id."`
}

// deadListCommand lists dead letters.
type deadListCommand struct {
	Limit int  `short:"n" default:"20" placeholder:"N" help:"How many dead letters at most, 1 to 10000. Default: ${default}"`
	JSON  bool `help:"Print each dead letter as one line of JSON."`

	operator
}

// Run lists them.
func (k *deadListCommand) Run(a *App) error {
	if k.Limit < 1 || k.Limit > maxListed {
		return usage(fmt.Sprintf("--limit is 1 to %d", maxListed), "")
	}
	ctx, stop := a.interruptible(context.Background())
	defer stop()
	var dead []server.DeadLetter
	cursor := ""
	for {
		query := url.Values{"limit": {strconv.Itoa(min(pageSize, k.Limit-len(dead)))}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var page server.DeadLetters
		if err := k.do(ctx, http.MethodGet, "/dead", query, nil, &page); err != nil {
			return err
		}
		dead = append(dead, page.Dead...)
		if cursor = page.Cursor; cursor == "" || len(dead) >= k.Limit || len(page.Dead) == 0 {
			break
		}
	}
	switch {
	case k.JSON:
		for i := range dead {
			if err := writeLine(a.Stdout, &dead[i]); err != nil {
				return err
			}
		}
		return nil
	case len(dead) == 0:
		_, err := fmt.Fprintln(a.Stderr, "no dead letters")
		return err
	}
	return deadTable(a, dead).write(a.Stdout, a.columns(), a.outStyle())
}

func deadTable(a *App, dead []server.DeadLetter) *table {
	st, now := a.outStyle(), a.Now()
	t := &table{columns: []column{
		{title: "ID"},
		{title: "TENANT", least: 8},
		{title: "ACTION", least: 12},
		{title: "CODE", least: 8, paint: func(_, padded string) string { return st.red(padded) }},
		{title: "DIED", right: true, rank: 1},
		{title: "ATTEMPT", right: true, rank: 3},
		{title: "DEATHS", right: true, rank: 4},
		{title: "SUBJECT", least: 8, rank: 2},
		{title: "RETRY OF", rank: 5},
	}}
	for i := range dead {
		d := &dead[i]
		t.rows = append(t.rows, []string{
			d.ID, clean(d.Tenant), clean(d.Action), clean(d.Code), age(now.Sub(d.Ended)), strconv.Itoa(d.Attempt), strconv.Itoa(d.Deaths),
			clean(d.Subject), d.RetryOf,
		})
	}
	return t
}

// deadRetryCommand runs a dead letter again.
type deadRetryCommand struct {
	ID     callID `arg:"" name:"id" help:"Id of the dead letter."`
	Tenant string `default:"demo" placeholder:"NAME" help:"Tenant that the call is of. Default: ${default}"`

	operator
}

// Run retries it.
func (k *deadRetryCommand) Run(a *App) error {
	ctx, stop := a.interruptible(context.Background())
	defer stop()
	var out server.RetryResponse
	in := server.RetryRequest{Tenant: k.Tenant, ID: string(k.ID)}
	if err := k.do(ctx, http.MethodPost, "/dead/retry", nil, in, &out); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.Stdout, out.ID)
	return err
}
