package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var readCases = []Case{
	{"pages of every size add up to the stream", testPages},
	{"a page holds a bounded number of events", func(r *rig) {
		s := r.accept(claimed)
		for range 3 {
			chunks := make([]string, 500)
			s = r.recordChunks(s, chunks...)
		}
		total := 0
		for _, page := range r.eventPages(s, 0, 1<<20) {
			require.LessOrEqual(r, len(page), store.PageEvents)
			total += len(page)
		}
		require.Equal(r, 1501, total)
	}},
	{"nothing follows the end", func(r *rig) {
		s := r.finish(r.accept(claimed), succeeded(`1`))
		for _, after := range []uint64{2, 3, 1 << 40} {
			require.Empty(r, r.events(s.Key, after), after)
		}
	}},
	{"an unknown request is not found", func(r *rig) {
		r.requireNotFound(store.Key{Tenant: tenant, ID: newID(r.Now())})
	}},
	{"an expired request is not found from that instant", func(r *rig) {
		s := r.finish(r.accept(claimed), succeeded(`1`))
		r.Advance(r.Retention - 1e6)
		r.state(s.Key)
		r.Advance(1e6)
		r.requireNotFound(s.Key)
	}},
	{"sizes at their limits", func(r *rig) {
		big := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
		s := r.accept(func(n *store.Request) { n.Input, n.Metadata = []byte(big(32<<10)), []byte(big(4<<10)) })
		w := r.claim(s.Key)
		require.Equal(r, big(32<<10), string(w.Input))
		require.Equal(r, big(4<<10), string(w.Metadata))
		s = r.recordChunks(w.State, big(64<<10), big(64<<10))
		s = r.record(s, store.Report{
			Segment: segment(s, big(64<<10)), Checkpoint: []byte(big(8 << 10)), CheckpointKeep: 4,
			Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 99.9, Message: big(256)},
		})
		r.crash()
		w = r.claim(s.Key)
		require.Equal(r, big(8<<10), string(w.Checkpoint))
		require.Equal(r, big(32<<10), string(w.Input))
		s = r.finish(w.State, succeeded(big(96<<10)))
		for _, max := range []int{1, 64 << 10, 96 << 10, 200 << 10, 1 << 20} {
			all, sizes := r.eventPages(s, 0, max), ""
			for _, e := range slices.Concat(all...) {
				sizes += fmt.Sprint(len(e.Data)>>10, " ")
			}
			require.Equal(r, "0 64 64 64 0 96 ", sizes, max)
			require.LessOrEqual(r, len(all), 6)
		}
	}},
	{"marks over many attempts", testManyAttempts},
	{"a checkpoint in the middle of a segment cuts it", func(r *rig) {
		s := r.accept(claimed)
		s = r.record(s, store.Report{Segment: segment(s, "a", "b", "c"), Checkpoint: []byte("x"), CheckpointKeep: 2})
		s = r.recordChunks(s, "d")
		r.crash()
		s = r.recordChunks(r.claim(s.Key).State, "e")
		want := "1ack 2:a@1 6mark2[3-6]k2(worker_lost) 7:e@2"
		r.requireEvents(s.Key, 0, want)
		s = r.record(s, store.Report{Segment: segment(s, "f", "g"), Checkpoint: []byte("x"), CheckpointKeep: 8})
		r.crash()
		s = r.recordChunks(r.claim(s.Key).State, "h")
		s = r.finish(s, succeeded(`1`))
		want += " 8:f@2 10mark3[9-10]k8(worker_lost) 11:h@3 12result=1"
		r.requireEvents(s.Key, 0, want)
		for after, first := range map[uint64]string{2: "6mark2", 4: "6mark2", 6: "7:e", 8: "10mark3", 9: "10mark3", 11: "12result"} {
			require.True(r, strings.HasPrefix(format(r.events(s.Key, after)), first), after)
		}
	}},
}

// testPages reads one stream with every page size, from every position.
func testPages(r *rig) {
	s := r.accept(claimed)
	s = r.recordChunks(s, "a", "bb", "")
	s = r.record(s, store.Report{Segment: segment(s, "ccc"), Checkpoint: []byte("x"), CheckpointKeep: 5})
	s = r.recordChunks(s, "void", "void")
	r.crash()
	s = r.recordChunks(r.claim(s.Key).State, "dddd", "e")
	s = r.finish(s, succeeded(`"fffff"`))
	all := r.events(s.Key, 0)
	require.Equal(r, `1ack 2:a@1 3:bb@1 4:@1 5:ccc@1 8mark2[6-8]k5(worker_lost) 9:dddd@2 10:e@2 11result="fffff"`, format(all))
	for after := uint64(0); after < s.LastSeq; after++ {
		for budget := 1; budget < 24; budget++ {
			var got []store.Event
			for _, page := range r.eventPages(s, after, budget) {
				size := 0
				for i := range page {
					size += len(page[i].Data)
				}
				require.True(r, size <= budget || len(page) == 1, "%d bytes in a page of %d", size, budget)
				got = append(got, page...)
			}
			rest := all
			for rest[0].Seq <= after {
				rest = rest[1:]
			}
			require.Equal(r, format(rest), format(got), "after %d, budget %d", after, budget)
		}
	}
}

// testManyAttempts reads from every position after each of many attempts, some
// of which crash at once, record chunks, or make checkpoints.
func testManyAttempts(r *rig) {
	s := r.accept(claimed)
	for i := range 30 {
		if i%3 != 1 {
			s = r.recordChunks(s, fmt.Sprint("a", i), fmt.Sprint("b", i))
		}
		if i%5 == 2 && i%3 != 1 {
			s = r.record(s, store.Report{Checkpoint: []byte(fmt.Sprint(i)), CheckpointKeep: s.LastSeq - uint64(i%2)})
		}
		if i%7 == 0 {
			s = r.finish(s, store.Outcome{Code: fmt.Sprint("retry", i)})
		} else {
			r.crash()
		}
		s = r.claim(s.Key).State
		for from := range s.LastSeq {
			at, events := from, r.events(s.Key, from)
			for i, e := range events {
				// A mark may begin before the requested position.
				require.True(r, e.First() == at+1 || i == 0 && e.First() <= at, "attempt %d: %s", s.Attempt, format(events))
				require.Greater(r, e.Seq, at)
				at = e.Seq
			}
			require.Equal(r, s.LastSeq, at, "from %d", from)
			require.Equal(r, s.AttemptMark.Event(), events[len(events)-1])
		}
	}
}
