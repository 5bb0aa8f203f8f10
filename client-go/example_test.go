package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/client-go"
)

// Params, Row and Report are the types of the action report.generate.
type Params struct {
	Quarter string `json:"quarter"`
}

type Row struct {
	Customer string `json:"customer"`
}

type Report struct {
	Rows int `json:"rows"`
}

// Generate is declared once; each call of it is typed.
const Generate client.Action[Params, Row, Report] = "report.generate"

func Example() {
	server := newDemoServer()
	defer server.Close()
	ctx := context.Background()

	c, err := client.Dial(ctx, server.URL, &client.Options{
		Token: func(context.Context) (string, error) { return "a fresh token", nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)

	report, err := Generate.With(Params{Quarter: "2026-q3"}).IdempotencyKey("2026-q3").
		OnProgress(func(p client.Progress) { fmt.Printf("%.0f %%: %s\n", p.Percent, p.Message) }).
		Await(ctx, c)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Rows, "rows")
	// Output:
	// 50 %: aggregating
	// 2 rows
}

func ExampleCall_Events() {
	c, done := newClient()
	defer done()
	ctx := context.Background()

	call, err := Generate.With(Params{Quarter: "2026-q3"}).Start(ctx, c)
	if err != nil {
		fmt.Println(err)
		return
	}
	var rows []Row
	for event, err := range call.Events(ctx) {
		if err != nil {
			fmt.Println(err) // how the call failed, or why reading ended
			return
		}
		switch event.Kind {
		case client.KindProgress:
			fmt.Println(event.Progress.Message)
		case client.KindChunk:
			rows = append(rows, event.Chunk)
		case client.KindAttempt: // the new attempt sends these chunks again
			rows = rows[:len(rows)-event.Attempt.Discarded]
		case client.KindEnd:
			fmt.Println(rows)
		}
	}
	// Output:
	// aggregating
	// [{Ada} {Grace}]
}

func ExampleRequest_Collect() {
	c, done := newClient()
	defer done()

	report, rows, err := Generate.With(Params{Quarter: "2026-q3"}).Collect(context.Background(), c)
	fmt.Println(report, rows, err)
	// Output: {2} [{Ada} {Grace}] <nil>
}

func ExampleDo() {
	c, done := newClient()
	defer done()

	raw, err := client.Do[json.RawMessage](context.Background(), c, "report.generate", map[string]string{"quarter": "2026-q3"})
	fmt.Println(string(raw), err)
	// Output: {"rows":2} <nil>
}

func ExampleError() {
	c, done := newClient()
	defer done()

	_, err := client.Do[client.None](context.Background(), c, "no.such.action", nil)
	var e *client.Error
	if errors.As(err, &e) {
		fmt.Println(e.Code, e.Retryable)
	}
	fmt.Println(errors.Is(err, &client.Error{Code: client.CodeUnknownAction}))
	// Output:
	// unknown_action false
	// true
}

// newClient returns a client of a server that knows report.generate.
func newClient() (c *client.Client, done func()) {
	server := newDemoServer()
	c, err := client.Dial(context.Background(), server.URL, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		_ = c.Close(context.Background())
		server.Close()
	}
}

// newDemoServer returns a server that answers report.generate from a script.
// It stands in for package server of the backend module.
func newDemoServer() *httptest.Server {
	upgrader := websocket.Upgrader{Subprotocols: []string{"streamer.v1"}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			var m struct{ Type, ID, Action string }
			if ws.ReadJSON(&m) != nil {
				return
			}
			if m.Type != "request" {
				continue
			}
			script := []string{`{"type":"error","id":%q,"code":"unknown_action","message":"there is none","final":true,"retryable":false}`}
			if m.Action == "report.generate" {
				script = []string{
					`{"type":"ack","id":%q,"seq":1,"epoch":1}`,
					`{"type":"progress","id":%q,"attempt":1,"rev":1,"percent":50,"message":"aggregating"}`,
					`{"type":"chunk","id":%q,"seq":2,"attempt":1,"data":{"customer":"Ada"}}`,
					`{"type":"attempt","id":%q,"seq":3,"attempt":2,"keep":1,"from":2,"code":"worker_lost"}`,
					`{"type":"chunk","id":%q,"seq":4,"attempt":2,"data":{"customer":"Ada"}}`,
					`{"type":"chunk","id":%q,"seq":5,"attempt":2,"data":{"customer":"Grace"}}`,
					`{"type":"result","id":%q,"seq":6,"payload":{"rows":2}}`,
				}
			}
			for _, text := range script {
				if ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, text, m.ID)) != nil {
					return
				}
			}
		}
	}))
}
