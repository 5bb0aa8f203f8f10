package caller

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
)

// call is a call of the client library.
type call = client.Call[job.Chunk, json.RawMessage]

// see sees a call through, and looks at it once more if it is to.
func (c *caller) see(a ask) {
	if !a.looks {
		c.untilEnd(&a)
	}
	if a.options.Look && a.to != "" {
		a.looks = true
		c.untilEnd(&a)
	}
}

// untilEnd asks, follows, and asks again until the call has ended.
func (c *caller) untilEnd(a *ask) {
	for !c.once(a) {
		<-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond)
	}
}

// once tries once, and tells whether the call has come to its end.
func (c *caller) once(a *ask) bool {
	c.write(&journal.Entry{What: journal.Read, ID: a.id})
	var result json.RawMessage
	var err error
	if a.options.Collect && a.to == "" && !a.looks {
		result, err = c.collect(a)
	} else {
		result, err = c.follow(a)
	}
	e := journal.Entry{What: journal.End, ID: a.id, Data: result}
	if err != nil {
		e.Data, e.Code, e.Text = nil, "failed", err.Error()
	}
	var coded *client.Error
	if errors.As(err, &coded) {
		e.Code = coded.Code
		if !coded.Final {
			e.What = journal.Refused
		}
	}
	c.write(&e)
	return e.What == journal.End
}

// request puts the call together.
func (a *ask) request() client.Request[job.Chunk, json.RawMessage] {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	r := client.Action[job.Params, job.Chunk, json.RawMessage](a.action).With(a.params).ID(a.id)
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
	if o.LeashMs > 0 {
		r = r.CancelAfter(ms(o.LeashMs))
	}
	return r
}

// collect has the client library hold the chunks.
func (c *caller) collect(a *ask) (json.RawMessage, error) {
	result, chunks, err := a.request().Collect(context.Background(), c.client)
	places := make([]int, len(chunks))
	for i := range chunks {
		places[i] = chunks[i].I
	}
	c.write(&journal.Entry{What: journal.List, ID: a.id, Data: encode(places)})
	return result, err
}

// follow asks for the call, or attaches to it, and reads its events.
func (c *caller) follow(a *ask) (json.RawMessage, error) {
	k, err := c.open(a)
	if err != nil {
		return nil, err
	}
	defer k.Detach()
	if a.action != job.Echo && a.to == "" {
		if err := k.Accepted(context.Background()); err != nil {
			return nil, err
		}
		if k.State().LastSeq > 0 { // else it was answered inline, and is nowhere
			a.to = k.ID()
			c.write(&journal.Entry{What: journal.Ack, ID: a.id, To: a.to})
		}
	}
	if a.options.CancelMs > 0 && !a.looks {
		ctx, stop := context.WithCancel(context.Background())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			c.cancelLater(ctx, k, a)
		}()
		defer func() {
			stop()
			<-gone
		}()
	}
	return c.read(a, k)
}

func (c *caller) open(a *ask) (*call, error) {
	if a.to != "" {
		return client.Action[job.Params, job.Chunk, json.RawMessage](a.action).Attach(c.client, a.to)
	}
	return a.request().Start(context.Background(), c.client)
}

func (c *caller) cancelLater(ctx context.Context, k *call, a *ask) {
	select {
	case <-time.After(time.Duration(a.options.CancelMs) * time.Millisecond):
		// Its outcome is the call's.
		_ = k.Cancel(ctx)
	case <-ctx.Done():
	}
}

// read takes the events and writes them down.
func (c *caller) read(a *ask, k *call) (json.RawMessage, error) {
	for e, err := range k.Events(context.Background()) {
		if e.Kind == client.KindEnd {
			break
		}
		if err != nil {
			return nil, err
		}
		switch e.Kind {
		case client.KindChunk:
			c.write(&journal.Entry{What: journal.Chunk, ID: a.id, Seq: e.Seq, Attempt: e.Chunk.Attempt, From: e.Chunk.I})
		case client.KindAttempt:
			c.write(&journal.Entry{What: journal.Mark, ID: a.id, Seq: e.Seq, Attempt: e.Attempt.Number, Void: e.Attempt.Void, Code: e.Attempt.Code})
		case client.KindProgress:
			c.write(&journal.Entry{What: journal.Progress, ID: a.id, Attempt: e.Progress.Attempt, Percent: e.Progress.Percent})
		case client.KindEnd:
		}
	}
	return k.Result(context.Background())
}
