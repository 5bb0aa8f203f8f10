package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/client-go"
)

type Trip struct {
	Stops []string `json:"stops" jsonschema:"minItems=1,maxItems=100"`
}

// travel is a handler: an ordinary function. Emit is durable and ordered; after a
// checkpoint, a retry continues where the last attempt stopped.
func travel(ctx context.Context, in Trip, call *streamer.Call[string]) (int, error) {
	var next int
	if _, err := call.Resume(&next); err != nil {
		return 0, err
	}
	for ; next < len(in.Stops); next++ {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		call.Progress(float64(100*next/len(in.Stops)), "on the way to "+in.Stops[next])
		call.Emit("arrived in " + in.Stops[next])
		call.Checkpoint(next + 1)
	}
	return len(in.Stops), nil
}

// Travel is the same action for clients.
const Travel client.Action[Trip, string, int] = "travel"

func main() {
	// The server: one SQLite file, nothing else to install.
	r := streamer.NewRouter(nil)
	streamer.HandleStream(r, "travel", travel, streamer.Async(), streamer.Retry(5, streamer.Backoff{}))
	s, err := server.New(r, &server.Options{Development: true, Data: "hello.db"})
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // s.Run would listen on Options.Address
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()

	// A client, which is usually in another process.
	c, err := client.New("ws://"+l.Addr().String(), &client.Options{Token: func(context.Context) (string, error) {
		return s.DevelopmentToken(auth.Grant{Tenant: "acme", Subject: "ann"})
	}})
	if err != nil {
		log.Fatal(err)
	}
	stops, arrivals, err := Travel.With(Trip{Stops: []string{"Lisbon", "Porto", "Vigo"}}).
		OnProgress(func(p client.Progress) { fmt.Printf("%3.0f %% %s\n", p.Percent, p.Message) }).
		Collect(ctx, c)
	fmt.Println(stops, arrivals, err)

	_ = c.Close(ctx)
	stop()
	if err := <-done; err != nil {
		log.Fatal(err)
	}
}
