package load

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is what longer durations count as.
const maxLatency = 5 * time.Minute

// Recorder records durations, to three significant digits. It is safe for
// concurrent use.
type Recorder struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder {
	return &Recorder{histogram: hdrhistogram.New(1, int64(maxLatency), 3)}
}

// Record records a duration. A negative one counts as 0.
func (r *Recorder) Record(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.histogram.RecordValue(int64(min(max(d, 0), maxLatency))) // only values out of range are errors
}

// Count returns how many durations were recorded.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.histogram.TotalCount())
}

// Quantile returns the duration that a share q, from 0 to 1, of all were not
// longer than; 0 if there are none.
func (r *Recorder) Quantile(q float64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.histogram.TotalCount() == 0 {
		return 0
	}
	return time.Duration(r.histogram.ValueAtQuantile(100 * q))
}

// Used is the processor time that a load has used, in nanoseconds: of the
// server's processes, and of this process. 0: it is not known.
type Used struct{ Server, Load float64 }

// Result is what one round has measured.
type Result struct {
	// During is how long it lasted.
	During time.Duration
	Used   Used
	// Latency is from a request to its end, Ack to its ack.
	Latency, Ack *Recorder
	// Values are other figures, by name.
	Values map[string]float64
}

// NewResult returns an empty result.
func NewResult() *Result {
	return &Result{Latency: NewRecorder(), Ack: NewRecorder(), Values: map[string]float64{}}
}

// Calls returns how many calls were measured.
func (r *Result) Calls() float64 { return float64(r.Latency.Count()) }

// Rate returns calls per second.
func (r *Result) Rate() float64 { return r.Calls() / max(r.During.Seconds(), 1e-9) }

// ServerCPU returns the server's processor time per call, in nanoseconds.
func (r *Result) ServerCPU() float64 { return r.Used.Server / max(r.Calls(), 1) }

// LoadCPU returns this process's processor time per call, in nanoseconds.
func (r *Result) LoadCPU() float64 { return r.Used.Load / max(r.Calls(), 1) }

// AllCPU returns the processor time of both per call, in nanoseconds.
func (r *Result) AllCPU() float64 { return r.ServerCPU() + r.LoadCPU() }
