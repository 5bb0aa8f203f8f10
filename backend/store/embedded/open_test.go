package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"zombiezen.com/go/sqlite"
)

func TestFilePragmas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	for range 2 {
		s := openAt(t, path, nil)
		for name, want := range map[string]string{
			"page_size": "4096", "auto_vacuum": "2", "journal_mode": "wal", "synchronous": "2",
			"application_id": "1398035021", "user_version": fmt.Sprint(len(migrations)), "wal_autocheckpoint": "0",
		} {
			require.Equal(t, want, execSQL(t, s, "PRAGMA "+name), name)
		}
		require.NoError(t, s.Close())
	}
	for _, left := range []string{"-wal", "-shm"} {
		require.NoFileExists(t, path+left, "closing folds the log into the file")
	}
}

// createSQLiteFile creates an SQLite file with the given statements.
func createSQLiteFile(t *testing.T, statements ...string) string {
	path := filepath.Join(t.TempDir(), "other.db")
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
	require.NoError(t, err)
	for _, q := range statements {
		mustPragma(t, conn, q)
	}
	require.NoError(t, conn.Close())
	return path
}

func TestForeignFiles(t *testing.T) {
	text := filepath.Join(t.TempDir(), "notes.txt")
	require.NoError(t, os.WriteFile(text, []byte(strings.Repeat("not a database ", 100)), 0o600))
	short := filepath.Join(t.TempDir(), "short.txt")
	require.NoError(t, os.WriteFile(short, []byte("SQLite format 3"), 0o600))
	for name, path := range map[string]string{
		"no SQLite":                text,
		"too short":                short,
		"another application's":    createSQLiteFile(t, "PRAGMA application_id = 42", "CREATE TABLE t (a)"),
		"nobody's, with a table":   createSQLiteFile(t, "CREATE TABLE t (a)"),
		"nobody's, with a version": createSQLiteFile(t, "PRAGMA user_version = 1"),
	} {
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = Open(path, nil)
		require.ErrorIs(t, err, ErrForeign, name)
		require.ErrorContains(t, err, path)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, after, "%s: it was not touched", name)
		if !strings.HasPrefix(name, "nobody's") {
			require.NoFileExists(t, path+".lock", name)
		}
	}
}

func TestNewerFile(t *testing.T) {
	path := createSQLiteFile(t, "PRAGMA application_id = 1398035021", "PRAGMA user_version = 99", "CREATE TABLE t (a)")
	_, err := Open(path, nil)
	require.ErrorIs(t, err, ErrNewer)
	require.ErrorContains(t, err, "99")
}

func TestEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty.db")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, openAt(t, path, nil).Close())
	_, err := Open("", nil)
	require.ErrorContains(t, err, "path")
	_, err = Open(filepath.Join(t.TempDir(), "nowhere", "x.db"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestDamagedFile overwrites each page of a file in turn: Open, or an operation
// that reads the page, must report the damage.
func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	s := openAt(t, path, nil)
	var keys []store.Key
	for range 50 {
		keys = append(keys, accept(t, s, newRequest(0)).Key)
	}
	require.NoError(t, s.Close())
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	refused := 0
	for at := 4096; at < len(whole); at += 4096 {
		damaged := append([]byte{}, whole...)
		copy(damaged[at:at+4096], strings.Repeat("\xff", 4096))
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		s, err := Open(path, nil)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			refused++
			continue
		}
		for _, k := range keys {
			if _, _, err := s.Read(t.Context(), k, 0, 1<<20); err != nil {
				require.ErrorIs(t, err, store.ErrUnavailable)
			}
			if _, err := s.Claim(t.Context(), k, store.Claimant{}); err != nil {
				require.ErrorIs(t, err, store.ErrUnavailable)
			}
		}
		_ = s.Close()
	}
	require.Positive(t, refused)

	for _, content := range [][]byte{append([]byte("SQLite format 3\x00"), make([]byte, 8176)...), whole[:len(whole)/2]} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err = Open(path, nil)
		require.Error(t, err)
	}
}
