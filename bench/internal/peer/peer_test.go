package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"go.uber.org/goleak"
)

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == Subcommand {
		if err := Serve(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// What is stocked is found by a server: under its ids, in order, and expired
// when it is old.
func TestStock(t *testing.T) {
	dir := t.TempDir()
	s := &Stock{From: time.Now().Add(-10 * 24 * time.Hour).Truncate(time.Millisecond)}
	for _, n := range []int{10, 30} { // it grows
		if err := s.Fill(t.Context(), dir, n); err != nil {
			t.Fatal(err)
		}
	}
	q, err := embedded.Open(Database(dir), &embedded.Options{Now: func() time.Time { return s.From.Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		state, events, err := q.Read(t.Context(), store.Key{Tenant: tenant, ID: s.ID(i)}, 0, 1<<16)
		if err != nil || state.Status != store.Succeeded || len(events) != 2 {
			t.Errorf("call %d: %v, %d events, %v", i, state.Status, len(events), err)
		}
		if at, ok := store.IDTime(s.ID(i)); !ok || at.Sub(s.From) != time.Duration(i)*time.Millisecond {
			t.Errorf("call %d is of %v", i, at.Sub(s.From))
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := Start(context.WithoutCancel(t.Context()), Streamer, dir, Options{Expire: true})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.Expire(t.Context()); err != nil || n != 30 {
		t.Errorf("%d of 30 were deleted, %v", n, err)
	}
	if n, err := p.Expire(t.Context()); err != nil || n != 0 {
		t.Errorf("%d of none were deleted, %v", n, err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

// A server that was killed can be started again at the same address.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	p, err := Start(context.WithoutCancel(t.Context()), Streamer, dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := p.Address
	p.Kill()
	if p, err = Start(context.WithoutCancel(t.Context()), Streamer, dir, Options{Address: address}); err != nil {
		t.Fatal(err)
	}
	if p.Address != address {
		t.Errorf("it listens at %s, not %s", p.Address, address)
	}
	if err := errors.Join(p.Stop(), p.Stop()); err != nil {
		t.Error(err)
	}
}

// Programs end with the process that has started them, even if that is killed.
func TestProgramsEndWithTheirParent(t *testing.T) {
	var missing *MissingError
	p, err := Start(context.WithoutCancel(t.Context()), Redis, t.TempDir(), Options{})
	if errors.As(err, &missing) {
		t.Skipf("SKIPPED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Kill()
	deadline := time.Now().Add(10 * time.Second)
	for reaches(p.Address) {
		if time.Now().After(deadline) {
			t.Fatal("Redis has outlived its parent by 10 s")
		}
	}
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := settings{Kind: Redis, Dir: t.TempDir()}
	old := programs[Redis]
	defer func() { programs[Redis] = old }()
	entry := old
	entry.elsewhere = filepath.Join(t.TempDir(), "redis-server")
	programs[Redis] = entry
	var missing *MissingError
	if err := s.find(); !errors.As(err, &missing) || !strings.Contains(err.Error(), "redis-server is not installed") {
		t.Errorf("a missing program: %v", err)
	}
	closed := t.TempDir() // which only its owner may go through
	if err := os.Mkdir(filepath.Join(closed, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := reachable(filepath.Join(closed, "data")); err == nil {
		t.Error("a folder that only its owner may go through is open to others")
	}
	if _, err := Start(t.Context(), "nothing", t.TempDir(), Options{}); err == nil {
		t.Error("a peer of no kind has started")
	}
}

// reaches tells whether somebody listens at an address.
func reaches(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
