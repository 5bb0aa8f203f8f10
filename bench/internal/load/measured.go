package load

import (
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
)

// Used is what a load has made its processes use. What is not known is 0.
type Used struct {
	// Server is the processor time of the server, and of all its processes;
	// Own that of this process.
	Server, Own time.Duration
	// Written is how many bytes the disk has written, whoever asked it to; Wire
	// how many went between the two processes, both ways together.
	Written, Wire int64
}

// Sub returns what was used since before.
func (u Used) Sub(before Used) Used {
	return Used{u.Server - before.Server, u.Own - before.Own, u.Written - before.Written, u.Wire - before.Wire}
}

// Meter tells what was used so far. Nil: nothing is known.
type Meter func() (Used, error)

// Read reads the meter.
func (m Meter) Read() (Used, error) {
	if m == nil {
		return Used{}, nil
	}
	return m()
}

// Measured is what was seen while a load was measured.
type Measured struct {
	Calls  uint64
	During time.Duration
	Used   Used
	// Latency is from a request to its end, Ack to its ack.
	Latency, Ack latency.Histogram
}

// Rate is calls a second.
func (m *Measured) Rate() float64 {
	if m.During <= 0 {
		return 0
	}
	return float64(m.Calls) / m.During.Seconds()
}

// CPUPerCall is the server's, in nanoseconds; 0: not known.
func (m *Measured) CPUPerCall() float64 { return m.each(float64(m.Used.Server)) }

// OwnPerCall is this process's, in nanoseconds; 0: not known.
func (m *Measured) OwnPerCall() float64 { return m.each(float64(m.Used.Own)) }

// AllPerCall is that of both, in nanoseconds; 0: not known.
func (m *Measured) AllPerCall() float64 { return m.each(float64(m.Used.Server + m.Used.Own)) }

// WrittenPerCall is in bytes; 0: not known.
func (m *Measured) WrittenPerCall() float64 { return m.each(float64(m.Used.Written)) }

// WirePerCall is in bytes; 0: not known.
func (m *Measured) WirePerCall() float64 { return m.each(float64(m.Used.Wire)) }

func (m *Measured) each(sum float64) float64 {
	if m.Calls == 0 {
		return 0
	}
	return sum / float64(m.Calls)
}
