package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pay-theory/streamer/bench/internal/load"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// wire is a server's message, as far as a walker looks into it.
type wire struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	Seq     uint64          `json:"seq"`
	Epoch   int64           `json:"epoch"`
	From    uint64          `json:"from"`
	Keep    uint64          `json:"keep"`
	Data    int             `json:"data"`
	Events  []wire          `json:"events"`
	More    bool            `json:"more"`
	Code    string          `json:"code"`
	Payload json.RawMessage `json:"payload"`
}

// walker follows a call that walks, as the protocol says, and notes what it
// should not see. Live events that come before the snapshot that they follow
// are held until then; besides that, this server lets none overtake others.
type walker struct {
	id       string
	epoch    int64
	position uint64
	// behind tells that a snapshot is waited for, held is what came meanwhile.
	behind bool
	held   []wire
	// seen are the chunks that are not void: steps come one by one, whatever
	// dies.
	seen          []walked
	gaps, doubles int
	ended         bool
}

// walked is a chunk.
type walked struct {
	seq uint64
	at  int
}

// at is the last step.
func (w *walker) at() int {
	if len(w.seen) == 0 {
		return 0
	}
	return w.seen[len(w.seen)-1].at
}

// step takes a step.
func (w *walker) step(seq uint64, at int) {
	switch last := w.at(); {
	case w.ended || at <= last:
		w.doubles++
	case at > last+1:
		w.gaps++
	}
	w.seen = append(w.seen, walked{seq, at})
}

// void drops the last chunks.
func (w *walker) void(n int) { w.seen = w.seen[:max(0, len(w.seen)-n)] }

// take takes an event. What is a double by its number is dropped, as the
// protocol wants it.
func (w *walker) take(e *wire) error {
	from := e.Seq
	switch e.Type {
	case "ack":
		w.id, w.epoch = e.ID, e.Epoch
	case "attempt":
		from = e.From
	case "chunk", "result":
	case "error":
		return fmt.Errorf("a call has failed: %s", e.Code)
	default:
		return nil
	}
	if e.Seq <= w.position {
		return nil
	}
	if from > w.position+1 {
		w.gaps++
	}
	w.position = e.Seq
	switch e.Type {
	case "attempt":
		for len(w.seen) > 0 && w.seen[len(w.seen)-1].seq > e.Keep {
			w.void(1)
		}
	case "chunk":
		w.step(e.Seq, e.Data)
	case "result":
		w.end()
	}
	return nil
}

// end takes the end.
func (w *walker) end() {
	if w.ended {
		w.doubles++
	}
	w.ended = true
}

// walkers are clients that each follow a call.
type walkers struct {
	each []walker
	// walking is passed when every client has seen a chunk; back when each has
	// its snapshot of the new server.
	walking, back *barrier
	// risen is closed when the new server listens.
	risen chan struct{}
	// handshakes bounds how many dial at once.
	handshakes chan struct{}
}

func newWalkers(n int) *walkers {
	return &walkers{
		each: make([]walker, n), walking: newBarrier(n), back: newBarrier(n), risen: make(chan struct{}), handshakes: make(chan struct{}, 32),
	}
}

// verdict is what the walkers have seen.
func (w *walkers) verdict(c *comeback) {
	for i := range w.each {
		c.gaps, c.doubles = c.gaps+w.each[i].gaps, c.doubles+w.each[i].doubles
		if !w.each[i].ended {
			c.lost++
		}
	}
}

// endTimeout is for how long calls may take to end after their server is back.
const endTimeout = 2 * time.Minute

