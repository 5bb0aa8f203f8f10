package engine

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/store"
)

// This file is the disconnect canceller: it cancels calls with CancelAfter that
// no connection has followed for that time. The store keeps since when that is
// so, and so the time goes on across restarts; the dispatcher has HandleLate
// called when it is over.

// watchers bounds the writes for one call of SubscribersChanged at a time.
const watchers = 16

// SubscribersChanged has it stored that calls with CancelAfter got their first
// subscriber or lost their last one. It does not wait for the store.
func (e *Engine) SubscribersChanged(changes ...deliver.Change) {
	changes = slices.DeleteFunc(changes, func(c deliver.Change) bool { return c == deliver.Change{} })
	if len(changes) == 0 || !e.calls.addBackground(&e.background) {
		return
	}
	go func() {
		defer e.background.Done()
		var writes sync.WaitGroup
		free := make(chan struct{}, watchers)
		for _, c := range changes {
			free <- struct{}{}
			writes.Go(func() {
				defer func() { <-free }()
				e.watch(c.Key, c.First)
			})
		}
		writes.Wait()
	}()
}

// watch stores whether a connection follows the call. Another goroutine may
// store the opposite at the same time, so what is stored is compared with what is
// true afterwards: the last one to compare is right.
func (e *Engine) watch(k store.Key, subscribed bool) {
	if e.watcher == nil {
		return
	}
	for {
		var s store.State
		err := e.persist(func(ctx context.Context) (err error) {
			s, err = e.watcher.Watch(ctx, k, subscribed)
			return err
		})
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrEnded), e.ctx.Err() != nil:
			return
		case err != nil:
			e.Logger.Warn("it could not be stored whether a call is followed", "id", k.ID, "error", err)
			return
		}
		if s.CancelRequested { // no time was left
			e.onStoredCancel(e.ctx, &s)
			return
		}
		if now := e.Notifier.HasSubscribers(e.ctx, k); now != subscribed {
			subscribed = now
			continue
		}
		e.Dispatcher.Enqueue(s.Hint())
		return
	}
}

// cancelUnsubscribed cancels a call, unless a connection has followed it since.
func (e *Engine) cancelUnsubscribed(ctx context.Context, s *store.State) {
	if e.Notifier.HasSubscribers(ctx, s.Key) {
		e.watch(s.Key, true)
		return
	}
	next, err := e.watcher.CancelUnsubscribed(ctx, s.Key, s.Watch)
	switch {
	case err != nil:
		if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrEnded) {
			e.Logger.Warn("a call without subscribers could not be cancelled; it will be tried again", "id", s.ID, "error", err)
		}
	case next.CancelRequested && !s.CancelRequested:
		e.onStoredCancel(ctx, &next)
	default:
		e.Dispatcher.Enqueue(next.Hint())
	}
}
