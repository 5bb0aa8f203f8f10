package embedded

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks a database file as one of Streamer: "STRM".
const applicationID = 0x5354524d

// pageSize is the page size of new files. Pages of 8 KiB make nothing faster,
// and single commits write nearly twice as many bytes.
const pageSize = 4096

// busyTimeout bounds waits for SQLite's own locks. They are held only briefly,
// because nobody else has the file open.
const busyTimeout = 5 * time.Second

//go:embed schema.sql
var schema string

// migrations bring a file from version i to i+1. Released migrations are never
// changed.
var migrations = []string{schema}

// locate returns the canonical path of a file.
func locate(path string) (string, error) {
	if path == "" {
		return "", errors.New("the database needs a path")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("%s: the directory of the database: %w", path, err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// inspect refuses a file that is clearly not a Streamer database before any
// file beside it is created or changed. Source: SQLite, "Database File Format",
// section 1.3.
func inspect(path string) error {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: %w", path, ErrReadOnly, err)
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = f.Close() }()
	header := make([]byte, 100)
	switch n, err := io.ReadFull(f, header); {
	case n == 0 && errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(header[:16]) != "SQLite format 3\x00":
		return fmt.Errorf("%s: %w: it is no SQLite file", path, ErrForeign)
	case err != nil:
		return fmt.Errorf("%s: %w", path, err)
	}
	// Zero can be a Streamer file whose first transaction is still in its log.
	if id := binary.BigEndian.Uint32(header[68:]); id != 0 && id != applicationID {
		return fmt.Errorf("%s: %w: its application id is %#x", path, ErrForeign, id)
	}
	return nil
}

// openConnections opens all connections and prepares the file.
func (s *Store) openConnections() error {
	if err := createPrivate(s.path); err != nil {
		return err
	}
	conn, err := connect(s.path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return err
	}
	conn.SetBusyTimeout(busyTimeout)
	s.writer = &writer{store: s, conn: conn, cache: cache{}}
	if err := prepareFile(conn); err != nil {
		return err
	}
	if err := s.writer.prepare(); err != nil {
		return err
	}
	if err := s.begin(s.writer); err != nil {
		return err
	}
	// An upper bound of the number of requests, because n counts up.
	oldest, err := queryInt(conn, "SELECT coalesce(min(n), 0) FROM requests")
	if err != nil {
		return err
	}
	s.idFilter = newIDFilter(s.writer.next - oldest)
	if err := s.idFilter.loadKeys(conn); err != nil {
		return err
	}
	if s.checkpointer, err = newCheckpointer(s); err != nil {
		return err
	}
	s.writer.others = append(s.writer.others, s.checkpointer.conn)
	s.readers = make(chan *reader, max(2, runtime.GOMAXPROCS(0)))
	for range cap(s.readers) {
		r, err := newReader(s)
		if err != nil {
			return err
		}
		s.writer.others = append(s.writer.others, r.conn)
		s.readers <- r
	}
	return nil
}

// connect opens a connection to a file.
func connect(path string, flags ...sqlite.OpenFlags) (*sqlite.Conn, error) {
	name, err := location(path)
	if err != nil {
		return nil, err
	}
	return sqlite.OpenConn(name, append(flags, sqlite.OpenURI)...)
}

// createPrivate creates an empty file that only its owner may read, if there is
// none, because it will hold payloads. SQLite gives its other files the same
// mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return f.Close()
}

// release closes all connections and releases the lock. The writer's connection
// is the last: closing it copies the write-ahead log into the file.
func (s *Store) release() error {
	var errs []error
	if w := s.writer; w != nil {
		for _, conn := range w.others {
			errs = append(errs, conn.Close())
		}
		errs = append(errs, w.conn.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// prepareFile sets the pragmas that only a new file accepts, refuses foreign
// files, and runs the migrations.
func prepareFile(conn *sqlite.Conn) error {
	id, version, tables, err := identify(conn)
	switch {
	case err != nil:
		return err
	case id == 0 && version == 0 && tables == 0:
		if err := execute(conn, "PRAGMA page_size = "+strconv.Itoa(pageSize), "PRAGMA auto_vacuum = INCREMENTAL"); err != nil {
			return err
		}
	case id != applicationID:
		return fmt.Errorf("%w: its application id is %#x", ErrForeign, id)
	case version > int64(len(migrations)):
		return fmt.Errorf("%w: %d; this program knows version %d", ErrNewer, version, len(migrations))
	}
	if err := configure(conn, "-32768"); err != nil {
		return err
	}
	if err := migrate(conn, int(version)); err != nil {
		return err
	}
	return assertPragma(conn, "auto_vacuum", "2")
}

// identify reads the pragmas that identify the file.
func identify(conn *sqlite.Conn) (id, version, tables int64, err error) {
	for query, out := range map[string]*int64{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if *out, err = queryInt(conn, query); err != nil {
			return 0, 0, 0, err
		}
	}
	return id, version, tables, nil
}

// configure sets the pragmas of a connection, and verifies those that
// durability depends on. Cache is in KiB, negative.
func configure(conn *sqlite.Conn, cache string) error {
	err := execute(conn,
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA wal_autocheckpoint = 0",
		"PRAGMA journal_size_limit = "+strconv.Itoa(walLimit),
		"PRAGMA temp_store = MEMORY",
		"PRAGMA cache_size = "+cache,
	)
	if err != nil {
		return err
	}
	if err := assertPragma(conn, "journal_mode", "wal"); err != nil {
		return err
	}
	return assertPragma(conn, "synchronous", "2")
}

func assertPragma(conn *sqlite.Conn, name, want string) error {
	got, err := pragma(conn, "PRAGMA "+name)
	if err == nil && got != want {
		err = fmt.Errorf("%s is %q, and must be %q", name, got, want)
	}
	return err
}

// migrate runs the missing migrations, each in a transaction that also sets the
// version.
func migrate(conn *sqlite.Conn, version int) error {
	for ; version < len(migrations); version++ {
		err := transact(conn, func() error {
			if err := sqlitex.ExecuteScript(conn, migrations[version], nil); err != nil {
				return err
			}
			return execute(conn,
				"PRAGMA application_id = "+strconv.Itoa(applicationID), "PRAGMA user_version = "+strconv.Itoa(version+1))
		})
		if err != nil {
			return fmt.Errorf("migration to version %d: %w", version+1, err)
		}
	}
	return nil
}

// begin increments the incarnation, which ends all leases: running requests are
// due now. No connection follows anything.
func (s *Store) begin(w *writer) error {
	return transact(w.conn, func() (err error) {
		s.incarnation, err = queryInt(w.conn, "UPDATE meta SET value = value + 1 WHERE name = 'incarnation' RETURNING value")
		if err != nil {
			return err
		}
		if err := w.resume(); err != nil {
			return err
		}
		now := s.opt.Now()
		if err := w.exec("UPDATE states SET due = ?, run_at = NULL WHERE due IS NOT NULL AND status = 2", now.UnixMilli()); err != nil {
			return err
		}
		return w.unsubscribe(now)
	})
}

// unsubscribe sets UnsubscribedAt where it is zero. For the other requests it
// restores the position in the index, which begin has changed.
func (w *writer) unsubscribe(now time.Time) error {
	stmt, err := prepare(w.conn, `SELECT `+requestColumns+` FROM states s INDEXED BY states_due CROSS JOIN requests r ON r.n = s.n
		WHERE s.due IS NOT NULL AND r.cancel_after IS NOT NULL`)
	if err != nil {
		return err
	}
	found, err := entries(stmt, w.store.incarnation)
	for _, e := range found {
		to := e.state
		if err == nil && to.UnsubscribedAt.IsZero() {
			to, err = to.SetSubscribed(false, now)
		}
		if err == nil {
			err = w.change(change{from: e, to: to, lease: e.lease})
		}
	}
	return err
}

// resume continues the numbering of requests, and writes the missing rows of
// those that were running when the file was open last.
func (w *writer) resume() error {
	last, err := queryInt(w.conn, "SELECT coalesce(max(n), 0) FROM requests")
	if err != nil {
		return err
	}
	writtenBelow, err := queryInt(w.conn, "SELECT value FROM meta WHERE name = 'written_below'")
	if err != nil {
		return err
	}
	w.next = max(last+1, writtenBelow)
	w.unwrittenRows = newUnwrittenRows(w.store.opt.block, w.next)
	if err := w.writeRows(writtenBelow, w.next, w.store.incarnation-1); err != nil {
		return err
	}
	clear(w.unwrittenRows.counts)
	clear(w.cache)
	bindTo(w.setWrittenBelow).int(w.unwrittenRows.writtenBelow)
	return runStatement(w.setWrittenBelow)
}

// transact runs f in a transaction.
func transact(conn *sqlite.Conn, f func() error) error {
	if err := execute(conn, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = execute(conn, "COMMIT")
	}
	if err != nil && !conn.AutocommitEnabled() {
		return errors.Join(err, execute(conn, "ROLLBACK"))
	}
	return err
}
