package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long one test may take; a break may make it hang, which
// counts as noticed when the test says so, not when this does.
const patience = 4 * time.Minute

// outcome is what came of one break.
type outcome struct {
	index int
	// noticed tells that a test failed for it.
	noticed bool
	// why says what is wrong when it was not.
	why  string
	took time.Duration
}

// report runs the breaks, tells of each, and returns the exit code.
func report(ctx context.Context, root string, breaks []Break, jobs int) int {
	began := time.Now()
	next, done := make(chan int), make(chan outcome)
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for i := range next {
				o := breaks[i].try(ctx, root)
				o.index = i
				done <- o
			}
		})
	}
	go func() {
		defer close(next)
		for i := range breaks {
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	go func() { workers.Wait(); close(done) }()
	count, missed := 0, 0
	for o := range done {
		count++
		verdict := "noticed"
		if !o.noticed {
			verdict = "NOT NOTICED"
			missed++
		}
		b := &breaks[o.index]
		fmt.Printf("%3d/%d  %-11s  %-4s %s  (%s, %s)\n", count, len(breaks), verdict, b.Law, b.What, b.Run, o.took.Round(100*time.Millisecond))
		if o.why != "" {
			fmt.Printf("         %s\n", strings.ReplaceAll(o.why, "\n", "\n         "))
		}
	}
	if ctx.Err() != nil {
		fmt.Printf("breaks: interrupted after %d of %d\n", count, len(breaks))
		return 130
	}
	result, code := "PASS", 0
	if missed > 0 {
		result, code = "FAIL", 1
	}
	fmt.Printf("breaks: %s: %d broken, %d noticed, %d not, in %s\n", result, count, count-missed, missed, time.Since(began).Round(time.Second))
	return code
}

// try makes the break in a copy and runs its test.
func (b *Break) try(ctx context.Context, root string) outcome {
	began := time.Now()
	noticed, why := b.test(ctx, root)
	return outcome{noticed: noticed, why: why, took: time.Since(began)}
}

func (b *Break) test(ctx context.Context, root string) (noticed bool, why string) {
	text, err := b.broken(root)
	if err != nil {
		return false, err.Error()
	}
	dir, err := os.MkdirTemp("", "break")
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = os.RemoveAll(dir) }()
	changed, overlay := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json")
	replace, _ := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, b.File): changed}})
	if err := errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return false, err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-overlay", overlay, "-count=1", "-vet=off", "-failfast", "-timeout", "90s", "-run", b.Run, b.Package) //nolint:gosec // all that varies stands in this package
	cmd.Dir = root
	// With its children: a test may start processes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return judge(ctx, out, err)
}

// judge tells from a test's output whether it has noticed the break.
func judge(ctx context.Context, out []byte, err error) (noticed bool, why string) {
	switch {
	case ctx.Err() != nil:
		return false, "the test did not come to an end: " + tail(out)
	case err == nil && bytes.Contains(out, []byte("no tests to run")):
		return false, "no test has that name"
	case err == nil:
		return false, "its test passes: " + tail(out)
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return false, "it does not compile: " + tail(out)
	case bytes.Contains(out, []byte("--- FAIL")), bytes.Contains(out, []byte("panic: ")):
		return true, ""
	}
	return false, "go test failed, and no test did: " + tail(out)
}

// tail is the end of what a test printed.
func tail(out []byte) string {
	const most = 600
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}
