package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

func TestOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	p := start(t, path)
	p.readLine(t) // it has opened the file

	_, err := Open(path, nil)
	var locked *LockedError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, p.Process.Pid, locked.PID)
	require.ErrorContains(t, err, path)
	require.ErrorContains(t, err, fmt.Sprint("process ", p.Process.Pid))

	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	_, err = Open(link, nil)
	require.ErrorAs(t, err, &locked, "another name for the file is the same file")

	p.kill()
	s := openAt(t, path, nil) // the lock ends with its process
	_, err = Open(path, nil)
	require.ErrorAs(t, err, &locked, "also within one process")
	require.Equal(t, os.Getpid(), locked.PID)
	require.NoError(t, s.Close())
	require.NoError(t, openAt(t, path, nil).Close())
}

// TestKilled repeatedly kills a process that writes, and checks that everything
// that was confirmed is stored.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "streamer.db")
	confirmed := map[string]confirmation{}
	for round := range 10 {
		p := start(t, path)
		for range 200 + 50*round {
			addConfirmed(t, confirmed, p.readLine(t))
		}
		require.NoError(t, p.Process.Kill())
		for p.lines.Scan() {
			addConfirmed(t, confirmed, p.lines.Text())
		}
		_ = p.Wait()
		s := openAt(t, path, nil)
		require.Equal(t, "ok", execSQL(t, s, "PRAGMA integrity_check"))
		for id, c := range confirmed {
			verify(t, s, id, c)
		}
		require.NoError(t, s.Close())
	}
}

// confirmation is what was confirmed of a request.
type confirmation struct {
	seq   uint64
	ended bool
}

func addConfirmed(t *testing.T, confirmed map[string]confirmation, line string) {
	var id string
	var c confirmation
	_, err := fmt.Sscanf(line, "%s %d %t", &id, &c.seq, &c.ended)
	require.NoError(t, err, line)
	confirmed[id] = c
}

func verify(t *testing.T, s *Store, id string, c confirmation) {
	key := store.Key{Tenant: "tenant", ID: id}
	state, events, err := s.Read(t.Context(), key, 0, 1<<20)
	require.NoError(t, err)
	require.GreaterOrEqual(t, state.LastSeq, c.seq)
	require.True(t, state.Status.Ended() || !c.ended)
	at := uint64(0)
	for _, e := range events {
		require.Equal(t, at+1, e.First())
		if e.Kind == store.Chunk {
			require.Equal(t, chunkText(id, e.Seq), string(e.Data))
		}
		at = e.Seq
	}
	require.Equal(t, state.LastSeq, at)
	if state.Status.Ended() {
		require.Equal(t, id, string(events[len(events)-1].Data))
		return
	}
	work, err := s.Claim(t.Context(), key, store.Claimant{Quarantine: true})
	require.NoError(t, err, "what ran is free to be taken over")
	require.Equal(t, string(account), string(work.Input))
	require.GreaterOrEqual(t, work.State.CrashCount, 1)
	if c.seq > 1 {
		require.Equal(t, id, string(work.Checkpoint))
		require.GreaterOrEqual(t, work.State.Keep, c.seq)
	}
}
