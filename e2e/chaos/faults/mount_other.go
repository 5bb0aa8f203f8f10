//go:build !linux

package faults

import "errors"

var errMount = errors.New("only Linux is known to do this")

func mount(string, int64) error { return errMount }

func unmount(string) error { return errMount }
