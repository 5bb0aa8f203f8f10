package embedded

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// bg is the context of properties, which have none of their own.
var bg = context.Background()

// copyFile copies a database and its log, as a crash would leave them while
// nothing is written.
func copyFile(t require.TestingT, from, to string) {
	for _, suffix := range []string{"", "-wal"} {
		in, err := os.Open(from + suffix)
		require.NoError(t, err)
		out, err := os.Create(to + suffix)
		require.NoError(t, err)
		_, err = io.Copy(out, in)
		require.NoError(t, err)
		require.NoError(t, in.Close())
		require.NoError(t, out.Close())
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
		s, err := Open(path, &Options{block: 2})
		require.NoError(rt, err)
		defer func() { require.NoError(rt, s.Close()) }()
		open := map[string]store.Status{}
		count, crashes := 0, 0
		finish := func(id string, o store.Outcome) {
			_, err := s.Finish(bg, store.Fence{Key: store.Key{Tenant: "t", ID: id}, Fence: 1}, o)
			require.NoError(rt, err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"accept": func(rt *rapid.T) {
				n := store.Request{Key: store.Key{Tenant: "t", ID: fmt.Sprint(count)}, Action: "a", Deadline: time.Now().Add(time.Hour)}
				count++
				open[n.ID] = store.Queued
				if rapid.Bool().Draw(rt, "claimed") {
					n.Claim, open[n.ID] = &store.Claimant{}, store.Running
				}
				_, err := s.Accept(bg, n)
				require.NoError(rt, err)
			},
			"end": func(rt *rapid.T) {
				if id := drawID(rt, open, store.Running); id != "" {
					finish(id, store.Outcome{End: &store.End{Status: store.Succeeded}})
					delete(open, id)
				}
			},
			"retry": func(rt *rapid.T) {
				if id := drawID(rt, open, store.Running); id != "" {
					finish(id, store.Outcome{Code: "again"})
					open[id] = store.Queued
				}
			},
			"roll back": func(*rapid.T) { require.Error(rt, s.RunFailingOp(bg)) },
			"crash": func(rt *rapid.T) {
				to := filepath.Join(dir, fmt.Sprint("crash", crashes, ".db"))
				crashes++
				copyFile(rt, path, to)
				again, err := Open(to, nil)
				require.NoError(rt, err)
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
	s, err := Open(filepath.Join(t.TempDir(), "a.db"), &Options{block: 4})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for i := range 100 {
		n := store.Request{Key: store.Key{Tenant: "t", ID: fmt.Sprint(i)}, Deadline: time.Now().Add(time.Hour), Claim: &store.Claimant{}}
		_, err := s.Accept(t.Context(), n)
		require.NoError(t, err)
		if i%10 == 3 {
			continue // it keeps running
		}
		_, err = s.Finish(t.Context(), store.Fence{Key: n.Key, Fence: 1}, store.Outcome{End: &store.End{Status: store.Succeeded}})
		require.NoError(t, err)
	}
	text, err := s.ExecSQL("SELECT value FROM meta WHERE name = 'written_below'")
	require.NoError(t, err)
	require.Equal(t, "84", text, "four blocks of four lag behind, and the newest")
	text, err = s.ExecSQL("SELECT count(*) FROM requests WHERE n < 84 AND n NOT IN (SELECT n FROM states)")
	require.NoError(t, err)
	require.Equal(t, "0", text)
	require.Less(t, len(s.writer.unwrittenRows.counts), 10)
	_, err = s.Finish(t.Context(), store.Fence{Key: store.Key{Tenant: "t", ID: "3"}, Fence: 1},
		store.Outcome{End: &store.End{Status: store.Succeeded}})
	require.NoError(t, err, "a request whose row was written while it ran ends like any other")
}

// TestRolledBackEnds rolls back a transaction with an end: it must not be
// counted twice, and requests that run at the same time are found after a
// crash.
func TestRolledBackEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := Open(path, &Options{block: 4})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	accept := func(id string) {
		_, err := s.Accept(t.Context(), store.Request{
			Key: store.Key{Tenant: "t", ID: id}, Deadline: time.Now().Add(time.Hour), Claim: &store.Claimant{},
		})
		require.NoError(t, err)
	}
	finish := func(id string) {
		_, err := s.Finish(bg, store.Fence{Key: store.Key{Tenant: "t", ID: id}, Fence: 1}, store.Outcome{End: &store.End{Status: store.Succeeded}})
		assert.NoError(t, err)
	}
	for _, id := range []string{"a", "b", "c"} { // all of the first block
		accept(id)
	}
	took := s.TakenCount()
	release := s.HoldWriter()
	var wg sync.WaitGroup
	wg.Go(func() { finish("a") })
	s.AwaitTaken(took)
	wg.Go(func() { assert.Error(t, s.RunFailingOp(bg)) })
	s.AwaitWaiting(1)
	release()
	wg.Wait()
	finish("b")
	for i := range 40 {
		accept(fmt.Sprint(i))
		finish(fmt.Sprint(i))
	}
	to := filepath.Join(t.TempDir(), "b.db")
	copyFile(t, path, to)
	again, err := Open(to, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]store.Status{"c": store.Running}, dueStatuses(t, again))
	require.NoError(t, again.Close())
}
