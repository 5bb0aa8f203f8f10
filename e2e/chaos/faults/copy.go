package faults

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// CopyDatabase copies a database file that nobody has open, and its
// write-ahead log if there is one: that is what a backup by copy consists of.
func CopyDatabase(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		err := copyFile(from+suffix, to+suffix)
		if err != nil && !(suffix != "" && errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("backup by copy: %w", err)
		}
	}
	return nil
}

// MoveDatabase is CopyDatabase, and removes the original with all that lies
// beside it.
func MoveDatabase(from, to string) error {
	if err := CopyDatabase(from, to); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if err := os.Remove(from + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
