package caller

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/victim"
)

// caller is the process.
type caller struct {
	Settings
	client *client.Client
	notes  *journal.Writer
	calls  sync.WaitGroup

	mu sync.Mutex
	// over tells that no new calls are made, lull that none are made now;
	// changed is closed when either changes.
	over, lull bool
	changed    chan struct{}
}

// Serve makes calls until its input ends, and sees them through.
func Serve(text string, commands io.Reader) error {
	c := &caller{changed: make(chan struct{})}
	if err := json.Unmarshal([]byte(text), &c.Settings); err != nil {
		return err
	}
	old, err := journal.Load(c.Journal)
	if err != nil {
		return err
	}
	if c.notes, err = journal.Open(c.Journal, c.Run); err != nil {
		return err
	}
	c.client, err = client.New(c.URL, &client.Options{
		Token:         func(context.Context) (string, error) { return victim.Token() },
		Backoff:       client.Backoff{Base: 5 * time.Millisecond, Max: 100 * time.Millisecond},
		UnsentTimeout: -1, // servers come back
	})
	if err != nil {
		return err
	}
	for _, a := range unfinished(old) {
		c.calls.Go(func() { c.see(a) })
	}
	for i := range c.Callers {
		c.calls.Go(func() { c.keepCalling(i) })
	}
	c.obey(commands)
	c.calls.Wait()
	return errors.Join(c.client.Close(context.Background()), c.notes.Close())
}

// obey takes commands until there are no more.
func (c *caller) obey(commands io.Reader) {
	change := func(over, lull bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.over, c.lull = over, lull
		close(c.changed)
		c.changed = make(chan struct{})
	}
	for lines := bufio.NewScanner(commands); lines.Scan(); {
		change(false, lines.Text() == Lull)
	}
	change(true, false)
}

// more waits while there is a lull, and tells whether calls are still to be
// made.
func (c *caller) more() bool {
	for {
		c.mu.Lock()
		over, lull, changed := c.over, c.lull, c.changed
		c.mu.Unlock()
		if over || !lull {
			return !over
		}
		<-changed
	}
}

// keepCalling makes one call after the other; two at once where they share an
// idempotency key.
func (c *caller) keepCalling(place int) {
	random := rand.New(rand.NewPCG(c.Seed, uint64(c.Run)<<32|uint64(place)))
	for c.more() {
		a := choose(c.Kind, c.Run, random)
		twins := []ask{a}
		if a.options.Key != "" {
			twins = append(twins, a)
		}
		var both sync.WaitGroup
		for _, t := range twins {
			t.id = client.NewID()
			both.Go(func() {
				c.write(&journal.Entry{What: journal.Ask, ID: t.id, Action: t.action, Options: &t.options, Data: encode(t.params)})
				c.see(t)
			})
		}
		both.Wait()
	}
}

// unfinished returns the calls of a journal that have no end yet.
func unfinished(old []journal.Entry) []ask {
	asks := map[string]*ask{}
	var order []string
	ended := map[string]int{}
	for i := range old {
		e := &old[i]
		a := asks[e.ID]
		switch {
		case e.What == journal.Ask:
			a := &ask{id: e.ID, action: e.Action, options: *e.Options}
			if err := json.Unmarshal(e.Data, &a.params); err != nil {
				panic(fmt.Sprintf("the journal holds no job for %s: %v", e.ID, err))
			}
			asks[e.ID], order = a, append(order, e.ID)
		case a == nil:
		case e.What == journal.Ack:
			a.to = e.To
		case e.What == journal.End:
			ended[e.ID]++
			a.looks = true
		}
	}
	var out []ask
	for _, id := range order {
		a := asks[id]
		if n := ended[id]; n == 0 || n == 1 && a.options.Look && a.to != "" {
			out = append(out, *a)
		}
	}
	return out
}

func (c *caller) write(e *journal.Entry) {
	if err := c.notes.Write(e); err != nil {
		panic(fmt.Sprintf("the journal cannot be written: %v", err))
	}
}

func encode(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // jobs are made of numbers and texts
	}
	return out
}
