package engine

import (
	"context"
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// ErrNotDead says that the call is no dead letter.
var ErrNotDead = errors.New("the call is not a dead letter")

// Retry runs a dead letter again, as a new request of its owner's with the
// given id, and returns that request's state. The dead letter stays as it is.
//
// Errors: ErrNotDead, store.ErrNotFound, and what Accept may return.
func (e *Engine) Retry(ctx context.Context, dead store.Key, id string) (store.State, error) {
	operator, ok := e.Store.(store.Operator)
	if !ok {
		return store.State{}, errors.New("this store has no role for operators")
	}
	s, _, err := e.Store.Read(ctx, dead, 0, 0)
	if err != nil {
		return store.State{}, err
	}
	if !s.DeadLetter {
		return store.State{}, ErrNotDead
	}
	input, metadata, err := operator.Input(ctx, dead)
	if err != nil {
		return store.State{}, err
	}
	got, err := e.Store.Accept(ctx, store.Request{
		Key: store.Key{Tenant: dead.Tenant, ID: id}, Subject: s.Subject, Action: s.Action, Input: input, Metadata: metadata,
		Hash: s.Hash, Deadline: time.Now().Add(s.Deadline.Sub(s.Accepted)), RetryOf: dead.ID,
	})
	if err == nil && !got.State.Status.Ended() {
		e.Dispatcher.Enqueue(got.State.Hint())
	}
	return got.State, err
}
