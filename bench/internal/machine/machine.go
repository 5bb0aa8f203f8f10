// Package machine says what a benchmark ran on, and what its processes used.
package machine

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
)

// ErrUnknown says that this system does not tell.
var ErrUnknown = errors.New("this system does not tell")

// Machine is what a benchmark ran on. What this system does not tell is empty
// or 0.
type Machine struct {
	Cores      int    `json:"cores"`
	CPU        string `json:"cpu"`
	MemoryGB   int    `json:"memoryGB"`
	System     string `json:"system"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	FileSystem string `json:"fileSystem"`
	// Disk is the kind of device that the file system is on.
	Disk string `json:"disk"`
}

// Describe describes this machine; file system and disk are those of dir.
func Describe(dir string) Machine {
	return Machine{
		Cores: runtime.GOMAXPROCS(0), CPU: processor(), MemoryGB: int((memory() + 1<<29) >> 30),
		System: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel(), Go: runtime.Version(),
		FileSystem: fileSystem(dir), Disk: disk(dir),
	}
}

// String says it in one line.
func (m *Machine) String() string {
	parts := []string{fmt.Sprintf("%d cores", m.Cores)}
	if m.CPU != "" {
		parts[0] += " (" + m.CPU + ")"
	}
	if m.MemoryGB > 0 {
		parts = append(parts, fmt.Sprintf("%d GB of memory", m.MemoryGB))
	}
	files := "files on " + m.FileSystem
	if m.Disk != "" {
		files += " on " + m.Disk
	}
	return strings.Join(append(parts, m.System, "kernel "+m.Kernel, m.Go, files), ", ")
}

// Durable tells whether a sync reaches a disk at all.
func (m *Machine) Durable() bool { return m.FileSystem != "tmpfs" }
