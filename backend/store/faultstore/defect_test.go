package faultstore_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/pay-theory/streamer/backend/store/memory"
	"github.com/pay-theory/streamer/backend/store/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openWrapped opens a wrapped store in memory.
func openWrapped(wrap func(faultstore.Roles) faultstore.Roles) *storetest.Fixture {
	clock := storetest.NewClock()
	queue := wrap(memory.New(&memory.Options{Now: clock.Now}))
	return &storetest.Fixture{
		Queue: queue, Now: clock.Now, Advance: clock.Advance,
		VoidLeases: func() store.RequestQueue {
			clock.Advance(storetest.Lease)
			return queue
		},
	}
}

// recorder is a storetest.T that records whether the case failed.
type recorder struct {
	*testing.T
	failed atomic.Bool
}

func (r *recorder) Errorf(string, ...any) { r.failed.Store(true) }
func (r *recorder) FailNow()              { runtime.Goexit() }

// fails reports whether a case fails or panics.
func fails(t *testing.T, c storetest.Case, f *storetest.Fixture) bool {
	r := &recorder{T: t}
	var run sync.WaitGroup
	run.Go(func() {
		defer func() {
			if recover() != nil {
				r.failed.Store(true)
			}
		}()
		c.Run(r, f)
	})
	run.Wait()
	return r.failed.Load()
}

// TestDefects checks that the named case fails on each defect.
func TestDefects(t *testing.T) {
	cases := map[string]storetest.Case{}
	for _, c := range storetest.Cases() {
		cases[c.Name] = c
	}
	for _, d := range faultstore.Defects() {
		t.Run(d.Name, func(t *testing.T) {
			require.Contains(t, cases, d.Case)
			require.True(t, fails(t, cases[d.Case], openWrapped(d.Wrap)), "%s notices nothing", d.Case)
		})
	}
}
