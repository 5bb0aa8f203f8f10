// Package application is the application that a transcript for clients speaks
// of, on the Go client: it starts, follows, cancels and leaves calls by name,
// and its readers take events one by one.
package application

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/client-go"
)

type raw = json.RawMessage

// Application is a client with its calls. It is safe for concurrent use, but
// for two readers of one call.
type Application struct {
	client *client.Client

	mu    sync.Mutex
	calls map[string]*call
	wg    sync.WaitGroup // the cancels that are under way
}

type call struct {
	*client.Call[raw, raw]
	// ended reports that the reader was handed the end.
	ended bool
}

// New returns an application whose client connects to a URL, and whose token
// function returns the tokens one after the other, the last one for ever.
// options may set what else a client has.
func New(url string, tokens []string, options client.Options) (*Application, error) {
	if len(tokens) > 0 {
		var mu sync.Mutex
		options.Token = func(context.Context) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			token := tokens[0]
			if len(tokens) > 1 {
				tokens = tokens[1:]
			}
			return token, nil
		}
	}
	c, err := client.New(url, &options)
	if err != nil {
		return nil, err
	}
	return &Application{client: c, calls: map[string]*call{}}, nil
}

// requestFields are the fields of a request message that an application sets.
type requestFields struct {
	Action         string `json:"action"`
	Payload        raw    `json:"payload"`
	Mode           string `json:"mode"`
	TimeoutMs      int64  `json:"timeoutMs"`
	IdempotencyKey string `json:"idempotencyKey"`
	DelayMs        int64  `json:"delayMs"`
	CancelAfterMs  *int64 `json:"cancelAfterMs"`
	Metadata       raw    `json:"metadata"`
}

// Start begins a call under a name. request is a JSON object with the fields
// of a request message but type and id.
func (a *Application) Start(ctx context.Context, name string, request raw) error {
	var f requestFields
	if err := json.Unmarshal(request, &f); err != nil {
		return err
	}
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	r := client.Action[raw, raw, raw](f.Action).With(f.Payload).Delay(ms(f.DelayMs))
	if f.IdempotencyKey != "" {
		r = r.IdempotencyKey(f.IdempotencyKey)
	}
	switch f.Mode {
	case "sync":
		r = r.Sync()
	case "async":
		r = r.Async()
	}
	if f.TimeoutMs > 0 {
		r = r.Timeout(ms(f.TimeoutMs))
	}
	if f.CancelAfterMs != nil {
		r = r.CancelAfter(ms(*f.CancelAfterMs))
	}
	if f.Metadata != nil {
		r = r.Metadata(f.Metadata)
	}
	started, err := r.Start(ctx, a.client)
	return a.addCall(name, started, err)
}

// Attach follows a call by its id.
func (a *Application) Attach(_ context.Context, name, id string) error {
	attached, err := client.Action[raw, raw, raw]("attached").Attach(a.client, id)
	return a.addCall(name, attached, err)
}

func (a *Application) addCall(name string, k *client.Call[raw, raw], err error) error {
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, taken := a.calls[name]; taken {
		return fmt.Errorf("there is a call %q already", name)
	}
	a.calls[name] = &call{Call: k}
	return nil
}

func (a *Application) callByName(name string) (*call, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.calls[name]
	if !ok {
		return nil, fmt.Errorf("there is no call %q", name)
	}
	return k, nil
}

// Next takes one event of a call: a JSON object as a transcript's reader is
// handed it. Behind the end there is none.
func (a *Application) Next(ctx context.Context, name string) (json.RawMessage, error) {
	k, err := a.callByName(name)
	if err != nil {
		return nil, err
	}
	if k.ended {
		<-ctx.Done() // a reader that continues after the end would get it again
		return nil, ctx.Err()
	}
	for event, err := range k.Events(ctx) {
		if event.Kind == 0 {
			return nil, err
		}
		return k.handed(ctx, event, err)
	}
	return nil, errors.New("the events have ended without an end")
}

// handed writes an event as transcripts know it.
func (k *call) handed(ctx context.Context, event client.Event[raw], err error) (raw, error) {
	out := map[string]any{"event": event.Kind.String()}
	switch event.Kind {
	case client.KindChunk:
		out["data"] = event.Chunk
	case client.KindProgress:
		out["percent"], out["message"] = event.Progress.Percent, event.Progress.Message
	case client.KindAttempt:
		out["attempt"], out["void"], out["code"] = event.Attempt.Number, event.Attempt.Discarded, event.Attempt.Code
	case client.KindEnd:
		k.ended = true
		failed := (*client.Error)(nil)
		if errors.As(err, &failed) {
			out["event"], out["code"], out["message"] = "error", failed.Code, failed.Message
			break
		}
		result, err := k.Result(context.WithoutCancel(ctx)) // the end is there
		if err != nil {
			return nil, err
		}
		out["event"], out["payload"] = "result", result
	default:
		return nil, fmt.Errorf("an event of kind %v: %w", event.Kind, err)
	}
	return json.Marshal(out)
}

// Cancel cancels a call, and does not wait for the server.
func (a *Application) Cancel(ctx context.Context, name string) error {
	k, err := a.callByName(name)
	if err != nil {
		return err
	}
	a.wg.Go(func() { _ = k.Cancel(context.WithoutCancel(ctx)) })
	return nil
}

// Detach stops following a call.
func (a *Application) Detach(_ context.Context, name string) error {
	k, err := a.callByName(name)
	if err != nil {
		return err
	}
	k.Detach()
	return nil
}

// Close closes the client, and waits until all is done, or ctx ends.
func (a *Application) Close(ctx context.Context) error {
	err := a.client.Close(ctx)
	a.wg.Wait()
	return err
}
