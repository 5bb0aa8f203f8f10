package embedded

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// copyFile copies a database and its log, as a crash would leave them while
// nothing is written.
func copyFile(t require.TestingT, from, to string) {
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(to+suffix, data, 0o600))
	}
}

// dueStatuses returns the status of each request that is due now, by id.
func dueStatuses(t require.TestingT, s *Store) map[string]store.Status {
	out := map[string]store.Status{}
	for shard := range store.DefaultShards {
		hints, err := s.Due(bg, shard, time.Now(), 10_000)
		require.NoError(t, err)
		for _, h := range hints {
			out[h.ID] = h.Status
		}
	}
	return out
}

// TestUnwrittenRows crashes at random moments between random steps, also after
// rollbacks: exactly the requests that had not ended are found again.
func TestUnwrittenRows(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	// Each crash opens a file, so fewer runs than elsewhere are enough.
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	require.NoError(t, checks.Set("20"))
	defer func() { require.NoError(t, checks.Set(before)) }()
	all, round := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		dir := filepath.Join(all, fmt.Sprint(round))
		require.NoError(rt, os.Mkdir(dir, 0o700))
		path := filepath.Join(dir, "a.db")
		s := openAt(rt, path, &Options{block: 2})
		defer func() { require.NoError(rt, s.Close()) }()
		open := map[string]store.Status{}
		count, crashes := 0, 0
		rt.Repeat(map[string]func(*rapid.T){
			"accept": func(rt *rapid.T) {
				n := newRequest(0)
				n.ID = fmt.Sprint(count)
				count++
				open[n.ID] = store.Queued
				if rapid.Bool().Draw(rt, "claimed") {
					n.Claim, open[n.ID] = &store.Claimant{}, store.Running
				}
				accept(rt, s, n)
			},
			"end": func(rt *rapid.T) {
				if id := drawID(rt, open, store.Running); id != "" {
					finish(rt, s, store.Key{Tenant: "tenant", ID: id}, succeeded)
					delete(open, id)
				}
			},
			"retry": func(rt *rapid.T) {
				if id := drawID(rt, open, store.Running); id != "" {
					finish(rt, s, store.Key{Tenant: "tenant", ID: id}, store.Outcome{Code: "again"})
					open[id] = store.Queued
				}
			},
			"roll back": func(*rapid.T) { require.Error(rt, runFailingOp(s)) },
			"crash": func(rt *rapid.T) {
				to := filepath.Join(dir, fmt.Sprint("crash", crashes, ".db"))
				crashes++
				copyFile(rt, path, to)
				again := openAt(rt, to, nil)
				defer func() { require.NoError(rt, again.Close()) }()
				require.Equal(rt, open, dueStatuses(rt, again))
			},
		})
	})
}

// drawID draws the id of a request in a status; empty if there is none.
func drawID(rt *rapid.T, open map[string]store.Status, in store.Status) string {
	var ids []string
	for id, status := range open {
		if status == in {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(rt, "id")
}

// TestWrittenBelow checks that written_below follows the newest requests, so
// that opening the file does not read it from its beginning.
func TestWrittenBelow(t *testing.T) {
	s := openStore(t, &Options{block: 4})
	var keys []store.Key
	for i := range 100 {
		keys = append(keys, accept(t, s, newClaimed(0)).Key)
		if i%10 != 3 { // the others keep running
			finish(t, s, keys[i], succeeded)
		}
	}
	require.Equal(t, "84", execSQL(t, s, "SELECT value FROM meta WHERE name = 'written_below'"), "four blocks of four lag behind, and the newest")
	require.Equal(t, "0", execSQL(t, s, "SELECT count(*) FROM requests WHERE n < 84 AND n NOT IN (SELECT n FROM states)"))
	require.Less(t, len(s.writer.unwrittenRows.counts), 10)
	finish(t, s, keys[3], succeeded) // its row was written while it ran
}

// TestRolledBackEnds rolls back a transaction with an end: it must not be
// counted twice, and requests that run at the same time are found after a
// crash.
func TestRolledBackEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := openAt(t, path, &Options{block: 4})
	defer func() { require.NoError(t, s.Close()) }()
	var block []store.Key
	for range 3 { // all of the first block
		block = append(block, accept(t, s, newClaimed(0)).Key)
	}
	held := holdWriter(s, func() {
		_, err := s.Finish(bg, firstFence(block[0]), succeeded)
		assert.NoError(t, err)
	})
	held.add(func() { assert.Error(t, runFailingOp(s)) })
	held.release()
	finish(t, s, block[1], succeeded)
	for range 40 {
		finish(t, s, accept(t, s, newClaimed(0)).Key, succeeded)
	}
	to := filepath.Join(t.TempDir(), "b.db")
	copyFile(t, path, to)
	again := openAt(t, to, nil)
	require.Equal(t, map[string]store.Status{block[2].ID: store.Running}, dueStatuses(t, again))
	require.NoError(t, again.Close())
}
