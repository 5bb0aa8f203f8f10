package deliver

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// Budget is what the messages that wait may hold of a memory that is shared.
// Its methods are safe for concurrent use and do not block.
type Budget interface {
	// Reserve reports whether so many bytes may be held in all.
	Reserve(bytes int64) bool
	// ReleaseTo says that no more than so many bytes are held any more.
	ReleaseTo(bytes int64)
}

// OutboxOptions are an outbox's.
type OutboxOptions struct {
	// Sender writes the frames. Required.
	Sender Sender
	// Limit is how many bytes may wait before streams lag, and before the
	// connection should not be read.
	Limit int
	// HardLimit is how many bytes may wait before direct answers are refused,
	// too. 0: no limit.
	HardLimit int
	// Budget is asked before anything is added. Nil: no limit.
	Budget Budget
	// Start has Drain called on another goroutine. It does not block. Nil: go
	// o.Drain(context.Background()).
	Start func(o *Outbox)
}

// Outbox holds what waits to be sent to one connection, in order. It is safe
// for concurrent use, holds no goroutine, and costs little while it is empty.
type Outbox struct {
	address Address
	opt     OutboxOptions

	mu    sync.Mutex
	queue []message
	// removed counts the messages that have left the queue, so that the
	// positions in keys stay valid.
	removed int
	keys    map[CoalesceKey]int // position of the unsent message
	bytes   int                 // of queue, with overhead
	// over says that bytes exceeds Limit. It is written with the lock held, and
	// spares Drained the lock.
	over atomic.Bool
	// inFlightBytes is the size of the frame that is being sent.
	inFlightBytes int
	// draining says that a goroutine sends, or was asked to.
	draining bool
	closed   bool
	// closeCode is sent when the queue is empty; 0: the connection stays open.
	closeCode int
	// drained is closed when bytes falls to Limit; nil: no goroutine waits.
	drained chan struct{}
}

type message struct {
	data []byte
	key  CoalesceKey // zero: it is not replaced
}

// CoalesceKey names a message that a newer one replaces while it is unsent.
type CoalesceKey struct {
	Stream string
	Type   string
}

// overhead is what a message takes beside its text. Without it, a client that
// has many short messages made would hold ten times what is allowed.
const overhead = 128

func (m *message) size() int { return len(m.data) + overhead }

// Pauses after ErrBusy.
const (
	minBusyPause = 50 * time.Millisecond
	maxBusyPause = 2 * time.Second
)

// Reply adds a direct answer. Errors: ErrFull when HardLimit is exceeded
// already or the budget refuses; ErrGone. If start is set the caller must call
// Drain, or Start.
func (o *Outbox) Reply(data []byte) (start bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opt.HardLimit > 0 && o.bytes > o.opt.HardLimit {
		return false, o.refusal()
	}
	return o.add(data)
}

// Append adds events, all or none, and has them sent. Errors: ErrFull, ErrGone.
func (o *Outbox) Append(events ...[]byte) error {
	size := overhead * len(events)
	for _, data := range events {
		size += len(data)
	}
	o.mu.Lock()
	if o.bytes > 0 && o.bytes+size > o.opt.Limit {
		err := o.refusal()
		o.mu.Unlock()
		return err
	}
	start, err := o.add(events...)
	o.mu.Unlock()
	if start {
		o.Start()
	}
	return err
}

// refusal is ErrFull, or ErrGone. The lock is held.
func (o *Outbox) refusal() error {
	if o.closed {
		return ErrGone
	}
	return ErrFull
}

// add appends messages if the budget allows it. The lock is held.
func (o *Outbox) add(data ...[]byte) (start bool, err error) {
	size := overhead * len(data)
	for _, d := range data {
		size += len(d)
	}
	if o.closed || !o.reserve(size) {
		return false, o.refusal()
	}
	for _, d := range data {
		o.queue = append(o.queue, message{data: d})
	}
	o.bytes += size
	o.over.Store(o.bytes > o.opt.Limit)
	return o.begin(), nil
}

func (o *Outbox) reserve(size int) bool {
	return o.opt.Budget == nil || o.opt.Budget.Reserve(int64(o.bytes+o.inFlightBytes+size))
}

func (o *Outbox) releaseTo(size int) {
	if o.opt.Budget != nil {
		o.opt.Budget.ReleaseTo(int64(size))
	}
}

// begin reports whether a goroutine must be started that sends. The lock is
// held.
func (o *Outbox) begin() bool {
	start := !o.draining
	o.draining = true
	return start
}

// Put adds a message, or replaces the unsent one with the same key, and has it
// sent. It may exceed Limit: there is one message a key. A lag replaces by
// moving to the end, because it ends what was added before it. Errors: ErrGone.
func (o *Outbox) Put(key CoalesceKey, data []byte) error {
	o.mu.Lock()
	start, err := o.put(key, data)
	o.mu.Unlock()
	if start {
		o.Start()
	}
	return err
}

