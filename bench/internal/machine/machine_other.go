//go:build !linux

package machine

import (
	"os"
	"time"
)

func kernel() string { return "" }

func processor() string { return "" }

func memory() int64 { return 0 }

func fileSystem(string) string { return "" }

func disk(string) string { return "" }

// CPU is told on Linux only.
func CPU(int) (time.Duration, error) { return 0, ErrUnknown }

// Own is told on Linux only.
func Own() (time.Duration, error) { return 0, ErrUnknown }

// Written is told on Linux only.
func Written(string) (int64, error) { return 0, nil }

// RSS is told on Linux only.
func RSS(int) (int64, error) { return 0, ErrUnknown }

// OpenFiles is told on Linux only.
func OpenFiles() (int, error) { return 0, ErrUnknown }

// sync has a file's data written to the disk.
func sync(f *os.File) error { return f.Sync() }
