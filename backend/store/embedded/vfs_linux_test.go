package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"zombiezen.com/go/sqlite"
)

// openRaw opens a connection with a cache so small that transactions spill into
// the log before they are committed.
func openRaw(t *testing.T, path string) *sqlite.Conn {
	conn, err := connect(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	require.NoError(t, err)
	require.NoError(t, configure(conn, "10"))
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// TestGather writes transactions that are larger than the cache, and reads data
// that is not in the file yet. Other connections see it only after the commit.
func TestGather(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?%23#.db") // names are escaped
	ours, other := openRaw(t, path), openRaw(t, path)
	require.FileExists(t, path+"-wal")
	ask := func(conn *sqlite.Conn, query string) string { return mustPragma(t, conn, query) }
	ask(ours, "CREATE TABLE things (n INTEGER PRIMARY KEY, data BLOB)")
	for round, end := range []string{"COMMIT", "ROLLBACK", "COMMIT"} {
		before := ask(other, "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM things")
		ask(ours, "BEGIN IMMEDIATE")
		for i := range 800 { // 2.4 MiB, more than is collected at once
			ask(ours, fmt.Sprintf("INSERT INTO things VALUES (%d, randomblob(3000))", round*1000+i))
			if i%50 == 0 {
				ask(ours, fmt.Sprintf("UPDATE things SET data = zeroblob(3001) WHERE n = %d", round*1000+i/2))
			}
		}
		require.Equal(t, "ok", ask(ours, "PRAGMA integrity_check"), "it reads what it has written")
		after := ask(ours, "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM things")
		require.Equal(t, before, ask(other, "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM things"))
		ask(ours, end)
		if end == "ROLLBACK" {
			after = before
		}
		require.Equal(t, after, ask(other, "SELECT count(*) || ' ' || coalesce(sum(n), 0) FROM things"))
		require.Equal(t, "ok", ask(other, "PRAGMA integrity_check"))
	}
	// The state after a crash.
	to := filepath.Join(t.TempDir(), "copy.db")
	copyFile(t, path, to)
	require.Equal(t, "1600", ask(openRaw(t, to), "SELECT count(*) FROM things"))
}

// TestLogGrowsAhead checks that commits overwrite existing bytes.
func TestLogGrowsAhead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	conn := openRaw(t, path)
	sizes := map[int64]int{}
	mustPragma(t, conn, "CREATE TABLE things (data BLOB)")
	for range 500 { // of two or three pages each
		mustPragma(t, conn, "INSERT INTO things VALUES (randomblob(3000))")
		sizes[fileSize(t, path+"-wal")]++
	}
	require.Less(t, len(sizes), 9, "it seldom grew")
	for size := range sizes {
		require.LessOrEqual(t, size, int64(16<<20))
	}
	mustPragma(t, conn, "PRAGMA wal_checkpoint(TRUNCATE)")
	mustPragma(t, conn, "INSERT INTO things VALUES (1)")
	require.Equal(t, int64(growMin), fileSize(t, path+"-wal"), "a truncated log grows again")
}

// TestLogErrors makes the operating system refuse the collected data.
func TestLogErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	conn := openRaw(t, path)
	mustPragma(t, conn, "CREATE TABLE things (data BLOB)")
	var log *logFile
	vfs.logs.Range(func(_, v any) bool {
		name, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", v.(*logFile).fd))
		if strings.HasPrefix(name, path) {
			log = v.(*logFile)
		}
		return log == nil
	})
	require.NotNil(t, log, "the log is opened through this file system")
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, full.Close()) }()
	fd := log.fd
	for broken, want := range map[int]sqlite.ResultCode{-1: sqlite.ResultIOErrWrite, int(full.Fd()): sqlite.ResultFull} {
		log.fd = broken
		_, err = pragma(conn, "INSERT INTO things VALUES (1)")
		require.Equal(t, want, sqlite.ErrCode(err))
	}
	log.fd = fd
	mustPragma(t, conn, "INSERT INTO things VALUES (2)")
	require.Equal(t, "2", mustPragma(t, conn, "SELECT group_concat(data) FROM things"))
}
