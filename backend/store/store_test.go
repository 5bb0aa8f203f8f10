package store_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestShards(t *testing.T) {
	// The shard of a key is stored: it must never change.
	for key, want := range map[store.Key]int{
		{}: 15, {Tenant: "tenant", ID: "0190a1b2-0000-7000-8000-000000000000"}: 4, {Tenant: "a", ID: "b"}: 2,
	} {
		require.Equal(t, want, store.ShardOf(key, store.DefaultShards), "%+v", key)
	}
	for _, shards := range []int{1, 3, store.DefaultShards, 64} {
		counts := make([]int, shards)
		for i := range 100 * shards {
			counts[store.ShardOf(store.Key{Tenant: "t", ID: fmt.Sprint(i)}, shards)]++
		}
		for shard, n := range counts {
			require.InDelta(t, 100, n, 60, "shard %d of %d", shard, shards)
		}
	}
}

func TestHash(t *testing.T) {
	require.NotEqual(t, store.Hash("a", []byte("bc")), store.Hash("ab", []byte("c")))
	require.Equal(t, store.Hash("a", nil), store.Hash("a", []byte{}))
}

func TestIDTime(t *testing.T) {
	u, err := uuid.NewV7()
	require.NoError(t, err)
	got, ok := store.IDTime(u.String())
	require.True(t, ok)
	sec, nsec := u.Time().UnixTime()
	require.Equal(t, time.Unix(sec, nsec).UnixMilli(), got.UnixMilli())
	for _, bad := range []string{
		"", "x", u.String()[1:], uuid.NewString(), strings.ToUpper(u.String()[:12]) + "G" + u.String()[13:],
		strings.ReplaceAll(u.String(), "-", "0"),
	} {
		_, ok := store.IDTime(bad)
		require.False(t, ok, bad)
	}
	now := got.Add(store.CancelRetention)
	require.True(t, store.CancelRetained(u.String(), now))
	require.False(t, store.CancelRetained(u.String(), now.Add(time.Millisecond)))
	require.True(t, store.CancelRetained(u.String(), got.Add(-store.CancelRetention)))
	require.False(t, store.CancelRetained(u.String(), got.Add(-store.CancelRetention-time.Millisecond)))
}

func TestCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := store.Position{Time: time.UnixMilli(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "ms")), ID: rapid.String().Draw(t, "id")}
		filter := rapid.SliceOf(rapid.String()).Draw(t, "filter")
		got, err := store.ParseCursor(store.Cursor(p, filter...), filter...)
		require.NoError(t, err)
		require.Equal(t, p, got)
		_, err = store.ParseCursor(store.Cursor(p, filter...), append(filter, "more")...)
		require.ErrorIs(t, err, store.ErrCursor)
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("AAAA")
	f.Add(store.Cursor(store.Position{Time: time.UnixMilli(1), ID: "x"}, "filter"))
	f.Fuzz(func(t *testing.T, cursor string) {
		p, err := store.ParseCursor(cursor, "filter")
		if err != nil {
			if !errors.Is(err, store.ErrCursor) {
				t.Fatal(err)
			}
			return
		}
		again, err := base64.RawURLEncoding.DecodeString(store.Cursor(p, "filter"))
		first, _ := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || string(again) != string(first) {
			t.Fatalf("%q became %q", first, again)
		}
	})
}

func drawEvents(t *rapid.T) []store.Event {
	number := rapid.Uint64Range(0, 1<<62)
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) store.Event {
		e := store.Event{Seq: number.Draw(t, "seq"), Attempt: rapid.IntRange(0, 1<<30).Draw(t, "attempt")}
		if rapid.Bool().Draw(t, "mark") {
			e.Kind, e.Keep, e.From = store.Attempt, number.Draw(t, "keep"), number.Draw(t, "from")
			e.Code = rapid.String().Draw(t, "code")
		} else {
			e.Kind, e.Data = store.Chunk, append([]byte{}, rapid.SliceOf(rapid.Byte()).Draw(t, "data")...)
		}
		return e
	})).Draw(t, "events")
}

func TestEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := drawEvents(t)
		b := store.AppendEvents(nil, events)
		got, err := store.DecodeEvents(b)
		require.NoError(t, err)
		require.Equal(t, len(events), len(got))
		for i := range events {
			require.Equal(t, events[i], got[i])
		}
		if len(b) > 0 {
			cut, err := store.DecodeEvents(b[:len(b)-1])
			require.True(t, err != nil || len(cut) < len(events), "a cut segment is not whole")
		}
	})
}

