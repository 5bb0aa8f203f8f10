package peer

import (
	"context"
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
)

// Order is what echoes carry.
type Order struct {
	Customer string   `json:"customer"`
	Amount   int64    `json:"amount"`
	Currency string   `json:"currency"`
	Tags     []string `json:"tags"`
	Paid     bool     `json:"paid"`
	Note     string   `json:"note"`
}

// NewOrder returns an order with a note of n bytes.
func NewOrder(n int) Order {
	return Order{
		Customer: "cus_4gT9", Amount: 129900, Currency: "EUR", Tags: []string{"new", "web"}, Paid: true,
		Note: strings.Repeat("x", max(n, 0)),
	}
}

// Pace is how Report reports.
type Pace struct {
	Reports    int `json:"reports"`
	IntervalMs int `json:"intervalMs"`
}

func router() *streamer.Router {
	r := streamer.NewRouter(nil)
	streamer.Handle(r, Echo, func(_ context.Context, in Order) (Order, error) { return in, nil })
	streamer.Handle(r, Clock, func(context.Context, struct{}) (int64, error) { return time.Now().UnixNano(), nil })
	streamer.HandleStream(r, Report, report, streamer.Async())
	return r
}

func report(ctx context.Context, in Pace, call *streamer.Call[int]) (int, error) {
	ticker := time.NewTicker(time.Duration(max(in.IntervalMs, 1)) * time.Millisecond)
	defer ticker.Stop()
	for i := range in.Reports {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return i, ctx.Err()
		}
		call.Progress(100*float64(i)/float64(in.Reports), strconv.FormatInt(time.Now().UnixNano(), 10))
	}
	return in.Reports, nil
}
