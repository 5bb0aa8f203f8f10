package campaign

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clockVariable names the file with how many seconds a process's wall clock is
// off the machine's. Only programs made by buildClocked read it.
const clockVariable = "STREAMER_CHAOS_CLOCK"

// setClock sets the clock of all processes with that file so many hours off, at
// once. Their monotonic time goes on undisturbed.
func setClock(file string, hours int) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	// Eight bytes in one write, into a page that the processes have mapped: they
	// see the old value or the new one.
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(hours)*3600)), 0)
	return errors.Join(err, f.Close())
}

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

// chaosClock is how many seconds the wall clock is off.
var chaosClock = new(int64)

func init() {
	name, ok := syscall.Getenv("` + clockVariable + `")
	if !ok {
		return
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("opening the clock's file: " + err.Error())
	}
	page, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("mapping the clock's file: " + err.Error())
	}
	chaosClock = (*int64)(unsafe.Pointer(&page[0]))
}

func chaosOffset() int64 { return atomic.LoadInt64(chaosClock) }
`

// buildClocked builds a package of this repository with a package time whose
// wall clock setClock can step; what is built needs no hook for it. Files are
// left in dir; the program's name is returned.
func buildClocked(ctx context.Context, dir, pkg string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	patched, err := patchNow(string(source))
	if err != nil {
		return "", fmt.Errorf("%s: %w", original, err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		original: file("time.go"), filepath.Join(filepath.Dir(original), "chaos_clock.go"): file("chaos_clock.go"),
	}})
	if err != nil {
		return "", err
	}
	for name, text := range map[string]string{"time.go": patched, "chaos_clock.go": clockSource, "overlay.json": string(overlay)} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", file("overlay.json"), "-o", file("clocked"), pkg) // #nosec G204 -- our own package
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building a server whose clock can be stepped: %w\n%s", err, out)
	}
	return file("clocked"), nil
}

// patchNow changes the text of time.go.
func patchNow(source string) (string, error) {
	if strings.Count(source, nowBefore) != 1 {
		return "", errors.New("time.Now does not look as in Go 1.26; adapt nowBefore and nowAfter in campaign/clock.go")
	}
	return strings.Replace(source, nowBefore, nowAfter, 1), nil
}
