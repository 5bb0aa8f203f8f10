// Package faultstore implements stores with faults, for tests.
//
// [New] wraps a store so that its operations fail, block or lose their results
// when a test wants it. [Defects] are stores that each break one rule of
// package store; the suite of package storetest, and the tests of the engine's
// invariants, must fail on them.
package faultstore

import (
	"context"
	"errors"
	"time"

	"github.com/pay-theory/streamer/backend/store"
)

// Roles are the interfaces that a store must implement to be wrapped.
type Roles interface {
	store.RequestQueue
	store.Retainer
	store.Operator
	store.Watcher
	store.Checker
}

// Op names an operation of a store.
type Op string

// The operations of a store, named after its methods.
const (
	Accept             Op = "accept"
	Claim              Op = "claim"
	Record             Op = "record"
	Finish             Op = "finish"
	Cancel             Op = "cancel"
	Read               Op = "read"
	List               Op = "list"
	Due                Op = "due"
	Expire             Op = "expire"
	DeadLetters        Op = "dead letters"
	Input              Op = "input"
	Watch              Op = "watch"
	CancelUnsubscribed Op = "cancel unsubscribed"
	Check              Op = "check"
)

// Hooks are called before and after each operation, on the goroutine of the
// caller; they may block. The key is that of the request. It has only a tenant
// for an operation on one tenant, and is zero for an operation on all of them.
// Nil hooks are skipped. Hooks must be safe for concurrent use.
type Hooks struct {
	// Before is called first. If it returns an error, the operation fails with
	// it and has no effect.
	Before func(op Op, key store.Key) error
	// After is called with the error of a finished operation, and returns the
	// error that the caller gets. If that is a different one, the caller gets
	// no result: the operation had its effect, but its answer was lost.
	After func(op Op, key store.Key, err error) error
}

// AfterSuccess returns a hook After that calls hook only for operations that
// succeeded; the error of hook replaces the answer.
func AfterSuccess(hook func(op Op, key store.Key) error) func(Op, store.Key, error) error {
	return func(op Op, key store.Key, err error) error {
		if err != nil {
			return err
		}
		return hook(op, key)
	}
}

// Store is a store with hooks around its operations. It is safe for concurrent
// use if the wrapped store is.
type Store struct {
	base  Roles
	hooks Hooks
}

var (
	_ Roles                 = (*Store)(nil)
	_ store.ExistenceFilter = (*Store)(nil)
)

// New wraps a store.
func New(base Roles, hooks Hooks) *Store { return &Store{base, hooks} }

// withHooks runs an operation and the hooks.
func withHooks[T any](s *Store, op Op, key store.Key, run func() (T, error)) (T, error) {
	var none T
	if s.hooks.Before != nil {
		if err := s.hooks.Before(op, key); err != nil {
			return none, err
		}
	}
	result, err := run()
	if s.hooks.After == nil {
		return result, err
	}
	answer := s.hooks.After(op, key, err)
	if answer != nil && !errors.Is(answer, err) {
		return none, answer
	}
	return result, answer // some errors come with a result
}

// withHooks2 is withHooks for an operation with two results.
func withHooks2[A, B any](s *Store, op Op, key store.Key, run func() (A, B, error)) (A, B, error) {
	type results struct {
		first  A
		second B
	}
	r, err := withHooks(s, op, key, func() (r results, err error) {
		r.first, r.second, err = run()
		return r, err
	})
	return r.first, r.second, err
}

// Accept implements store.RequestQueue.
func (s *Store) Accept(ctx context.Context, n store.Request) (store.Acceptance, error) {
	return withHooks(s, Accept, n.Key, func() (store.Acceptance, error) { return s.base.Accept(ctx, n) })
}

// Claim implements store.RequestQueue.
func (s *Store) Claim(ctx context.Context, key store.Key, by store.Claimant) (store.ClaimedRequest, error) {
	return withHooks(s, Claim, key, func() (store.ClaimedRequest, error) { return s.base.Claim(ctx, key, by) })
}

// Record implements store.RequestQueue.
func (s *Store) Record(ctx context.Context, f store.Fence, r store.Report) (store.State, error) {
	return withHooks(s, Record, f.Key, func() (store.State, error) { return s.base.Record(ctx, f, r) })
}

// Finish implements store.RequestQueue.
func (s *Store) Finish(ctx context.Context, f store.Fence, o store.Outcome) (store.State, error) {
	return withHooks(s, Finish, f.Key, func() (store.State, error) { return s.base.Finish(ctx, f, o) })
}

// Cancel implements store.RequestQueue.
func (s *Store) Cancel(ctx context.Context, key store.Key, subject string) (store.State, error) {
	return withHooks(s, Cancel, key, func() (store.State, error) { return s.base.Cancel(ctx, key, subject) })
}

// Read implements store.RequestQueue.
func (s *Store) Read(ctx context.Context, key store.Key, after uint64, limit int) (store.State, []store.Event, error) {
	return withHooks2(s, Read, key, func() (store.State, []store.Event, error) { return s.base.Read(ctx, key, after, limit) })
}

// List implements store.RequestQueue.
func (s *Store) List(ctx context.Context, q store.Query, cursor string) ([]store.Summary, string, error) {
	key := store.Key{Tenant: q.Tenant}
	return withHooks2(s, List, key, func() ([]store.Summary, string, error) { return s.base.List(ctx, q, cursor) })
}

// Due implements store.RequestQueue.
func (s *Store) Due(ctx context.Context, shard int, until time.Time, limit int) ([]store.Hint, error) {
	return withHooks(s, Due, store.Key{}, func() ([]store.Hint, error) { return s.base.Due(ctx, shard, until, limit) })
}

// Expire implements store.Retainer.
func (s *Store) Expire(ctx context.Context, limit int) (int, error) {
	return withHooks(s, Expire, store.Key{}, func() (int, error) { return s.base.Expire(ctx, limit) })
}

// DeadLetters implements store.Operator.
func (s *Store) DeadLetters(ctx context.Context, limit int, cursor string) ([]store.Summary, string, error) {
	return withHooks2(s, DeadLetters, store.Key{}, func() ([]store.Summary, string, error) {
		return s.base.DeadLetters(ctx, limit, cursor)
	})
}

// Input implements store.Operator.
func (s *Store) Input(ctx context.Context, key store.Key) (input, metadata []byte, err error) {
	return withHooks2(s, Input, key, func() (input, metadata []byte, err error) { return s.base.Input(ctx, key) })
}

// Watch implements store.Watcher.
func (s *Store) Watch(ctx context.Context, key store.Key, subscribed bool) (store.State, error) {
	return withHooks(s, Watch, key, func() (store.State, error) { return s.base.Watch(ctx, key, subscribed) })
}

// CancelUnsubscribed implements store.Watcher.
func (s *Store) CancelUnsubscribed(ctx context.Context, key store.Key, watch uint64) (store.State, error) {
	return withHooks(s, CancelUnsubscribed, key, func() (store.State, error) { return s.base.CancelUnsubscribed(ctx, key, watch) })
}

// MayExist implements store.ExistenceFilter, without hooks. For a store without
// that role it returns true, which is always correct.
func (s *Store) MayExist(key store.Key) bool {
	base, ok := s.base.(store.ExistenceFilter)
	return !ok || base.MayExist(key)
}

// Check implements store.Checker.
func (s *Store) Check(ctx context.Context) error {
	_, err := withHooks(s, Check, store.Key{}, func() (struct{}, error) { return struct{}{}, s.base.Check(ctx) })
	return err
}
