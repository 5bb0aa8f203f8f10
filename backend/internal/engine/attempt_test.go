package engine

import (
	"context"
	"encoding/json"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/faultstore"
	"github.com/stretchr/testify/require"
)

// A handler that ends its goroutine has failed, and leaves nothing behind.
func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	exit := &core.Action{Name: "exit", Run: func(context.Context, any, *core.Call) ([]byte, error) {
		runtime.Goexit()
		return nil, nil
	}}
	for _, mode := range []string{"", wire.ModeSync, wire.ModeAsync} {
		t.Run("mode "+mode, func(t *testing.T) {
			inBubble(t, oneWorker, func(w *world) {
				r := w.request("exit", mode)
				answer := w.submit(r).one(w)
				w.after(time.Hour)
				if mode == wire.ModeAsync {
					require.Equal(w, store.Failed, w.state(r.Key).Status)
				} else {
					require.Equal(w, core.CodeInternal, answer.End.Code)
				}
				require.Empty(w, w.e.calls.attempts())
				w.requireIdle()
			}, exit)
		})
	}
	t.Run("queued", func(t *testing.T) {
		inBubble(t, settings{}, func(w *world) {
			r := w.start("exit", delay(time.Second))
			require.Equal(w, store.Failed, w.statusAfter(time.Hour, r.Key))
			require.Empty(w, w.e.calls.attempts())
		}, exit)
	})
}

// Who joined an inline call gets its ack before its events.
func TestJoinedCallersAreAnsweredFirst(t *testing.T) {
	reports := map[string]func(core.Sink){
		"progress": func(s core.Sink) { s.Progress(10, "") },
		"chunk":    func(s core.Sink) { s.Emit(json.RawMessage(`1`)) },
	}
	for name, report := range reports {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				inBubble(t, settings{}, func(w *world) {
					r, _ := w.send("report", "")
					again := *r
					again.Connection = "c2"
					before := -1
					go w.handle(&again, func(Answer) { before = len(w.box.of("c2")) })
					w.after(10 * time.Second)
					require.Zero(w, before, "messages of the call before its ack")
					require.NotEmpty(w, w.box.of("c2"))
				}, &core.Action{Name: "report", Stream: true, Run: does(func(call *core.Call) {
					time.Sleep(time.Second) // fake
					report(call.Sink)
					time.Sleep(6 * time.Second) // fake
				})})
			}
		})
	}
}

// An attempt that has lost its claim sends and stores nothing more, and its
// handler does not wait for room.
func TestLostClaimSilencesTheAttempt(t *testing.T) {
	var records atomic.Int32
	var open chan struct{}
	returned := false
	inBubbleOn(t, before(faultstore.Record, func() error {
		records.Add(1)
		<-open
		return store.ErrFenced
	}), settings{}, func(w *world) {
		open = make(chan struct{})
		w.submit(w.request("emit", wire.ModeAsync)).one(w)
		w.after(time.Second) // the handler waits for room
		require.False(w, returned)
		close(open)
		w.after(2 * time.Second)
		require.True(w, returned)
		require.EqualValues(w, 1, records.Load())
		require.Empty(w, w.box.of("c1", wire.TypeProgress))
		w.after(time.Hour)
	}, &core.Action{Name: "emit", Run: func(ctx context.Context, _ any, call *core.Call) ([]byte, error) {
		if call.Info.Attempt > 1 {
			return []byte(`1`), nil
		}
		chunk := json.RawMessage(`"` + strings.Repeat("a", 2000) + `"`)
		for range 5000 {
			call.Sink.Emit(chunk)
		}
		call.Sink.Progress(50, "")
		time.Sleep(time.Second) // fake
		returned = true
		return nil, ctx.Err()
	}})
}

// Stop decides a call whose handler was not called yet, because the store is still
// being asked whether it knows the call. The handler is not called then.
func TestStopBeforeTheHandlerIsCalled(t *testing.T) {
	for _, known := range []bool{false, true} {
		var slow atomic.Bool
		var runs counter
		inBubbleOn(t, faultstore.Hooks{After: func(op faultstore.Op, _ store.Key, err error) error {
			if op == faultstore.Read && slow.Load() {
				time.Sleep(7 * time.Second) // fake
			}
			return err
		}}, settings{}, func(w *world) {
			r := w.request("quick", "")
			if known {
				w.accept(r)
			}
			slow.Store(true)
			got := w.submit(r)
			w.stopNow()
			w.after(time.Minute)
			got.one(w)
			require.Zero(w, runs.total.Load())
		}, &core.Action{Name: "quick", Run: runs.of(ok(`1`))})
	}
}

// slowSubscriptions is a subscription store that needs 10 s to say who subscribes.
type slowSubscriptions struct{ store.SubscriptionStore }

func (s slowSubscriptions) Subscribers(ctx context.Context, tenant, stream string) ([]store.Subscription, error) {
	time.Sleep(10 * time.Second) // fake
	return s.SubscriptionStore.Subscribers(ctx, tenant, stream)
}

// A handler's chunks do not wait while its progress is being sent.
func TestSendingProgressHoldsUpNoChunk(t *testing.T) {
	var emitted atomic.Bool
	inBubble(t, settings{}, func(w *world) {
		w.e.Notifier = deliver.New(slowSubscriptions{deliver.NewSubscriptions(nil)}, noLog)
		w.start("report")
		w.after(2 * time.Second)
		require.True(w, emitted.Load())
		w.after(time.Minute)
	}, &core.Action{Name: "report", Run: does(func(call *core.Call) {
		time.Sleep(time.Second) // fake
		go call.Sink.Progress(1, "")
		time.Sleep(time.Millisecond) // fake
		call.Sink.Emit(json.RawMessage(`1`))
		emitted.Store(true)
	})})
}
