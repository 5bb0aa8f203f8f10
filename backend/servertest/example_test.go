package servertest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/servertest"
	"github.com/pay-theory/streamer/backend/streamer"
)

// Does my client survive? This one, of thirty lines, makes one call: it sends
// the request again, with the same id, until it has an answer. In a test of
// yours, servertest.New(t, …) takes the place of Start, and your client that of
// call.
func Example() {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "greet", func(_ context.Context, name string) (string, error) {
		return "hello " + name, nil
	}, streamer.Async())
	s, err := servertest.Start(r, &servertest.Options{Seed: 42, Delay: 10 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = s.Close() }()

	s.Next(servertest.Throttle)                       // the first handshake is refused,
	s.Next(servertest.Stillborn)                      // the second connection is cut at once,
	s.Next(servertest.Foreign, servertest.FromClient) // the gateway fails on the first request,
	s.Next(servertest.Cut, servertest.Type("ack"))    // and the first acknowledgement is lost with its connection
	answer, tries := call(s, "greet", `"Ada"`)
	fmt.Println(answer)
	fmt.Println(tries, "connections")

	for _, e := range s.Log() {
		if e.Fault != "" {
			fmt.Printf("connection %d: %s, from the %s\n", e.Conn, e.Fault, e.From)
		}
	}
	// Output:
	// "hello Ada"
	// 5 connections
	// connection 1: throttle, from the client
	// connection 2: stillborn, from the client
	// connection 3: foreign, from the client
	// connection 4: cut, from the server
}

// call makes a call, over as many connections as necessary.
func call(s *servertest.Server, action, payload string) (answer string, tries int) {
	request := fmt.Sprintf(`{"type":"request","id":"%s","action":"%s","payload":%s}`, uuid.Must(uuid.NewV7()), action, payload)
	for tries = 1; ; tries++ {
		d := websocket.Dialer{Subprotocols: []string{"streamer.v1"}, NetDialContext: s.DialContext}
		ws, _, err := d.Dial(s.URL, http.Header{"Authorization": {"Bearer " + s.Token("acme", "ann")}})
		if err != nil {
			continue // a real client waits here, longer each time
		}
		answer, err = ask(ws, request)
		_ = ws.Close()
		if err == nil {
			return answer, tries
		}
	}
}

// ask sends a request and returns the result, if it comes over this connection.
func ask(ws *websocket.Conn, request string) (string, error) {
	if err := ws.WriteMessage(websocket.TextMessage, []byte(request)); err != nil {
		return "", err
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil {
			return "", err
		}
		type message struct {
			Type, Code string
			Payload    json.RawMessage
			Events     []message
		}
		var batch []message
		if json.Unmarshal(frame, &batch) != nil {
			batch = make([]message, 1)
			if err := json.Unmarshal(frame, &batch[0]); err != nil {
				return "", err
			}
		}
		for len(batch) > 0 {
			m := batch[0]
			batch = append(batch[1:], m.Events...) // a snapshot's events are messages, too
			switch m.Type {
			case "result":
				return string(m.Payload), nil
			case "error":
				return m.Code, nil
			case "":
				return "", fmt.Errorf("the gateway failed: %s", frame)
			}
		}
	}
}
