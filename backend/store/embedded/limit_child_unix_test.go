//go:build unix

package embedded_test

import (
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
)

// limitChild writes until the operating system refuses it, raises the limit, and
// continues.
func limitChild(path string) error {
	ctx := contextBackground()
	signal.Ignore(syscall.SIGXFSZ)
	s, err := embedded.Open(path, nil)
	if err != nil {
		return err
	}
	limit := syscall.Rlimit{Cur: 2 << 20, Max: 1 << 40}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	var kept []store.Key
	for {
		n := newRequest(0)
		n.Input = []byte(`"` + strings.Repeat("x", 30<<10) + `"`)
		if _, err = s.Accept(ctx, n); err != nil {
			break
		}
		if kept = append(kept, n.Key); len(kept) > 10_000 {
			return errors.New("the limit has no effect")
		}
	}
	if !errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("not unavailable: %w", err)
	}
	if err := s.Check(ctx); err == nil {
		return errors.New("the check succeeded")
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for range 100 {
		n := newRequest(0)
		if _, err := s.Accept(ctx, n); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
		kept = append(kept, n.Key)
	}
	if err := s.Check(ctx); err != nil {
		return err
	}
	for _, k := range kept {
		if _, _, err := s.Read(ctx, k, 0, 0); err != nil {
			return err
		}
	}
	fmt.Println("fine", len(kept))
	return s.Close()
}
