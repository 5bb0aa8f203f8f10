// Package recorder has clients that call the server under test by the Go client
// and record what they ask for and receive. It also records what the server
// sends, and reads what it has stored.
package recorder

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Recorder is a client that makes calls, and sees each of them through. It is
// safe for concurrent use.
type Recorder struct {
	// Pause stops new calls while it is true.
	Pause atomic.Bool
	// Acked counts acknowledged calls, Unavailable the times that a call was
	// refused because the server could not store it.
	Acked, Unavailable atomic.Int64

	network *Network
	kind    serverproc.Kind
	callers int
	random  *rand.Rand

	finishing atomic.Bool
	client    *client.Client
	ctx       context.Context // of the client's calls
	stop      context.CancelFunc
	running   sync.WaitGroup

	mu    sync.Mutex
	calls []*Call
}

// New returns a recorder without a client. Kind decides which calls are made,
// callers is how many are under way at a time.
func New(n *Network, kind serverproc.Kind, seed uint64, callers int) *Recorder {
	return &Recorder{network: n, kind: kind, callers: callers, random: rand.New(rand.NewPCG(seed, 3))}
}

// Start starts a client, which continues the calls of the one before.
func (r *Recorder) Start() (err error) {
	r.client, err = client.New("ws://server", &client.Options{
		Token:         func(context.Context) (string, error) { return serverproc.Token, nil },
		DialContext:   r.network.Dial,
		Backoff:       client.Backoff{Base: 5 * time.Millisecond, Max: 100 * time.Millisecond},
		UnsentTimeout: -1, // servers come back
	})
	if err != nil {
		return err
	}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for _, c := range r.calls {
		r.running.Go(func() { r.seeThrough(c) })
	}
	for range r.callers {
		random := rand.New(rand.NewPCG(r.random.Uint64(), 4))
		r.running.Go(func() { r.makeCalls(random) })
	}
	return nil
}

// Kill ends the client without a closing handshake, and forgets all that it
// knows but the ids of its calls.
func (r *Recorder) Kill() {
	r.network.CutAll()
	r.stop()
	_ = r.client.Close(r.ctx) // it cannot reach the server any more
	r.running.Wait()
}

// Finish stops new calls, and returns a channel that is closed when all calls
// have ended.
func (r *Recorder) Finish() <-chan struct{} {
	r.finishing.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.running.Wait()
		_ = r.client.Close(r.ctx) // what counts is recorded
		r.stop()
	}()
	return done
}

// Calls returns all calls. No client may be running.
func (r *Recorder) Calls() []*Call { return r.calls }

// sleep waits, and reports whether the client is still there.
func (r *Recorder) sleep(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// makeCalls makes one call after the other, or two at once.
func (r *Recorder) makeCalls(random *rand.Rand) {
	for !r.finishing.Load() && r.ctx.Err() == nil {
		if r.Pause.Load() {
			r.sleep(5 * time.Millisecond)
			continue
		}
		calls := choose(r.kind, random)
		r.mu.Lock()
		r.calls = append(r.calls, calls...)
		r.mu.Unlock()
		var all sync.WaitGroup
		for _, c := range calls {
			all.Go(func() { r.seeThrough(c) })
		}
		all.Wait()
	}
}

// seeThrough requests and follows a call until it is done.
func (r *Recorder) seeThrough(c *Call) {
	for !c.done() {
		if !r.readOnce(c) && !r.sleep(time.Duration(20+rand.IntN(100))*time.Millisecond) {
			return
		}
	}
}

// readOnce requests and follows a call once, and reports whether it has ended.
func (r *Recorder) readOnce(c *Call) bool {
	read, again := &Read{}, c.ends() > 0
	c.Reads = append(c.Reads, read)
	var err error
	if c.collect && c.Ack == "" && !again {
		var chunks []serverproc.Chunk
		read.Result, chunks, err = c.request.Collect(r.ctx, r.client)
		for i := range chunks {
			read.Events = append(read.Events, ReadEvent{Type: "collected", Chunk: chunks[i].I})
		}
	} else {
		read.Result, err = r.follow(c, read, again)
	}
	var coded *client.Error
	switch read.At = serverproc.Now(); {
	case err == nil:
		read.Ended = true
	case r.ctx.Err() != nil: // the client was killed
	case !errors.As(err, &coded):
		read.Ended, read.Code = true, err.Error() // a code that no call may end with
	case coded.Final:
		read.Ended, read.Code = true, coded.Code
	case coded.Code == "unavailable":
		r.Unavailable.Add(1)
	}
	return read.Ended
}

// follow requests the call, or attaches to it, and records its events.
func (r *Recorder) follow(c *Call, read *Read, again bool) (json.RawMessage, error) {
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	var call *client.Call[serverproc.Chunk, json.RawMessage]
	var err error
	if c.Ack != "" {
		call, err = c.action().Attach(r.client, c.Ack)
	} else {
		call, err = c.request.Start(ctx, r.client)
	}
	if err != nil {
		return nil, err
	}
	defer call.Detach()
	if c.Action != serverproc.Echo && c.Ack == "" {
		if err := call.Accepted(ctx); err != nil {
			return nil, err
		}
		if call.State().LastSeq > 0 { // else it was answered inline, and is not stored
			c.Ack = call.ID()
			r.Acked.Add(1)
		}
	}
	if c.cancelAfter > 0 && !again {
		cancel := time.AfterFunc(c.cancelAfter, func() { _ = call.Cancel(ctx) }) // its outcome is the call's
		defer cancel.Stop()
	}
	for e, err := range call.Events(ctx) {
		if e.Kind == client.KindEnd {
			break // err, if any, is that of the result
		}
		if err != nil {
			return nil, err
		}
		read.Events = append(read.Events, ReadEvent{ // of an event, only what belongs to its kind is set
			Type: e.Kind.String(), Seq: e.Seq, Attempt: cmp.Or(e.Chunk.Attempt, e.Attempt.Number, e.Progress.Attempt),
			Chunk: e.Chunk.I, Discarded: e.Attempt.Discarded, Percent: e.Progress.Percent,
		})
	}
	return call.Result(ctx)
}
