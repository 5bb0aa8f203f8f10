package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/backend/server"
)

// deadCommands are about dead letters: calls that ended because they crashed
// their workers or used up their retries.
type deadCommands struct {
	List  deadListCommand  `cmd:"" help:"List dead letters, the newest first."`
	Retry deadRetryCommand `cmd:"" help:"Run a dead letter again, as a new call of its owner. Prints the new id."`
}

type deadListCommand struct {
	listing
	operator
}

func (k *deadListCommand) Run(a *App) error {
	ctx, stop := a.interruptible()
	defer stop()
	var dead []server.DeadLetter
	for cursor := ""; ; {
		query := url.Values{"limit": {strconv.Itoa(min(pageSize, k.Limit-len(dead)))}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var page server.DeadLetters
		if err := k.request(ctx, http.MethodGet, "/dead", query, nil, &page); err != nil {
			return err
		}
		dead = append(dead, page.Dead...)
		if cursor = page.Cursor; cursor == "" || len(dead) >= k.Limit || len(page.Dead) == 0 {
			break
		}
	}
	items := make([]any, len(dead))
	for i := range dead {
		items[i] = &dead[i]
	}
	return k.print(a, items, "dead letters", deadTable(dead, a.Now()))
}

func deadTable(dead []server.DeadLetter, now time.Time) *table {
	t := &table{
		titles:   []string{"ID", "TENANT", "ACTION", "CODE", "ENDED", "ATTEMPT", "CRASHES", "SUBJECT", "RETRY OF"},
		flexible: 2,
		optional: []int{8, 6, 5, 7, 4},
	}
	for i := range dead {
		d := &dead[i]
		t.rows = append(t.rows, []string{
			d.ID, clean(d.Tenant), clean(d.Action), clean(d.Code), formatAge(now.Sub(d.Ended)), strconv.Itoa(d.Attempt), strconv.Itoa(d.Crashes),
			clean(d.Subject), d.RetryOf,
		})
	}
	return t
}

type deadRetryCommand struct {
	ID     callID `arg:"" name:"id" help:"Id of the dead letter."`
	Tenant string `default:"demo" placeholder:"NAME" help:"Tenant of the call. Default: ${default}"`

	operator
}

func (k *deadRetryCommand) Run(a *App) error {
	ctx, stop := a.interruptible()
	defer stop()
	var out server.RetryResponse
	in := server.RetryRequest{Tenant: k.Tenant, ID: string(k.ID)}
	if err := k.request(ctx, http.MethodPost, "/dead/retry", nil, in, &out); err != nil {
		return err
	}
	_, err := fmt.Fprintln(a.Stdout, out.ID)
	return err
}
