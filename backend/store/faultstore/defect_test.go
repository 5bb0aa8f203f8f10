package faultstore_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
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

// recorder is a storetest.T that records failures.
type recorder struct {
	ctx      context.Context
	mu       sync.Mutex
	failures []string
}

func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) FailNow()                 { runtime.Goexit() }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// failures runs a case and returns what failed.
func failures(t *testing.T, c storetest.Case, f *storetest.Fixture) []string {
	r := &recorder{ctx: t.Context()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				r.Errorf("panic: %v", v)
			}
		}()
		c.Run(r, f)
	}()
	<-done
	return r.failures
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
			require.NotEmpty(t, failures(t, cases[d.Case], openWrapped(d.Wrap)), "%s notices nothing", d.Case)
		})
	}
}
