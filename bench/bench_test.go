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

func quick(t *testing.T, args ...string) *options {
	t.Helper()
	o, err := parse(append([]string{"-quick", "-dir", t.TempDir()}, args...), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// Every table is made, with something in each cell that has to have it, and
// nothing is left behind.
func TestQuickRun(t *testing.T) {
	o := quick(t, "-json")
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tables []struct {
			Name string
			Rows []map[string]any
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	keys := map[string][]string{
		"inline":   {"callsPerSecond", "p50Us", "p99Us"},
		"durable":  {"callsPerSecond", "callsPerSync", "ackP50Us", "p50Us", "syncP50Us"},
		"pickup":   {"requests", "p50Us", "p99Us"},
		"progress": {"told", "share", "p50Us"},
		"idle":     {"connections", "afterKB"},
		"client":   {"callsPerSecond", "ratio"},
	}
	if len(got.Tables) != len(scenarios) {
		t.Errorf("%d tables of %d scenarios", len(got.Tables), len(scenarios))
	}
	for _, table := range got.Tables {
		for i, row := range table.Rows {
			for _, key := range keys[table.Name] {
				// The bare echo has no ratio to itself.
				if n, ok := row[key].(float64); !(ok && n > 0) && key != "ratio" {
					t.Errorf("%s, row %d: %s is %v", table.Name, i, key, row[key])
				}
			}
		}
		if len(table.Rows) == 0 {
			t.Errorf("%s has no rows", table.Name)
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
		err := run(ctx, o, io.Discard, writer(interrupt))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s, interrupted, says %v", name, err)
		}
		isEmpty(t, o.dir)
	}
}

// writer is called by what a run says.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
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
	for _, args := range []string{"-duration 1h", "-rounds 0", "-only nothing", "more", "-connections 0", "-idle 11m", "-what"} {
		var said bytes.Buffer
		if _, err := parse(strings.Fields(args), &said); err == nil || said.Len() == 0 {
			t.Errorf("%q: %v, and %q is said", args, err, said.String())
		}
	}
}
