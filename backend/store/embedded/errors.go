package embedded

import (
	"errors"
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
)

// Errors of Open. Compare with errors.Is.
var (
	// ErrForeign: the file is not a Streamer database. It was not touched.
	ErrForeign = errors.New("not a Streamer database")
	// ErrNewer: the file was written by a newer version of Streamer.
	ErrNewer = errors.New("the database is of a newer version")
	// ErrCorrupt: the file is damaged.
	ErrCorrupt = errors.New("the database is damaged")
	// ErrReadOnly: the file or its directory cannot be written.
	ErrReadOnly = errors.New("the database cannot be written")
)

// LockedError reports that another process, or this one, owns the file.
type LockedError struct {
	// Path is the database file.
	Path string
	// PID is the owner's process id; 0 if it is not known.
	PID int
}

func (e *LockedError) Error() string {
	owner := "another process"
	if e.PID != 0 {
		owner = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("%s is in use by %s: a database file has one owner", e.Path, owner)
}

// asFailure makes an error of SQLite during an operation match
// store.ErrUnavailable; nil stays nil.
func asFailure(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// openError adds the file and the matching error of this package to an error of
// SQLite that occurred while the file was opened.
func openError(path string, err error) error {
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB:
		return fmt.Errorf("%s: %w: %w", path, ErrForeign, err)
	case sqlite.ResultCorrupt:
		return fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	case sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultPerm, sqlite.ResultAuth:
		return fmt.Errorf("%s: %w: %w", path, ErrReadOnly, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
