package conformance_test

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
)

// roles are what both of the stores under test can do.
type roles = faultstore.Roles

// process is a server's process as its store and its clients see it. Once it is
// dead nothing of it reaches the store any more, and no answer of the store
// reaches it: to the store, that is what being killed looks like.
type process struct {
	dead atomic.Bool

	mu   sync.Mutex
	when conformance.When
	// die is called, in a goroutine of its own, when the armed moment comes.
	die func()
	// ended tells, once the process is armed, that an end became durable.
	ended bool
}

// connect returns the store as the process finds it.
func (p *process) connect(base roles) *faultstore.Store {
	return faultstore.New(base, faultstore.Hooks{
		Before: func(faultstore.Op, store.Key) error {
			if p.dead.Load() {
				return store.ErrClosed
			}
			return nil
		},
		After: func(op faultstore.Op, key store.Key, err error) error {
			if op == faultstore.Finish && err == nil {
				if s, _, err := base.Read(context.Background(), key, 0, 0); err == nil && s.Status.Ended() {
					p.endStored()
				}
			}
			if p.dead.Load() {
				return store.ErrClosed
			}
			return err
		},
	})
}

// arm sets the moment at which the process is killed.
func (p *process) arm(when conformance.When, die func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.when, p.die = when, die
}

// endStored notes that an end is durable.
func (p *process) endStored() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.when {
	case conformance.BeforeNotify:
		p.kill()
	case conformance.AfterNotify:
		p.ended = true
	}
}

// received notes that a client has received a frame: with the end, if it holds
// one.
func (p *process) received(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := bytes.Contains(frame, []byte(`"type":"result"`)) || bytes.Contains(frame, []byte(`"type":"error"`))
	if end && p.ended && p.when == conformance.AfterNotify {
		p.kill()
	}
}

// kill ends the process. p.mu is locked.
func (p *process) kill() {
	p.when = ""
	p.dead.Store(true)
	go p.die()
}