func (o *Outbox) put(key CoalesceKey, data []byte) (start bool, err error) {
	if o.closed {
		return false, ErrGone
	}
	place, ok := o.keys[key]
	if ok && key.Type == wire.TypeLag {
		o.bytes -= o.queue[place-o.removed].size()
		o.queue = slices.Delete(o.queue, place-o.removed, place-o.removed+1)
		for k, p := range o.keys {
			if p > place {
				o.keys[k] = p - 1
			}
		}
		ok = false
	}
	if ok {
		old := &o.queue[place-o.removed]
		o.bytes += len(data) - len(old.data)
		o.over.Store(o.bytes > o.opt.Limit)
		old.data = data
		return false, nil
	}
	if o.keys == nil {
		o.keys = map[CoalesceKey]int{}
	}
	o.keys[key] = o.removed + len(o.queue)
	o.queue = append(o.queue, message{data, key})
	o.bytes += len(data) + overhead
	o.over.Store(o.bytes > o.opt.Limit)
	_ = o.reserve(0) // counted, but never refused: there is one message a key
	return o.begin(), nil
}

// Start has Drain called on another goroutine.
func (o *Outbox) Start() {
	if o.opt.Start != nil {
		o.opt.Start(o)
		return
	}
	go func() { _ = o.Drain(context.Background()) }()
}

var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

// Drain sends what waits, on this goroutine, until nothing does, and closes the
// connection if CloseAfter was called. It must be called once for each start.
// Errors: ErrGone, or the context's.
func (o *Outbox) Drain(ctx context.Context) error {
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	for {
		frame, code, ok := o.take(*buf)
		if !ok {
			if code != 0 {
				o.opt.Sender.Close(ctx, o.address, code)
			}
			return nil
		}
		if cap(frame) <= wire.MaxServerMessage {
			*buf = frame
		}
		if err := o.send(ctx, frame); err != nil {
			o.Close()
			return err
		}
	}
}

// send sends one frame, again after ErrBusy.
func (o *Outbox) send(ctx context.Context, frame []byte) error {
	for pause := minBusyPause; ; pause = min(2*pause, maxBusyPause) {
		err := o.opt.Sender.Send(ctx, o.address, frame)
		if !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take removes the next frame from the queue into buf: one message, or a batch
// of those that wait, at most as large as a server's message may be. If ok is
// false nothing waits, and the caller stops sending; it closes the connection
// if closeCode is not 0.
func (o *Outbox) take(buf []byte) (frame []byte, closeCode int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.draining, o.queue, o.keys, o.inFlightBytes = false, nil, nil, 0
		if closeCode, o.closeCode = o.closeCode, 0; closeCode != 0 {
			o.drop()
		}
		o.releaseTo(0)
		return nil, closeCode, false
	}
	n, size := 1, len(o.queue[0].data)+2
	for n < len(o.queue) && size+len(o.queue[n].data)+1 <= wire.MaxServerMessage {
		size += len(o.queue[n].data) + 1
		n++
	}
	buf = buf[:0]
	for i, m := range o.queue[:n] {
		switch {
		case n == 1:
		case i == 0:
			buf = append(buf, '[')
		default:
			buf = append(buf, ',')
		}
		buf = append(buf, m.data...)
		o.bytes -= m.size()
		if m.key != (CoalesceKey{}) {
			delete(o.keys, m.key)
		}
		o.queue[i] = message{}
	}
	if n > 1 {
		buf = append(buf, ']')
	}
	o.queue = o.queue[n:]
	o.removed += n
	o.inFlightBytes = len(buf)
	o.releaseTo(o.bytes + o.inFlightBytes)
	o.over.Store(o.bytes > o.opt.Limit)
	if o.drained != nil && o.bytes <= o.opt.Limit {
		close(o.drained)
		o.drained = nil
	}
	return buf, 0, true
}

// Drained returns a channel that is closed when no more than Limit waits; nil:
// that is so now.
func (o *Outbox) Drained() <-chan struct{} {
	if !o.over.Load() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.bytes <= o.opt.Limit || o.closed {
		return nil
	}
	if o.drained == nil {
		o.drained = make(chan struct{})
	}
	return o.drained
}

// CloseAfter closes the connection with a code when what waits was sent. The
// first code counts.
func (o *Outbox) CloseAfter(code int) {
	o.mu.Lock()
	start := false
	if !o.closed && o.closeCode == 0 {
		o.closeCode = code
		start = o.begin()
	}
	o.mu.Unlock()
	if start {
		o.Start()
	}
}

// CloseWith drops what waits, sends one more message, and closes the connection
// with a code. Nothing can be added afterwards.
func (o *Outbox) CloseWith(data []byte, code int) {
	o.mu.Lock()
	start := false
	if !o.closed {
		o.drop()
		o.queue, o.bytes, o.closeCode = []message{{data: data}}, len(data)+overhead, code
		start = o.begin()
	}
	o.mu.Unlock()
	if start {
		o.Start()
	}
}

// Close refuses what is added from now on, and drops what was not sent.
func (o *Outbox) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop()
}

// Closed reports whether nothing can be added any more.
func (o *Outbox) Closed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed
}

func (o *Outbox) drop() {
	o.closed, o.queue, o.keys, o.bytes = true, nil, nil, 0
	o.over.Store(false)
	o.releaseTo(0)
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
}
