// Package recorder records what clients of the server under test see: as a
// client process, which makes calls by the Go client and writes a journal; on
// the wire, beside the clients; and in the end by reading what is stored.
package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Variable is the environment variable that holds a client's Settings.
const Variable = "STREAMER_CHAOS_CLIENT"

// Settings are what a client process is started with.
type Settings struct {
	// Run is the number of the process, from 1; Seed makes its choices.
	Run  int    `json:"run"`
	Seed uint64 `json:"seed"`
	URL  string `json:"url"`
	// Journal is written before anything is sent. A client that replaces a
	// killed one continues the calls of its journal, under their ids.
	Journal string `json:"journal"`
	// Kind decides which calls are made; Callers is how many at a time.
	Kind    serverproc.Kind `json:"kind"`
	Callers int             `json:"callers"`
}

// Lines that a client process is sent.
const (
	// Pause stops new calls until Resume.
	Pause  = "pause"
	Resume = "resume"
	// Finish stops new calls. The process ends when the old ones have.
	Finish = "finish"
)

// recordingClient is the process.
type recordingClient struct {
	Settings
	client  *client.Client
	journal *serverproc.Journal
	calls   sync.WaitGroup

	mu sync.Mutex
	// state is the last line that was received; changed is closed when there is
	// a new one.
	state   string
	changed chan struct{}
}

// Run makes calls until it is told to finish, and sees them through. It is for
// serverproc.RunChild.
func Run(settings []byte, lines <-chan string) error {
	c := &recordingClient{changed: make(chan struct{})}
	if err := json.Unmarshal(settings, &c.Settings); err != nil {
		return err
	}
	old, err := serverproc.LoadJournal(c.Journal)
	if err != nil {
		return err
	}
	inherited, err := unfinished(old)
	if err != nil {
		return err
	}
	if c.journal, err = serverproc.OpenJournal(c.Journal, c.Settings.Run); err != nil {
		return err
	}
	c.client, err = client.New(c.URL, &client.Options{
		Token:         func(context.Context) (string, error) { return serverproc.Token() },
		Backoff:       client.Backoff{Base: 5 * time.Millisecond, Max: 100 * time.Millisecond},
		UnsentTimeout: -1, // servers come back
	})
	if err != nil {
		return err
	}
	for _, a := range inherited {
		c.calls.Go(func() { c.seeThrough(a) })
	}
	for i := range c.Callers {
		c.calls.Go(func() { c.makeCalls(i) })
	}
	for line := range lines {
		c.mu.Lock()
		c.state = line
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		if line == Finish {
			break
		}
	}
	c.calls.Wait()
	return errors.Join(c.client.Close(context.Background()), c.journal.Close())
}

// mayCall waits during a pause, and tells whether calls are still to be made.
func (c *recordingClient) mayCall() bool {
	for {
		c.mu.Lock()
		state, changed := c.state, c.changed
		c.mu.Unlock()
		if state != Pause {
			return state != Finish
		}
		<-changed
	}
}

// makeCalls makes one call after the other, or two at once with the same
// idempotency key.
func (c *recordingClient) makeCalls(caller int) {
	random := rand.New(rand.NewPCG(c.Seed, uint64(c.Settings.Run)<<32|uint64(caller)))
	for c.mayCall() {
		a := choose(c.Kind, c.Settings.Run, random)
		calls := []ask{a}
		if a.options.Key != "" {
			calls = append(calls, a)
		}
		var all sync.WaitGroup
		for _, a := range calls {
			a.id = client.NewID()
			all.Go(func() {
				c.record(&serverproc.Entry{What: serverproc.Ask, ID: a.id, Action: a.action, Options: &a.options, Data: encode(a.params)})
				c.seeThrough(a)
			})
		}
		all.Wait()
	}
}

func (c *recordingClient) record(e *serverproc.Entry) {
	if err := c.journal.Write(e); err != nil {
		panic(fmt.Sprintf("the journal cannot be written: %v", err))
	}
}

// encode encodes what cannot fail.
func encode(v any) json.RawMessage {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and texts
	}
	return out
}

func decodeParams(e *serverproc.Entry, p *serverproc.Params) error {
	if err := json.Unmarshal(e.Data, p); err != nil {
		return fmt.Errorf("the journal holds no job for %s: %w", e.ID, err)
	}
	return nil
}
