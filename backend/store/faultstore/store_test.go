package faultstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/require"
)

// TestStore runs the suite on a store without faults.
func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) *storetest.Fixture {
		return openWrapped(func(s faultstore.Roles) faultstore.Roles { return faultstore.New(s, faultstore.Hooks{}) })
	})
}

// TestHooks makes each operation fail without effect, then lose its answer,
// after which it can be repeated.
func TestHooks(t *testing.T) {
	errFault := errors.New("fault")
	var failing, losing faultstore.Op
	seen := map[faultstore.Op]store.Key{}
	s := faultstore.New(memory.New(nil), faultstore.Hooks{
		Before: func(op faultstore.Op, key store.Key) error {
			seen[op] = key
			if op == failing {
				return errFault
			}
			return nil
		},
		After: faultstore.AfterSuccess(func(op faultstore.Op, _ store.Key) error {
			if op == losing {
				return errFault
			}
			return nil
		}),
	})
	ctx := t.Context()
	n := store.Request{Key: store.Key{Tenant: "t", ID: "id"}, Subject: "s", Action: "a", Deadline: time.Now().Add(time.Hour)}
	f := store.Fence{Key: n.Key, Fence: 1, Lease: time.Minute}
	end := store.Outcome{End: &store.End{Status: store.Succeeded}}
	chunk := store.Report{Segment: &store.Segment{First: 2, Last: 2, Events: []store.Event{{Kind: store.Chunk, Seq: 2}}}}
	var result any
	var err error
	for _, step := range []struct {
		op  faultstore.Op
		run func()
		// again is the error of the repetition after the answer was lost.
		again error
	}{
		{faultstore.Accept, func() { result, err = s.Accept(ctx, n) }, nil},
		{faultstore.Claim, func() { result, err = s.Claim(ctx, n.Key, store.Claimant{Lease: time.Minute}) }, store.ErrLeased},
		{faultstore.Record, func() { result, err = s.Record(ctx, f, chunk) }, nil},
		{faultstore.Watch, func() { result, err = s.Watch(ctx, n.Key, true) }, nil},
		{faultstore.CancelUnsubscribed, func() { result, err = s.CancelUnsubscribed(ctx, n.Key, 0) }, nil},
		{faultstore.Cancel, func() { result, err = s.Cancel(ctx, n.Key, "s") }, nil},
		{faultstore.Finish, func() { result, err = s.Finish(ctx, f, end) }, nil},
		{faultstore.Read, func() { result, _, err = s.Read(ctx, n.Key, 0, 1) }, nil},
		{faultstore.List, func() { _, result, err = s.List(ctx, store.Query{Tenant: "t"}, "") }, nil},
		{faultstore.Due, func() { _, err = s.Due(ctx, 0, time.Now(), 1) }, nil},
		{faultstore.DeadLetters, func() { _, result, err = s.DeadLetters(ctx, 1, "") }, nil},
		{faultstore.Input, func() { _, _, err = s.Input(ctx, n.Key) }, nil},
		{faultstore.Expire, func() { result, err = s.Expire(ctx, 1) }, nil},
		{faultstore.Check, func() { err = s.Check(ctx) }, nil},
	} {
		result = nil
		failing, losing = step.op, ""
		step.run()
		require.ErrorIs(t, err, errFault, step.op)
		failing, losing = "", step.op
		step.run()
		require.ErrorIs(t, err, errFault, step.op)
		require.Zero(t, result, step.op)
		losing = ""
		step.run()
		require.ErrorIs(t, err, step.again, step.op)
	}
	require.Equal(t, n.Key, seen[faultstore.Claim])
	require.Equal(t, store.Key{Tenant: "t"}, seen[faultstore.List])
}

// TestResultWithError checks that the result is returned with an error of the
// store, but not with an error of a hook.
func TestResultWithError(t *testing.T) {
	lost := false
	s := faultstore.New(memory.New(nil), faultstore.Hooks{After: func(_ faultstore.Op, _ store.Key, err error) error {
		if lost {
			return store.ErrClosed
		}
		return err
	}})
	n := store.Request{Key: store.Key{Tenant: "t", ID: "id"}, Subject: "s", Deadline: time.Now().Add(time.Hour)}
	_, err := s.Accept(t.Context(), n)
	require.NoError(t, err)
	_, err = s.Cancel(t.Context(), n.Key, "s")
	require.NoError(t, err)
	for _, lost = range []bool{false, true} {
		state, err := s.Cancel(t.Context(), n.Key, "s")
		require.Equal(t, map[bool]error{false: store.ErrEnded, true: store.ErrClosed}[lost], err)
		require.Equal(t, !lost, state.ID == n.ID)
	}
}
