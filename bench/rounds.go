package main

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
	"github.com/pay-theory/streamer/bench/internal/load"
)

// rounds are what was measured of one server, a round each.
type rounds []*load.Measured

// of is the median of what f says of each round.
func (r rounds) of(f func(*load.Measured) float64) float64 { return median(r, f) }

func (r rounds) rate() float64 { return r.of((*load.Measured).Rate) }

// cpu is the server's per call.
func (r rounds) cpu() time.Duration { return time.Duration(r.of((*load.Measured).CPUPerCall)) }

// all is the processor time of load and server per call.
func (r rounds) all() time.Duration { return time.Duration(r.of((*load.Measured).AllPerCall)) }

// quantile is the median of a quantile of the latency.
func (r rounds) quantile(q float64) time.Duration {
	return time.Duration(r.of(func(m *load.Measured) float64 { return float64(m.Latency.Quantile(q)) }))
}

// share is the median over the rounds of ours / theirs; 0 where nothing can be
// told.
func (r rounds) share(theirs rounds, f func(*load.Measured) float64) float64 {
	var shares []float64
	for i, t := range theirs {
		if other := f(t); other > 0 && i < len(r) {
			shares = append(shares, f(r[i])/other)
		}
	}
	return median(shares, func(f float64) float64 { return f })
}

// median returns the median of what f says of each round.
func median[T any](rounds []T, f func(T) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = f(r)
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// middle is the median over the rounds of a quantile.
func middle[T any](rounds []T, of func(T) *latency.Histogram, q float64) cell {
	return span(time.Duration(median(rounds, func(r T) float64 { return float64(of(r).Quantile(q)) })))
}
