// Command probe serves one connection that makes durable calls one after the
// other, and prints the locks that they acquired. It counts only when lockcount
// builds it.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/e2e/lockcount/counter"
)

const warmUp = 100 // calls before those that are counted

func main() {
	data := flag.String("data", "", "the SQLite file")
	calls := flag.Int("calls", 1000, "how many calls are counted")
	flag.Parse()
	if err := run(*data, *calls); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(data string, calls int) (err error) {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "nothing", func(context.Context, struct{}) (int, error) { return 1, nil }, streamer.Async())
	s, err := server.New(r, &server.Options{Data: data, Auth: auth.Static{"token": {Tenant: "tenant", Subject: "subject"}}})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()

	dialer := websocket.Dialer{Subprotocols: []string{"streamer.v1"}}
	ws, response, err := dialer.Dial("ws://"+l.Addr().String(), http.Header{"Authorization": {"Bearer token"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close(), ws.Close()) }()
	for i := range warmUp + calls {
		if i == warmUp {
			counter.Reset()
		}
		if err := callAndWait(ws, i); err != nil {
			return err
		}
	}
	counter.Print(os.Stdout, calls)
	return nil
}

// callAndWait makes a durable call and reads until its result.
func callAndWait(ws *websocket.Conn, n int) error {
	ms := time.Now().UnixMilli() // ids are UUIDv7
	id := fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n)
	request := `{"type":"request","id":"` + id + `","action":"nothing","mode":"async","payload":{}}`
	if err := ws.WriteMessage(websocket.TextMessage, []byte(request)); err != nil {
		return err
	}
	for {
		_, frame, err := ws.ReadMessage()
		if err != nil || bytes.Contains(frame, []byte(`"type":"result"`)) {
			return err
		}
		if !bytes.Contains(frame, []byte(`"type":"ack"`)) {
			return fmt.Errorf("expected an ack or a result, got %s", frame)
		}
	}
}
