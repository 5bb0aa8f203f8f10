// Package faults is what goes wrong in a chaos run beside the killing: a proxy
// that cuts connections, a clock that is stepped, disks that are slow, broken
// or full. It also sees what goes over the wire.
package faults

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ClockVariable names the file that holds how many seconds a process's wall
// clock is off the machine's. Only programs built by [BuildClocked] heed it.
const ClockVariable = "STREAMER_CHAOS_CLOCK"

// Clock is the wall clock of processes, as far as it is off the machine's.
type Clock struct{ name string }

// NewClock makes a clock that is right.
func NewClock(name string) (*Clock, error) {
	c := &Clock{name}
	return c, c.Set(0)
}

// Set puts the clock so many seconds off, at once and for all processes that
// run by it. Their monotonic time goes on undisturbed.
func (c *Clock) Set(seconds int64) error {
	f, err := os.OpenFile(c.name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// Eight bytes in one write, into a page that the others have mapped: they
	// see the old value or the new one.
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(seconds)), 0)
	return errors.Join(err, f.Close())
}

// Environment returns the variable that has a process run by the clock.
func (c *Clock) Environment() string { return ClockVariable + "=" + c.name }

// What is changed in package time: Now adds to the wall clock's seconds.
const (
	nowBefore = "\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n"
	nowAfter  = "\tsec, nsec, mono := runtimeNow()\n\tsec += chaosOffset()\n\tif mono == 0 {\n"
)

// clockSource is added to package time.
const clockSource = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// chaosClock is how many seconds the wall clock is off; nil: it is right.
var chaosClock *int64

func init() {
	name, ok := syscall.Getenv("` + ClockVariable + `")
	if !ok {
		return
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("the clock's file cannot be opened: " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("the clock's file cannot be mapped: " + err.Error())
	}
	chaosClock = (*int64)(unsafe.Pointer(&page[0]))
}

func chaosOffset() int64 {
	if chaosClock == nil {
		return 0
	}
	return atomic.LoadInt64(chaosClock)
}
`

// overlay is the file format of go build -overlay.
type overlay struct{ Replace map[string]string }

// BuildClocked builds a package of this repository, run from within it, with a
// package time whose wall clock a [Clock] can step. No clock is hooked into
// what is built. Extra is the name of another overlay to build with, or empty.
// Files are left in dir; the program's name is returned.
func BuildClocked(ctx context.Context, dir, pkg, extra string) (string, error) {
	o, err := clockOverlay(ctx, dir)
	if err != nil {
		return "", err
	}
	if extra != "" {
		if err := o.add(extra); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "clocked")
	build := exec.CommandContext(ctx, "go", "build", "-overlay", name, "-o", program, pkg) // #nosec G204 -- our own package
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("a server whose clock can be stepped cannot be built: %w\n%s", err, out)
	}
	return program, nil
}

// clockOverlay writes the changed package time into dir.
func clockOverlay(ctx context.Context, dir string) (*overlay, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return nil, err
	}
	changed, err := patchNow(string(source))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", original, err)
	}
	o := &overlay{map[string]string{}}
	for target, text := range map[string]string{
		original: changed, filepath.Join(filepath.Dir(original), "chaos_clock.go"): clockSource,
	} {
		name := filepath.Join(dir, filepath.Base(target))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, err
		}
		o.Replace[target] = name
	}
	return o, nil
}

// patchNow changes the text of time.go.
func patchNow(source string) (string, error) {
	if strings.Count(source, nowBefore) != 1 {
		return "", errors.New("time.Now does not look as it did in Go 1.26: teach faults/clock.go how it begins now")
	}
	return strings.Replace(source, nowBefore, nowAfter, 1), nil
}

// add adds the replacements of an overlay's file.
func (o *overlay) add(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var more overlay
	if err := json.Unmarshal(text, &more); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	maps.Copy(o.Replace, more.Replace)
	return nil
}
