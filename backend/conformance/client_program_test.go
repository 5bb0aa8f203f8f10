package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

// testClient is a client under test with a clock that can be moved: it starts
// no calls, pings after 4 minutes, and hands on every message as a chunk.
type testClient struct {
	out    *json.Encoder
	ws     *websocket.Conn // nil: not connected yet
	idle   time.Duration   // for how long it has sent nothing
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
	lines, opened, frames := make(chan []byte), make(chan *websocket.Conn), make(chan []byte)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(os.Stdin); s.Scan(); {
			lines <- append([]byte(nil), s.Bytes()...)
		}
	}()
	for {
		select {
		case c.ws = <-opened:
		case data := <-frames:
			c.events = append(c.events, fmt.Appendf(nil, `{"event":"chunk","data":%s}`, data))
			c.answerTake(false)
		case line, ok := <-lines:
			var what command
			switch err := json.Unmarshal(line, &what); {
			case !ok:
				return nil
			case err != nil:
				return err
			case what.Command == "open":
				go connect(&what, opened, frames)
			}
			c.obey(&what, how)
			if what.Command == "close" && how == "bad exit" {
				return errors.New("told to end badly")
			}
		}
	}
}

// connect connects to the player, and passes on what it sends.
func connect(open *command, opened chan<- *websocket.Conn, frames chan<- []byte) {
	d := websocket.Dialer{Subprotocols: []string{"streamer.v1", "streamer.bearer." + open.Tokens[0]}}
	ws, _, err := d.Dial(open.URL, http.Header{})
	if err != nil {
		return
	}
	opened <- ws
	for {
		_, data, err := ws.ReadMessage()
		if err != nil {
			return
		}
		frames <- data
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
		if c.idle += time.Duration(what.Ms) * time.Millisecond; c.idle >= 4*time.Minute && c.ws != nil {
			c.idle = 0
			_ = c.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
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
