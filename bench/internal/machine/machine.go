// Package machine says what a benchmark ran on, and what its processes used.
package machine

import (
	"errors"
	"runtime"
)

// ErrUnknown says that this system does not tell.
var ErrUnknown = errors.New("this system does not tell")

// Machine is what a benchmark ran on.
type Machine struct {
	Cores      int    `json:"cores"`
	System     string `json:"system"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
	FileSystem string `json:"fileSystem"`
}

// Describe describes this machine; the file system is that of dir.
func Describe(dir string) Machine {
	return Machine{
		Cores: runtime.GOMAXPROCS(0), System: runtime.GOOS + "/" + runtime.GOARCH, Kernel: kernel(), Go: runtime.Version(),
		FileSystem: fileSystem(dir),
	}
}

// Durable tells whether a sync reaches a disk at all.
func (m *Machine) Durable() bool { return m.FileSystem != "tmpfs" }