func FuzzDecodeEvents(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{2, 1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add(store.AppendEvents(nil, []store.Event{
		{Kind: store.Attempt, Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: "worker_lost"}, {Kind: store.Chunk, Seq: 5, Attempt: 2, Data: []byte("x")},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, err := store.DecodeEvents(b)
		if err != nil {
			return
		}
		again, err := store.DecodeEvents(store.AppendEvents(nil, events))
		if err != nil || !reflect.DeepEqual(events, again) {
			t.Fatalf("%v became %v: %v", events, again, err)
		}
	})
}

func TestPages(t *testing.T) {
	for limit, want := range map[int]int{-1: 50, 0: 50, 1: 1, 100: 100, 101: 100} {
		require.Equal(t, want, store.PageSize(limit, 50, 100))
	}
	p := store.NewEventPage(3)
	require.True(t, p.Add(store.Event{Data: []byte("12345")}), "the first always fits")
	require.False(t, p.Add(store.Event{Data: []byte("1")}))
	p = store.NewEventPage(3)
	for range store.PageEvents {
		require.True(t, p.Add(store.Event{}))
	}
	require.False(t, p.Add(store.Event{}))
	require.Len(t, p.Events, store.PageEvents)
}

func TestClosedIsUnavailable(t *testing.T) {
	require.ErrorIs(t, store.ErrClosed, store.ErrUnavailable)
	require.NotErrorIs(t, store.ErrUnavailable, store.ErrClosed)
}

// TestStatesAreValues checks that transitions do not change the state that they
// are applied to.
func TestStatesAreValues(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	after, progress := time.Minute, &store.Progress{Attempt: 1, Rev: 1}
	n := &store.Request{Deadline: now.Add(time.Hour), CancelAfter: &after, Progress: progress, Claim: &store.Claimant{}}
	s := store.NewState(n, now, false)
	*n.CancelAfter, n.Progress.Rev = 0, 9
	require.Equal(t, time.Minute, *s.CancelAfter)
	require.Equal(t, uint64(1), s.Progress.Rev)
	second, err := s.Claim(store.Claimant{}, now, false)
	require.NoError(t, err)
	mark := *second.AttemptMark
	third, err := second.Claim(store.Claimant{Quarantine: true}, now, false)
	require.NoError(t, err)
	require.Equal(t, mark, *second.AttemptMark)
	require.Equal(t, uint64(1), s.Progress.Rev)
	report := &store.Report{Progress: &store.Progress{Attempt: 3, Rev: 1}}
	next, _, err := third.Record(third.Fence, report)
	require.NoError(t, err)
	report.Progress.Rev = 9
	require.Equal(t, uint64(1), next.Progress.Rev)
	require.Nil(t, third.Progress)
}

// TestCheckAt checks when the engine must look at a request.
func TestCheckAt(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1_700_000_000+int64(s), 0) }
	s := store.State{Status: store.Queued, Due: at(5)}
	require.Equal(t, at(5), s.CheckAt())
	s.UnsubscribedAt = at(0)
	require.Zero(t, s.CancelAt(), "it has no CancelAfter")
	s.CancelAfter = new(3 * time.Second)
	require.Equal(t, at(3), s.CancelAt())
	require.Equal(t, at(3), s.CheckAt())
	s.Due = at(2)
	require.Equal(t, at(2), s.CheckAt())
	s.Status, s.Due = store.Running, time.Time{}
	require.Equal(t, at(3), s.CheckAt())
	require.Equal(t, at(3), s.Hint().Due)
	require.Equal(t, at(3), s.Hint().CancelAt)
	s.CancelRequested = true
	require.Zero(t, s.CancelAt())
	require.Zero(t, s.CheckAt())
	s.CancelRequested, s.Status = false, store.Succeeded
	require.Zero(t, s.CheckAt())
	s.Status, s.UnsubscribedAt, s.Due = store.Queued, time.Time{}, at(2)
	require.Zero(t, s.CancelAt(), "a connection follows it")
	require.Equal(t, at(2), s.CheckAt())
}

// TestEmptyReport checks that each field of a report counts.
func TestEmptyReport(t *testing.T) {
	require.True(t, (&store.Report{}).Empty())
	for _, r := range []store.Report{
		{Segment: &store.Segment{}}, {Checkpoint: []byte{}}, {Progress: &store.Progress{}}, {ClearConnection: true},
	} {
		require.False(t, r.Empty())
	}
}

// TestExpired checks that a request expires exactly at the end of its
// retention.
func TestExpired(t *testing.T) {
	ended := time.UnixMilli(1_700_000_000_000)
	s := store.State{Status: store.Failed, Ended: ended}
	require.False(t, s.Expired(ended.Add(time.Hour-1), time.Hour))
	require.True(t, s.Expired(ended.Add(time.Hour), time.Hour))
	s.Status = store.Running
	require.False(t, s.Expired(ended.Add(time.Hour), time.Hour))
}
