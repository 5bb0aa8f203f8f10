package streamer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

type GetUser struct {
	ID int64 `json:"id" jsonschema:"minimum=1"`
}

type User struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func getUser(_ context.Context, in GetUser) (User, error) {
	if in.ID != 7 {
		return User{}, streamer.Permanent(streamer.Errorf("no_such_user", "there is no user %d", in.ID))
	}
	return User{ID: 7, Name: "Ada"}, nil
}

func ExampleHandle() {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "user.get", getUser, streamer.RequireScope("users:read"))

	if _, err := r.Build(); err != nil { // a server does this when it starts
		log.Fatal(err)
	}
	for _, action := range r.Actions() {
		fmt.Println(action.Name, string(action.Output))
	}
	// Output:
	// user.get {"$schema":"https://json-schema.org/draft/2020-12/schema","title":"User","type":"object","properties":{"id":{"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807},"name":{"type":"string"}},"required":["id","name"],"additionalProperties":false}
}

type Import struct {
	URL  string `json:"url" jsonschema:"maxLength=2000,pattern=^https://"`
	Rows int    `json:"rows" jsonschema:"minimum=1,maximum=1000000"`
}

type Imported struct {
	Row int `json:"row"`
}

type Summary struct {
	Rows int `json:"rows"`
}

func ExampleHandleStream() {
	importRows := func(ctx context.Context, in Import, call *streamer.Call[Imported]) (Summary, error) {
		next := 0
		if _, err := call.Resume(&next); err != nil { // the checkpoint of an earlier attempt
			return Summary{}, err
		}
		for ; next < in.Rows; next++ {
			if err := context.Cause(ctx); err != nil {
				return Summary{}, err
			}
			call.Emit(Imported{Row: next})
			call.Progress(float64(next)*100/float64(in.Rows), "importing")
			if next%1000 == 999 {
				call.Checkpoint(next + 1)
			}
		}
		return Summary{Rows: in.Rows}, nil
	}
	r := streamer.NewRouter(nil)
	streamer.HandleStream(r, "rows.import", importRows,
		streamer.ExpectFunc(func(in Import) time.Duration { return time.Duration(in.Rows) * time.Millisecond }),
		streamer.Retry(5, streamer.Backoff{Base: time.Second, Max: time.Minute}),
		streamer.Timeout(10*time.Minute))

	_, err := r.Build()
	fmt.Println(err)
	// Output:
	// <nil>
}

func ExampleRouter_Build() {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "get user", getUser, streamer.Timeout(time.Hour))

	_, err := r.Build()
	fmt.Println(err)
	// Output:
	// action "get user": a name is 1 to 128 bytes of letters, digits and ._:/-
	// action "get user": Timeout: 1h0m0s is above 14m0s; use checkpoints, or allow LongAttempts in RouterOptions
}

func ExampleRouter_Use() {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, "user.get", getUser)
	r.Use(func(next streamer.HandlerFunc) streamer.HandlerFunc { // around all handlers, also the earlier ones
		return func(ctx context.Context, in any) (any, error) {
			call, start := streamer.Info(ctx), time.Now()
			out, err := next(ctx, in)
			log.Printf("%s %s of %s took %v: %v", call.Action, call.ID, call.Tenant, time.Since(start), err)
			return out, err
		}
	})
}

func ExampleErrorf() {
	err := streamer.Errorf("out_of_stock", "only %d left", 3)
	err.Details = json.RawMessage(`{"left":3}`)
	fmt.Println(err.Code, err.Message)
	// Output:
	// out_of_stock only 3 left
}

func ExampleContinue() {
	poll := func(_ context.Context, export string, call *streamer.Call[struct{}]) (string, error) {
		polls := 0
		if _, err := call.Resume(&polls); err != nil {
			return "", err
		}
		if polls < 3 { // not ready: look again in a minute, in another attempt, without spending a retry
			call.Checkpoint(polls + 1)
			return "", streamer.Continue(time.Minute)
		}
		return export + " is ready", nil
	}
	streamer.HandleStream(streamer.NewRouter(nil), "export.wait", poll)
}
