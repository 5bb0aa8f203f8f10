package embedded

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// probeEvery bounds how often Check tries a write.
const probeEvery = time.Second

// health records whether the last transaction that wrote succeeded.
type health struct {
	// failing lets recordWrite skip the lock while writes succeed.
	failing atomic.Bool
	mu      sync.Mutex
	err     error
	probed  time.Time
}

// recordWrite records the outcome of a transaction, and logs changes.
func (h *health) recordWrite(err error, log *slog.Logger) {
	if err == nil && !h.failing.Load() {
		return
	}
	h.mu.Lock()
	before := h.err
	h.err = err
	h.failing.Store(err != nil)
	h.mu.Unlock()
	switch {
	case err != nil && before == nil:
		log.Error("the store cannot write", "error", err)
	case err == nil && before != nil:
		log.Info("the store writes again")
	}
}

// failed returns the error of the last write, if it failed.
func (h *health) failed() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// probe reports whether it is time to try a write. It uses real time, because it
// limits the load on the disk.
func (h *health) probe() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || time.Since(h.probed) < probeEvery {
		return false
	}
	h.probed = time.Now()
	return true
}
