package machine

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/pay-theory/streamer/bench/internal/latency"
)

// Of the file that Sync writes. Its pages are written over again and again, as
// SQLite does with its log: that is the least that a disk can be asked for.
const (
	syncPage  = 4 << 10
	syncPages = 256
)

// Sync writes a page to a file in dir and has it synced, again and again, and
// returns how long each time took.
func Sync(ctx context.Context, dir string, during time.Duration) (*latency.Histogram, error) {
	path := filepath.Join(dir, "sync")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(path)
	}()
	page := make([]byte, syncPage)
	for i := range syncPages {
		if _, err := f.WriteAt(page, int64(i)*syncPage); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	h := new(latency.Histogram)
	for start, i := time.Now(), 0; time.Since(start) < during && ctx.Err() == nil; i++ {
		page[0] = byte(i)
		begun := time.Now()
		if _, err := f.WriteAt(page, int64(i%syncPages)*syncPage); err != nil {
			return nil, err
		}
		if err := sync(f); err != nil {
			return nil, err
		}
		h.Record(time.Since(begun))
	}
	return h, ctx.Err()
}
