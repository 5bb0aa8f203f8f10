package faults

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Volume is a small file system of its own, in memory, which can be filled.
type Volume struct{ dir string }

// NewVolume mounts a volume of so many bytes at dir, which it makes. Not
// everybody may.
func NewVolume(dir string, size int64) (*Volume, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := mount(dir, size); err != nil {
		return nil, errors.Join(fmt.Errorf("a small file system cannot be mounted: %w", err), os.Remove(dir))
	}
	return &Volume{dir}, nil
}

// CanMount tells whether volumes can be had, by making one in dir.
func CanMount(dir string) error {
	v, err := NewVolume(filepath.Join(dir, "volume"), 1<<20)
	if err != nil {
		return err
	}
	return v.Close()
}

// Dir is where the volume is mounted.
func (v *Volume) Dir() string { return v.dir }

func (v *Volume) ballast() string { return filepath.Join(v.dir, "ballast") }

// Fill takes all the room that is left.
func (v *Volume) Fill() error {
	f, err := os.OpenFile(v.ballast(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 256<<10)
	for len(block) > 0 {
		if _, err = f.Write(block); err != nil {
			block = block[:len(block)/2] // the last bytes, too
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, io.ErrShortWrite) {
		err = nil
	}
	return errors.Join(err, f.Close())
}

// Empty gives back what Fill took.
func (v *Volume) Empty() error {
	err := os.Remove(v.ballast())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Close unmounts the volume. What was on it is gone.
func (v *Volume) Close() error {
	if err := unmount(v.dir); err != nil {
		return fmt.Errorf("%s cannot be unmounted: %w", v.dir, err)
	}
	return os.Remove(v.dir)
}
