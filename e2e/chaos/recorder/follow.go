package recorder

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// seeThrough follows a call until it has ended, and reads it once more if it is
// to be reread.
func (c *recordingClient) seeThrough(a ask) {
	if !a.ended {
		c.untilEnd(&a)
	}
	if a.options.Reread && a.to != "" {
		a.ended = true
		c.untilEnd(&a)
	}
}

// untilEnd requests the call, follows it, and does so again until it has ended.
func (c *recordingClient) untilEnd(a *ask) {
	for !c.once(a) {
		<-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond)
	}
}

// once requests and follows the call once, and tells whether it has ended.
func (c *recordingClient) once(a *ask) bool {
	c.record(&serverproc.Entry{What: serverproc.Read, ID: a.id})
	var result json.RawMessage
	var err error
	if a.options.Collect && a.to == "" && !a.ended {
		result, err = c.collect(a)
	} else {
		result, err = c.follow(a)
	}
	e := serverproc.Entry{What: serverproc.End, ID: a.id, Data: result}
	if err != nil {
		e.Data, e.Code, e.Text = nil, "failed", err.Error()
	}
	var coded *client.Error
	if errors.As(err, &coded) {
		e.Code = coded.Code
		if !coded.Final {
			e.What = serverproc.Refused
		}
	}
	c.record(&e)
	return e.What == serverproc.End
}

func (a *ask) request() client.Request[serverproc.Chunk, json.RawMessage] {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	r := client.Action[serverproc.Params, serverproc.Chunk, json.RawMessage](a.action).With(a.params).ID(a.id)
	o := &a.options
	if o.Key != "" {
		r = r.IdempotencyKey(o.Key)
	}
	if o.DelayMs > 0 {
		r = r.Delay(ms(o.DelayMs))
	}
	if o.TimeoutMs > 0 {
		r = r.Timeout(ms(o.TimeoutMs))
	}
	if o.CancelAfterMs > 0 {
		r = r.CancelAfter(ms(o.CancelAfterMs))
	}
	return r
}

// collect has the client library collect the chunks.
func (c *recordingClient) collect(a *ask) (json.RawMessage, error) {
	result, chunks, err := a.request().Collect(context.Background(), c.client)
	list := make([]int, len(chunks))
	for i := range chunks {
		list[i] = chunks[i].I
	}
	c.record(&serverproc.Entry{What: serverproc.List, ID: a.id, Data: encode(list)})
	return result, err
}

// follow requests the call, or attaches to it, and records its events.
func (c *recordingClient) follow(a *ask) (json.RawMessage, error) {
	var call *client.Call[serverproc.Chunk, json.RawMessage]
	var err error
	if a.to != "" {
		call, err = client.Action[serverproc.Params, serverproc.Chunk, json.RawMessage](a.action).Attach(c.client, a.to)
	} else {
		call, err = a.request().Start(context.Background(), c.client)
	}
	if err != nil {
		return nil, err
	}
	defer call.Detach()
	if a.action != serverproc.Echo && a.to == "" {
		if err := call.Accepted(context.Background()); err != nil {
			return nil, err
		}
		if call.State().LastSeq > 0 { // else it was answered inline, and is not stored
			a.to = call.ID()
			c.record(&serverproc.Entry{What: serverproc.Ack, ID: a.id, To: a.to})
		}
	}
	if a.options.CancelMs > 0 && !a.ended {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			select {
			case <-time.After(time.Duration(a.options.CancelMs) * time.Millisecond):
				_ = call.Cancel(ctx) // its outcome is the call's
			case <-ctx.Done():
			}
		}()
		defer func() {
			stop()
			<-done
		}()
	}
	for e, err := range call.Events(context.Background()) {
		if e.Kind == client.KindEnd {
			break
		}
		if err != nil {
			return nil, err
		}
		c.recordEvent(a.id, &e)
	}
	return call.Result(context.Background())
}

func (c *recordingClient) recordEvent(id string, e *client.Event[serverproc.Chunk]) {
	switch e.Kind {
	case client.KindChunk:
		c.record(&serverproc.Entry{What: serverproc.ChunkRead, ID: id, Seq: e.Seq, Attempt: e.Chunk.Attempt, From: e.Chunk.I})
	case client.KindAttempt:
		c.record(&serverproc.Entry{What: serverproc.Attempt, ID: id, Seq: e.Seq, Attempt: e.Attempt.Number, Discarded: e.Attempt.Void, Code: e.Attempt.Code})
	case client.KindProgress:
		c.record(&serverproc.Entry{What: serverproc.Progress, ID: id, Attempt: e.Progress.Attempt, Percent: e.Progress.Percent})
	case client.KindEnd:
	}
}
