package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/bench/internal/peer"
	"go.uber.org/goleak"
)

// TestMain is also the main of the servers that the tests start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == peer.Subcommand {
		if err := peer.Serve(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// quick returns the options of a quick run, in a directory that other users may
// go through: PostgreSQL does not run as root.
func quick(t *testing.T, args ...string) *options {
	t.Helper()
	dir, err := os.MkdirTemp("", "bench-test-") //nolint:usetesting // t.TempDir is closed to other users
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o, err := parse(append([]string{"-quick", "-dir", dir}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	o.stored = 2000
	return o
}

// Every table is made, with something in each cell that has to have it, and
// nothing is left behind.
func TestQuickRun(t *testing.T) {
	o := quick(t, "-json")
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, &status{}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tables []struct {
			Name  string
			Rows  []map[string]any
			Notes []string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{
		"inline":      {"callsPerSecond", "p50Us", "p99Us"},
		"durable":     {"callsPerSecond", "callsPerSync", "ackP50Us", "p50Us", "syncP50Us"},
		"peers":       {"callsPerSecond", "p50Us", "wireBytes"},
		"pickup":      {"requests", "p50Us", "p99Us"},
		"progress":    {"share", "toldPerSecond", "p50Us"},
		"idle":        {"connections", "afterKB"},
		"resume":      {"connections", "listeningUs", "backUs"},
		"cleanup":     {"calls", "p50Us", "logKB"},
		"connections": {"inlinePerSecond", "durablePerSecond", "ratio", "wireBytes"},
		"stored":      {"fileKB", "startUs", "durablePerSecond", "inlinePerSecond", "listP50Us", "subscribeP50Us"},
		"client":      {"callsPerSecond", "p50Us"},
	}
	if len(got.Tables) != len(scenarios) {
		t.Errorf("%d tables of %d scenarios", len(got.Tables), len(scenarios))
	}
	for _, table := range got.Tables {
		for i, row := range table.Rows {
			if row["queue"] == "River, until told" {
				continue // which takes longer than a quick round
			}
			for _, key := range keys[table.Name] {
				if n, ok := row[key].(float64); !(ok && n > 0) {
					t.Errorf("%s, row %d: %s is %v", table.Name, i, key, row[key])
				}
			}
			for _, key := range []string{"gaps", "doubles", "lost"} {
				if n, counted := row[key].(float64); counted && n != 0 {
					t.Errorf("%s, row %d: %v %s", table.Name, i, n, key)
				}
			}
		}
		if len(table.Rows) == 0 || len(keys[table.Name]) == 0 {
			t.Errorf("%s has %d rows", table.Name, len(table.Rows))
		}
		for _, note := range table.Notes {
			if strings.HasPrefix(note, "MISSING") {
				t.Logf("SKIPPED: %s: %s", table.Name, note)
			}
		}
	}
	isEmpty(t, o.dir)
}

func TestRequestSize(t *testing.T) {
	template, err := request("")
	if err != nil || template.Size() != 300 {
		t.Errorf("a request has %d bytes, not 300, %v", template.Size(), err)
	}
}

// A Ctrl-C ends a run in the middle of a load, and leaves nothing behind.
func TestInterrupt(t *testing.T) {
	for _, name := range names() {
		o := quick(t, "-only", name)
		o.duration, o.idle = time.Minute, time.Minute
		ctx, interrupt := context.WithCancel(t.Context())
		// What is said first is said just before something is measured.
		err := run(ctx, o, io.Discard, &status{w: writer(func(string) { interrupt() })})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s, interrupted, says %v", name, err)
		}
		isEmpty(t, o.dir)
	}
}

// So does one while other queues run, whose servers are programs of their own.
func TestInterruptAmongPeers(t *testing.T) {
	for _, name := range []string{"River"} {
		o := quick(t, "-only", "peers")
		ctx, interrupt := context.WithCancel(t.Context())
		began := false
		err := run(ctx, o, io.Discard, &status{w: writer(func(said string) {
			if strings.Contains(said, name) && strings.Contains(said, "round") {
				began = true
				interrupt()
			}
		})})
		interrupt()
		if began && !errors.Is(err, context.Canceled) || !began && err != nil {
			t.Errorf("interrupted while %s runs (%v), it says %v", name, began, err)
		}
		isEmpty(t, o.dir)
	}
}

// writer is called with what a run says.
type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}

func isEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for _, args := range []string{"-duration 1h", "-rounds 0", "-only nothing", "more", "-connections 0", "-stored 0", "-idle 11m", "-what"} {
		var said bytes.Buffer
		if _, err := parse(strings.Fields(args), &said); err == nil || said.Len() == 0 {
			t.Errorf("%q: %v, and %q is said", args, err, said.String())
		}
	}
}
