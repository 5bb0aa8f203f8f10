// Command clientundertest is the Go client in a process of its own, as
// `streamer conform --client` plays against it: it reads commands from its
// standard input, and writes to its standard output what its readers
// receive. contract/sessions/CLIENTS.md describes the protocol; this is also an
// example of how little a client needs for it.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/application"
)

func main() {
	wrong := flag.String("wrong", "", "what to do wrong, to see it found: drops, doubles, reorders, silent, crashes, chatters or lingers")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *wrong); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command is a line of the standard input.
type command struct {
	N       int             `json:"n"`
	Command string          `json:"command"`
	URL     string          `json:"url"`
	Tokens  []string        `json:"tokens"`
	Call    string          `json:"call"`
	Request json.RawMessage `json:"request"`
	ID      string          `json:"id"`
	Take    int             `json:"take"`
}

// adapter turns commands into calls of the client.
type adapter struct {
	app   *application.Application
	fault fault

	writing sync.Mutex
	out     *json.Encoder

	takes map[int]*take
}

// take is a reader that waits for an event.
type take struct {
	stop     context.CancelFunc
	answered chan struct{}
}

// run executes commands until one closes the client, or the input ends.
func run(in io.Reader, out io.Writer, wrong string) error {
	a := &adapter{out: json.NewEncoder(out), takes: map[int]*take{}, fault: fault{name: wrong}}
	a.out.SetEscapeHTML(false)
	a.writeLine(map[string]any{"hello": 1, "client": "client-go", "abilities": []string{"handshake"}})
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("a line that is no command: %w", err)
		}
		if c.Command == "take" {
			a.startTake(&c)
			continue
		}
		err := a.execute(&c)
		answer := map[string]any{"n": c.N}
		if err != nil {
			answer["error"] = err.Error()
		}
		a.writeLine(answer)
		if c.Command == "close" {
			a.fault.linger()
			return nil
		}
	}
	return errors.Join(lines.Err(), a.close())
}

func (a *adapter) writeLine(line map[string]any) {
	a.writing.Lock()
	defer a.writing.Unlock()
	_ = a.out.Encode(line) // an error means that the player has gone: the input ends, too
}

func (a *adapter) execute(c *command) (err error) {
	if a.app == nil && c.Command != "open" && c.Command != "close" {
		return errors.New("open comes first")
	}
	ctx := context.Background()
	switch c.Command {
	case "open":
		a.app, err = application.New(c.URL, c.Tokens, client.Options{})
		return err
	case "start":
		return a.app.Start(ctx, c.Call, c.Request)
	case "attach":
		return a.app.Attach(ctx, c.Call, c.ID)
	case "cancel":
		return a.app.Cancel(ctx, c.Call)
	case "detach":
		return a.app.Detach(ctx, c.Call)
	case "untake":
		a.stopTake(c.Take)
		return nil
	case "close":
		return a.close()
	}
	return fmt.Errorf("there is no command %q", c.Command)
}

// startTake waits in the background for the next event of a call.
func (a *adapter) startTake(c *command) {
	ctx, stop := context.WithCancel(context.Background())
	t := &take{stop: stop, answered: make(chan struct{})}
	a.takes[c.N] = t
	go func() {
		defer close(t.answered)
		event, err := a.fault.nextEvent(ctx, a.app, c.Call)
		answer := map[string]any{"n": c.N, "event": event}
		if err != nil && ctx.Err() == nil {
			answer["error"] = err.Error()
		}
		a.writeLine(answer)
	}()
}

// stopTake withdraws a take, and returns when that was answered: with an event
// if one came in time.
func (a *adapter) stopTake(n int) {
	if t := a.takes[n]; t != nil {
		t.stop()
		<-t.answered
	}
}

func (a *adapter) close() error {
	for n := range a.takes {
		a.stopTake(n)
	}
	if a.app == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := a.app.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil // the player has let its connections hang: they are cut
}
