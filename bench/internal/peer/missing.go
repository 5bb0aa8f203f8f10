package peer

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// MissingError says that a server's program is not on this machine, or cannot
// run here.
type MissingError struct {
	// Program is its name.
	Program string
	// Reason is why it cannot run; nil: it is not installed.
	Reason error
}

// Error names the program and what would help.
func (e *MissingError) Error() string {
	if e.Reason != nil {
		return fmt.Sprintf("%s cannot run here: %v", e.Program, e.Reason)
	}
	return e.Program + " is not installed; where it may, make bench-tools installs it"
}

// Unwrap returns the reason.
func (e *MissingError) Unwrap() error { return e.Reason }

// programs are what kinds start, and where Debian puts those that are not in
// the path.
var programs = map[Kind]struct{ name, elsewhere string }{
	Postgres: {"postgres", "/usr/lib/postgresql/*/bin/postgres"},
	Redis:    {"redis-server", "/usr/bin/redis-server"},
}

// find finds the program that a kind starts.
func (s *settings) find() error {
	program, needed := programs[s.Kind]
	if !needed {
		return nil
	}
	// Of several PostgreSQLs the newest; those beside it must be of one version.
	found, _ := filepath.Glob(program.elsewhere)
	slices.Sort(found)
	if len(found) > 0 {
		s.Program = found[len(found)-1]
	} else {
		path, err := exec.LookPath(program.name)
		if err != nil {
			return &MissingError{Program: program.name}
		}
		if s.Program, err = filepath.EvalSymlinks(path); err != nil {
			return &MissingError{Program: program.name, Reason: err}
		}
	}
	if s.Kind == Postgres && os.Geteuid() == 0 {
		if err := reachable(s.Dir); err != nil {
			return &MissingError{Program: program.name, Reason: err}
		}
	}
	return nil
}

// reachable returns an error if other users may not go to a directory: one
// that is not root has to.
func reachable(dir string) error {
	for at := filepath.Dir(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		if info.Mode()&1 == 0 {
			return errors.New("it refuses root, and other users may not go through a folder above its data; -dir names another place")
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}
