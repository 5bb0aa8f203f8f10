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
	t.Helper()
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
	_, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	ask := func(conn *sqlite.Conn, query string) string {
		t.Helper()
		text, err := pragma(conn, query)
		require.NoError(t, err)
		return text
	}
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
	_, err := pragma(conn, "CREATE TABLE things (data BLOB)")
	require.NoError(t, err)
	for range 500 { // of two or three pages each
		_, err := pragma(conn, "INSERT INTO things VALUES (randomblob(3000))")
		require.NoError(t, err)
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		sizes[info.Size()]++
	}
	require.Less(t, len(sizes), 9, "it seldom grew")
	for size := range sizes {
		require.LessOrEqual(t, size, int64(16<<20))
	}
	_, err = pragma(conn, "PRAGMA wal_checkpoint(TRUNCATE)")
	require.NoError(t, err)
	_, err = pragma(conn, "INSERT INTO things VALUES (1)")
	require.NoError(t, err)
	info, err := os.Stat(path + "-wal")
	require.NoError(t, err)
	require.Equal(t, int64(growMin), info.Size(), "a truncated log grows again")
}

// TestLogErrors makes the operating system refuse the collected data.
func TestLogErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	conn := openRaw(t, path)
	_, err := pragma(conn, "CREATE TABLE things (data BLOB)")
	require.NoError(t, err)
	var log *logFile
	vfs.logs.Range(func(_, v any) bool {
		name, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", v.(*logFile).fd))
		if strings.HasPrefix(name, path) {
			log = v.(*logFile)
		}
		return log == nil
	})
	require.NotNil(t, log, "the log is opened through this file system")
	fd := log.fd
	log.fd = -1
	_, err = pragma(conn, "INSERT INTO things VALUES (1)")
	require.Equal(t, sqlite.ResultIOErrWrite, sqlite.ErrCode(err))
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { require.NoError(t, full.Close()) }()
	log.fd = int(full.Fd())
	_, err = pragma(conn, "INSERT INTO things VALUES (1)")
	require.Equal(t, sqlite.ResultFull, sqlite.ErrCode(err))
	log.fd = fd
	_, err = pragma(conn, "INSERT INTO things VALUES (2)")
	require.NoError(t, err)
	text, err := pragma(conn, "SELECT group_concat(data) FROM things")
	require.NoError(t, err)
	require.Equal(t, "2", text)
}