// kill waits until all walk, lets them walk on for a moment, has the server die,
// and waits until all of run have ended. What run does when its connection is
// lost is its own.
func (w *walkers) kill(ctx context.Context, m *mortal, step peer.Step, run func(ctx context.Context, place int) error) (*comeback, error) {
	lives := ctx // the new server outlives this function
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for place := range w.each {
		running.Go(func() {
			if err := run(ctx, place); err != nil {
				cancel(err)
			}
		})
	}
	finish := func(err error) (*comeback, error) {
		cancel(err)
		running.Wait()
		return nil, err
	}
	select {
	case <-w.walking.all:
	case <-ctx.Done():
		return finish(context.Cause(ctx))
	}
	timer := time.NewTimer(time.Duration(step.IntervalMs) * time.Millisecond / 2)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return finish(context.Cause(ctx))
	}
	c := new(comeback)
	var err error
	if c.listening, err = m.die(lives); err != nil {
		return finish(err)
	}
	begun := time.Now()
	close(w.risen)
	late := time.AfterFunc(endTimeout, func() { cancel(errLate) })
	defer late.Stop()
	running.Wait()
	c.ended = time.Since(begun)
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errLate) {
		return nil, err
	}
	if last := w.back.passed.Load(); last > 0 {
		c.back = time.Unix(0, last).Sub(begun)
	}
	w.verdict(c)
	return c, nil
}

// errLate ends the waiting for calls, which then count as lost.
var errLate = errors.New("calls did not end in time")

// rawComeback has connections without a client come back.
func (b *bench) rawComeback(ctx context.Context, n int) (_ *comeback, err error) {
	m, err := b.mortal(ctx, peer.Streamer, n)
	if err != nil {
		return nil, err
	}
	defer func() { stop(&err, m.peer) }()
	step := b.step(n)
	payload, err := json.Marshal(step)
	if err != nil {
		return nil, err
	}
	r := &rawWalkers{walkers: newWalkers(n), target: m.peer.Target, template: load.NewTemplate(peer.Walk, "", payload)}
	return r.kill(ctx, m, step, r.run)
}

type rawWalkers struct {
	*walkers
	target   load.Target
	template load.Template
}

// run follows a call on one connection, and when that is lost, on another.
func (r *rawWalkers) run(ctx context.Context, place int) error {
	w := &r.each[place]
	if err := r.connected(ctx, w, r.template.Request(), r.walking); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-r.risen:
	case <-ctx.Done():
		return nil
	}
	if w.id == "" {
		return errors.New("a connection was lost before its call was accepted")
	}
	subscribe := func() []byte {
		return fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q,"after":%d,"epoch":%d}`, w.id, w.position, w.epoch)
	}
	w.behind = true
	return r.connected(ctx, w, subscribe(), r.back)
}

// connected follows until the call has ended or the connection is lost, and
// arrives when something was taken first.
func (r *rawWalkers) connected(ctx context.Context, w *walker, first []byte, arrived *barrier) error {
	r.handshakes <- struct{}{}
	c, err := load.Dial(ctx, r.target)
	<-r.handshakes
	if err != nil {
		return err
	}
	defer c.Close()
	cut := context.AfterFunc(ctx, c.Close)
	defer cut()
	arrival := false
	return c.Ask(first, func(frame []byte) (bool, error) {
		messages, err := decode(frame)
		if err != nil {
			return false, err
		}
		for i := range messages {
			again, err := w.message(&messages[i])
			if err != nil {
				return false, err
			}
			if again {
				if err := c.Send(fmt.Appendf(nil, `{"type":"subscribe","ref":"1","id":%q,"after":%d,"epoch":%d}`, w.id, w.position, w.epoch)); err != nil {
					return false, err
				}
			}
			// On the first connection the first chunk is waited for, on the
			// second the snapshot.
			if !arrival && (messages[i].Type == "snapshot" || arrived == r.walking && w.at() > 0) {
				arrival = true
				arrived.arrive()
			}
		}
		return w.ended, nil
	})
}

// message takes a message, and tells whether the next page is to be asked for.
func (w *walker) message(m *wire) (more bool, err error) {
	events := []wire{*m}
	switch {
	case m.Type == "snapshot":
		events = append(m.Events, w.held...)
		w.behind, w.held = m.More, nil
		if m.More {
			events, w.held = m.Events, events[len(m.Events):]
		}
	case w.behind:
		w.held = append(w.held, *m)
		return false, nil
	}
	for i := range events {
		if err := w.take(&events[i]); err != nil {
			return false, err
		}
	}
	return w.behind, nil
}

// decode reads a frame: a message, or a batch of them.
func decode(frame []byte) ([]wire, error) {
	if len(frame) > 0 && frame[0] == '[' {
		var batch []wire
		return batch, json.Unmarshal(frame, &batch)
	}
	one := make([]wire, 1)
	return one, json.Unmarshal(frame, &one[0])
}
