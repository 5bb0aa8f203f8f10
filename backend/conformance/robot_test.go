package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// robot is a client under test that knows next to nothing, but has a clock that
// can be moved: it sends its requests, pings after 4 minutes, and hands on
// every message whole, as a chunk.
type robot struct {
	how  string
	out  *json.Encoder
	ws   *websocket.Conn
	idle time.Duration // for how long it has said nothing

	mu     sync.Mutex
	events []json.RawMessage
	taking int // the take that waits; 0: none
}

// beRobot obeys the player; how says what to do wrong.
func beRobot(how string) error {
	r := &robot{how: how, out: json.NewEncoder(os.Stdout)}
	if how == "late" {
		select {} // never says hello
	}
	abilities := []Ability{AbilityClock}
	if how == "no clock" {
		abilities = nil
	}
	r.say(hello{Version: ClientProtocol, Client: "robot", Abilities: abilities})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		switch err := r.obey(&c); {
		case err != nil:
			r.say(map[string]any{"n": c.N, "error": err.Error()})
		case c.Command != "take":
			r.say(map[string]any{"n": c.N})
		}
		if c.Command == "close" {
			if how == "bad exit" {
				return errors.New("told to end badly")
			}
			return nil
		}
	}
	return lines.Err()
}

func (r *robot) say(v any) { _ = r.out.Encode(v) }

func (r *robot) obey(c *command) (err error) {
	switch c.Command {
	case "open":
		d := websocket.Dialer{Subprotocols: []string{"streamer.v1", "streamer.bearer." + c.Tokens[0]}}
		go func() {
			ws, response, err := d.Dial(c.URL, http.Header{})
			if err != nil {
				return
			}
			_ = response.Body.Close()
			r.mu.Lock()
			r.ws = ws
			r.mu.Unlock()
			r.read()
		}()
		return nil
	case "start":
		return errors.New("this one starts nothing")
	case "attach":
		return nil
	case "advance":
		return r.advance(time.Duration(c.Ms) * time.Millisecond)
	case "take":
		r.take(c.N)
	case "untake":
		r.untake(c.Take)
	}
	return nil
}

// advance pings when it is time to.
func (r *robot) advance(d time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle += d; r.idle < 4*time.Minute || r.ws == nil {
		return nil
	}
	r.idle = 0
	return r.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
}

func (r *robot) read() {
	for {
		_, data, err := r.ws.ReadMessage()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.events = append(r.events, json.RawMessage(fmt.Sprintf(`{"event":"chunk","data":%s}`, data)))
		r.answer(false)
		r.mu.Unlock()
	}
}

func (r *robot) take(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taking = n
	r.answer(r.how == "impatient")
}

func (r *robot) untake(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taking == n {
		r.answer(true)
	}
}

// answer answers the take that waits with an event; without one, only if it
// must.
func (r *robot) answer(must bool) {
	switch {
	case r.taking == 0:
		return
	case len(r.events) > 0:
		r.say(map[string]any{"n": r.taking, "event": r.events[0]})
		r.events = r.events[1:]
	case must:
		r.say(map[string]any{"n": r.taking, "event": nil})
	default:
		return
	}
	r.taking = 0
}
