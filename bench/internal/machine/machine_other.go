//go:build !linux

package machine

import (
	"os"
	"time"
)

func kernel() string { return "" }

func fileSystem(string) string { return "" }

// CPU is told on Linux only.
func CPU(int) (time.Duration, error) { return 0, ErrUnknown }

// RSS is told on Linux only.
func RSS(int) (int64, error) { return 0, ErrUnknown }

// OpenFiles is told on Linux only.
func OpenFiles() (int, error) { return 0, ErrUnknown }

// sync has a file's data written to the disk.
func sync(f *os.File) error { return f.Sync() }
