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

	"github.com/pay-theory/streamer/backend/store"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks a database file as Streamer's: "STRM".
const applicationID = 0x5354524d

// pageSize is for new files. With 8 KiB pages, transactions of few operations
// write nearly twice as many bytes, and BenchmarkAcceptFinish/64 was a quarter
// slower.
const pageSize = 4096

// busyTimeout bounds waits for SQLite's own locks. They are held for moments:
// nobody else has the file open.
const busyTimeout = 5 * time.Second

//go:embed schema.sql
var schema string

// migrations bring a file from version i to i+1. Those that were released are
// never changed.
var migrations = []string{schema}

// locate returns the one path of a file that may be reached by several.
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

// inspect refuses a file that is plainly not ours before anything beside it is
// made or touched. Source: SQLite, "Database File Format", section 1.3.
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
	// Zero may be a file of ours whose first transaction is still in its log.
	if id := binary.BigEndian.Uint32(header[68:]); id != 0 && id != applicationID {
		return fmt.Errorf("%s: %w: its application id is %#x", path, ErrForeign, id)
	}
	return nil
}

// open opens all connections and prepares the file.
func (s *Store) open() error {
	if err := createPrivate(s.path); err != nil {
		return err
	}
	conn, err := sqlite.OpenConn(s.path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		return err
	}
	conn.SetBusyTimeout(busyTimeout)
	s.writer = &writer{store: s, conn: conn, cache: cache{}}
	if err := prepareFile(conn); err != nil {
		return err
	}
	if err := s.begin(conn); err != nil {
		return err
	}
	if err := s.seen.fill(conn); err != nil {
		return err
	}
	if err := s.writer.prepare(); err != nil {
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

// createPrivate makes an empty file that only its owner may read, if there is
// none: it will hold payloads. SQLite gives its other files the same mode.
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

// release closes all connections and gives the lock back. The writer's comes
// last: its closing folds the write-ahead log into the file.
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

// prepareFile passes SQLite's one-way doors if the file is new, refuses what
// is not ours, and brings it up to date.
func prepareFile(conn *sqlite.Conn) error {
	id, version, tables, err := identify(conn)
	switch {
	case err != nil:
		return err
	case id == 0 && version == 0 && tables == 0:
		for _, q := range []string{"PRAGMA page_size = " + strconv.Itoa(pageSize), "PRAGMA auto_vacuum = INCREMENTAL"} {
			if err := execute(conn, q); err != nil {
				return err
			}
		}
	case id != applicationID:
		return fmt.Errorf("%w: its application id is %#x", ErrForeign, id)
	case version > len(migrations):
		return fmt.Errorf("%w: %d; this program knows version %d", ErrNewer, version, len(migrations))
	}
	if err := configure(conn, "-32768"); err != nil {
		return err
	}
	if err := migrate(conn, version); err != nil {
		return err
	}
	return assertPragma(conn, "auto_vacuum", "2")
}

// identify reads whose file it is.
func identify(conn *sqlite.Conn) (id, version, tables int, err error) {
	for query, out := range map[string]*int{
		"PRAGMA application_id": &id, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		text, err := pragma(conn, query)
		if err != nil {
			return 0, 0, 0, err
		}
		if *out, err = strconv.Atoi(text); err != nil {
			return 0, 0, 0, err
		}
	}
	return id, version, tables, nil
}

// configure sets what holds for one connection, and reads back what durability
// rests on. Cache is in KiB, negative.
func configure(conn *sqlite.Conn, cache string) error {
	for _, q := range []string{
		"PRAGMA journal_mode = WAL",
		"PRAGMA synchronous = FULL",
		"PRAGMA wal_autocheckpoint = 0",
		"PRAGMA journal_size_limit = " + strconv.Itoa(walLimit),
		"PRAGMA temp_store = MEMORY",
		"PRAGMA cache_size = " + cache,
	} {
		if err := execute(conn, q); err != nil {
			return err
		}
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

// migrate runs what the file lacks, each step in a transaction with its mark.
func migrate(conn *sqlite.Conn, version int) error {
	for ; version < len(migrations); version++ {
		err := transact(conn, func() error {
			if err := sqlitex.ExecuteScript(conn, migrations[version], nil); err != nil {
				return err
			}
			if err := execute(conn, "PRAGMA application_id = "+strconv.Itoa(applicationID)); err != nil {
				return err
			}
			return execute(conn, "PRAGMA user_version = "+strconv.Itoa(version+1))
		})
		if err != nil {
			return fmt.Errorf("migration to version %d: %w", version+1, err)
		}
	}
	return nil
}

// begin raises the incarnation, which voids all leases: what runs is due now.
func (s *Store) begin(conn *sqlite.Conn) error {
	return transact(conn, func() error {
		text, err := pragma(conn, "UPDATE meta SET value = value + 1 WHERE name = 'incarnation' RETURNING value")
		if err != nil {
			return err
		}
		if s.incarnation, err = strconv.ParseInt(text, 10, 64); err != nil {
			return fmt.Errorf("%w: it has no incarnation", ErrCorrupt)
		}
		stmt, err := conn.Prepare("UPDATE requests SET due = ? WHERE shard = ? AND due = ?")
		if err != nil {
			return err
		}
		now := s.opt.Now().UnixMilli()
		for shard := range store.Shards {
			bind(stmt).int(now).int(int64(shard)).int(never)
			if err := run(stmt); err != nil {
				return err
			}
		}
		return nil
	})
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
