package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

// testClient is a client under test with a clock that can be moved: it starts
// no calls, pings after 4 minutes, and hands on every message as a chunk.
type testClient struct {
	out    *json.Encoder
	conn   Conn          // nil: not connected yet
	idle   time.Duration // for how long it has sent nothing
	events []json.RawMessage
	take   int // the number of the take that waits; 0: none
}

// runTestClient obeys the player; how says what to do wrong.
func runTestClient(how string) error {
	c := &testClient{out: json.NewEncoder(os.Stdout)}
	if how == "late" {
		select {} // never says hello
	}
	abilities := []Ability{AbilityClock}
	if how == "no clock" {
		abilities = nil
	}
	_ = c.out.Encode(map[string]any{"hello": ClientProtocol, "client": "test", "abilities": abilities})
	commands, opened, frames := make(chan *command), make(chan Conn), make(chan []byte)
	go func() {
		defer close(commands)
		for d := json.NewDecoder(os.Stdin); ; {
			var what command
			if d.Decode(&what) != nil {
				return
			}
			commands <- &what
		}
	}()
	for {
		select {
		case c.conn = <-opened:
		case data := <-frames:
			c.events = append(c.events, fmt.Appendf(nil, `{"event":"chunk","data":%s}`, data))
			c.answerTake(false)
		case what, ok := <-commands:
			if !ok {
				return nil
			}
			if what.Command == "open" {
				go func() {
					conn, err := NewRemote(&RemoteOptions{
						URL:     what.URL,
						Mint:    func(context.Context, Identity) (string, error) { return what.Tokens[0], nil },
						OnFrame: func(f []byte) { frames <- f },
					}).Connect(context.Background(), Identity{})
					if err == nil {
						opened <- conn
					}
				}()
			}
			c.obey(what, how)
			if what.Command == "close" && how == "bad exit" {
				return errors.New("told to end badly")
			}
		}
	}
}

// obey carries a command out, and answers it.
func (c *testClient) obey(what *command, how string) {
	answer := map[string]any{"n": what.N}
	switch what.Command {
	case "take":
		c.take = what.N
		c.answerTake(how == "impatient")
		return
	case "untake":
		c.answerTake(c.take == what.Take)
	case "start":
		answer["error"] = "this one starts nothing"
	case "advance":
		if c.idle += time.Duration(what.Ms) * time.Millisecond; c.idle >= 4*time.Minute && c.conn != nil {
			c.idle = 0
			_ = c.conn.Send([]byte(`{"type":"ping"}`))
		}
	}
	_ = c.out.Encode(answer)
}

// answerTake answers the take that waits with an event; without one, only if
// it must.
func (c *testClient) answerTake(must bool) {
	if c.take == 0 || len(c.events) == 0 && !must {
		return
	}
	answer := map[string]any{"n": c.take, "event": nil}
	if len(c.events) > 0 {
		answer["event"] = c.events[0]
		c.events = c.events[1:]
	}
	_ = c.out.Encode(answer)
	c.take = 0
}
