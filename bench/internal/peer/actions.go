package peer

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
)

// Names of the actions that the Streamer server has.
const (
	// Echo takes an Order and returns it.
	Echo = "bench.echo"
	// Clock returns the time at which its handler began, in Unix nanoseconds.
	Clock = "bench.clock"
	// Report takes a Pace and reports progress, whose text is the time at which
	// it was reported, in Unix nanoseconds.
	Report = "bench.report"
	// Walk takes a Step and emits 1, 2, 3 …, with a checkpoint behind each,
	// until its server dies. The next attempt goes one further, and returns
	// where it is then.
	Walk = "bench.walk"
)

// noteSize makes an inline request of 300 bytes.
const noteSize = 106

// Order is what echoes carry.
type Order struct {
	Customer string   `json:"customer"`
	Amount   int64    `json:"amount"`
	Currency string   `json:"currency"`
	Tags     []string `json:"tags"`
	Paid     bool     `json:"paid"`
	Note     string   `json:"note"`
}

// NewOrder returns an order that makes an inline request of 300 bytes.
func NewOrder() Order {
	return Order{
		Customer: "cus_4gT9", Amount: 129900, Currency: "EUR", Tags: []string{"new", "web"}, Paid: true,
		Note: strings.Repeat("x", noteSize),
	}
}

// Pace is how Report reports.
type Pace struct {
	Reports    int `json:"reports"`
	IntervalMs int `json:"intervalMs"`
	// Chunks has chunks emitted instead, which are stored.
	Chunks bool `json:"chunks"`
}

// Step is how fast Walk walks; at least 1 ms.
type Step struct {
	IntervalMs int `json:"intervalMs"`
}

func router() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, Echo, func(_ context.Context, in Order) (Order, error) { return in, nil })
	streamer.Handle(r, Clock, func(context.Context, struct{}) (int64, error) { return time.Now().UnixNano(), nil })
	streamer.HandleStream(r, Report, report, streamer.Async())
	streamer.HandleStream(r, Walk, walk, streamer.Async())
	return r
}

func report(ctx context.Context, in Pace, call *streamer.Call[int64]) (int, error) {
	ticker := time.NewTicker(time.Duration(max(in.IntervalMs, 1)) * time.Millisecond)
	defer ticker.Stop()
	for i := range in.Reports {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return i, ctx.Err()
		}
		if now := time.Now().UnixNano(); in.Chunks {
			call.Emit(now)
		} else {
			call.Progress(100*float64(i)/float64(in.Reports), strconv.FormatInt(now, 10))
		}
	}
	return in.Reports, nil
}

func walk(ctx context.Context, in Step, call *streamer.Call[int]) (int, error) {
	at := 0
	resumed, err := call.Resume(&at)
	if err != nil {
		return 0, err
	}
	interval := time.Duration(max(in.IntervalMs, 1)) * time.Millisecond
	timer := time.NewTimer(rand.N(interval)) // not all in step
	defer timer.Stop()
	for !resumed {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return at, ctx.Err()
		}
		at++
		call.Emit(at)
		call.Checkpoint(at)
		timer.Reset(interval)
	}
	call.Emit(at + 1)
	call.Checkpoint(at + 1)
	return at + 1, nil
}
