package peer

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/bench/internal/load"
)

// Stock is calls that a Streamer server finds in its database when it starts:
// echoes of the caller's own that have succeeded, one a millisecond.
type Stock struct {
	// From is when the first was accepted, to the millisecond.
	From time.Time
	// N is how many there are.
	N int
}

// ID returns the id of a call, 0 to N-1.
func (s *Stock) ID(i int) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(s.From.UnixMilli()+int64(i))<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], 0x8000000000000000|uint64(i))
	return string(load.AppendID(nil, id))
}

// fillers is how many calls are stored at once: the store shares one sync among
// those that wait.
const fillers = 512

// Fill adds calls to the database in dir, until there are n, as a server would
// have stored them. Nobody else may have the database open meanwhile.
func (s *Stock) Fill(ctx context.Context, dir string, n int) (err error) {
	next := atomic.Int64{}
	next.Store(int64(s.N))
	now := func() time.Time { return s.From.Add(time.Duration(next.Load()) * time.Millisecond) }
	q, err := embedded.Open(Database(dir), &embedded.Options{Now: now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	payload, err := json.Marshal(NewOrder())
	if err != nil {
		return err
	}
	hash := store.Hash(Echo, payload)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range fillers {
		workers.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				request := store.New{
					Key: store.Key{Tenant: tenant, ID: s.ID(i)}, Subject: subject, Action: Echo, Input: payload, Hash: hash,
					Deadline: now().Add(24 * time.Hour), Claim: &store.Claimant{Worker: "bench"},
				}
				if err := live(ctx, q, &request); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.N = max(s.N, n)
	return nil
}

// live takes a call through its life.
func live(ctx context.Context, q store.RequestQueue, request *store.New) error {
	if _, err := q.Accept(ctx, *request); err != nil {
		return err
	}
	end := &store.End{Status: store.Succeeded, Payload: request.Input}
	_, err := q.Finish(ctx, store.Fence{Key: request.Key, Fence: 1}, store.Outcome{End: end})
	return err
}
