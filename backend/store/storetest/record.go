package storetest

import (
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

var recordCases = []Case{
	{"chunks follow one another", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a", "b")
		require.Equal(r, uint64(3), s.LastSeq)
		s = r.recordChunks(s, "c")
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4:c@1")
	}},
	{"only the newest fence records, and only while running", func(r *rig) {
		old := r.recordChunks(r.accept(claimed), "a")
		r.crash()
		s := r.claim(old.Key).State
		zombie := store.Report{Segment: segment(old, "z"), Checkpoint: []byte("z"), CheckpointKeep: 3}
		r.refuseRecord(fence(old), zombie)
		r.requireState(s)
		ahead := fence(s)
		ahead.Fence++
		r.refuseRecord(ahead, store.Report{Segment: segment(s, "z")})
		s = r.finish(s, store.Outcome{Code: "x"})
		r.refuseRecord(fence(s), store.Report{Segment: segment(s, "z")}, "a queued request does not run")
		s = r.claim(s.Key).State
		require.Nil(r, s.Progress)
		s = r.finish(s, succeeded(`1`))
		r.refuseRecord(fence(s), store.Report{Progress: &store.Progress{Attempt: 3, Rev: 1}}, "an ended one neither")
		r.refuseRecord(store.Fence{Key: store.Key{Tenant: tenant, ID: newID(r.Now())}, Fence: 1}, zombie, "an unknown one neither")
	}},
	{"gaps and overlaps are refused", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a", "b")
		later, earlier := s, s
		later.LastSeq++
		earlier.LastSeq--
		with := func(change func(*store.Segment)) *store.Segment {
			g := segment(s, "c", "d")
			change(g)
			return g
		}
		for name, g := range map[string]*store.Segment{
			"a gap": segment(later, "c"), "an overlap": segment(earlier, "b", "c"), "a false repeat": segment(earlier, "b"),
			"nothing":                 {First: 4, Last: 4},
			"a false last":            with(func(g *store.Segment) { g.Last-- }),
			"a false first":           with(func(g *store.Segment) { g.First-- }),
			"a gap within":            with(func(g *store.Segment) { g.Events[1].Seq++ }),
			"a kind that is no chunk": with(func(g *store.Segment) { g.Events[0].Kind = store.Result }),
		} {
			r.refuseReport(s, store.Report{Segment: g}, name)
		}
		r.crash()
		s = r.claim(s.Key).State
		g := segment(s, "c")
		g.First, g.Events = s.LastSeq+1, g.Events[1:]
		_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Segment: g})
		require.ErrorContains(r, err, "mark", "the mark must not be left out")
		s = r.recordChunks(s, "c")
		g = segment(s, "d")
		g.Events = append([]store.Event{s.AttemptMark.Event()}, g.Events...)
		g.First = s.AttemptMark.From
		r.refuseReport(s, store.Report{Segment: g}, "nor come twice")
		r.requireEvents(s.Key, 0, "1ack 4mark2[2-4]k1(worker_lost) 5:c@2")
	}},
	{"a repeated record is recognised", func(r *rig) {
		s := r.accept(claimed)
		report := store.Report{
			Segment: segment(s, "a", "b"), Checkpoint: []byte("cp"), CheckpointKeep: 3,
			Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 10},
		}
		once := r.record(s, report)
		requireSame(r, once, r.record(s, report))
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1")
		r.crash()
		w := r.claim(s.Key)
		require.Equal(r, "cp", string(w.Checkpoint))
		r.refuseRecord(fence(s), report, "not after another claim")
		marked := segment(w.State, "c")
		next := r.record(w.State, store.Report{Segment: marked})
		requireSame(r, next, r.record(w.State, store.Report{Segment: marked}), "with its mark, too")
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 4mark2[4-4]k3(worker_lost) 5:c@2")
	}},
	{"a checkpoint is stored with its chunks, and the next attempt gets it", func(r *rig) {
		s := r.accept(claimed)
		s = r.record(s, store.Report{Segment: segment(s, "a", "b"), Checkpoint: []byte("one"), CheckpointKeep: 2})
		require.Equal(r, uint64(2), s.Keep)
		s = r.record(s, store.Report{Checkpoint: []byte("two"), CheckpointKeep: 3})
		require.Equal(r, uint64(3), s.Keep)
		s = r.record(s, store.Report{Checkpoint: []byte{}, CheckpointKeep: 3})
		s = r.record(s, store.Report{Checkpoint: []byte("three"), CheckpointKeep: 3})
		s = r.recordChunks(s, "void")
		r.crash()
		w := r.claim(s.Key)
		require.Equal(r, "three", string(w.Checkpoint))
		r.requireEvents(s.Key, 0, "1ack 2:a@1 3:b@1 5mark2[4-5]k3(worker_lost)")
	}},
	{"a checkpoint reaches the next attempt without a crash", func(r *rig) {
		s := r.claim(r.accept().Key).State
		for i := range 3 {
			s = r.record(s, store.Report{Segment: segment(s, "a"), Checkpoint: []byte(fmt.Sprint(i)), CheckpointKeep: s.LastSeq + 1})
			r.finish(s, store.Outcome{Code: "continued"})
			w := r.claim(s.Key)
			require.Equal(r, fmt.Sprint(i), string(w.Checkpoint))
			require.Equal(r, `{"a":1}`, string(w.Input))
			s = w.State
		}
	}},
	{"a checkpoint keeps nothing that is discarded or not yet stored", func(r *rig) {
		s := r.recordChunks(r.accept(claimed), "a", "b")
		for _, keep := range []uint64{0, 4, 1 << 40} {
			r.refuseReport(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: keep}, keep)
		}
		r.crash()
		s = r.claim(s.Key).State
		for _, keep := range []uint64{2, 3, 4} {
			r.refuseReport(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: keep}, "the mark with seq 4 would be left out: %d", keep)
		}
		s = r.record(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: 1})
		s = r.recordChunks(s, "c")
		r.refuseReport(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: 3}, "3 is void")
		s = r.record(s, store.Report{Checkpoint: []byte("y"), CheckpointKeep: 5})
		require.Equal(r, uint64(5), s.Keep)
		r.requireEvents(s.Key, 0, "1ack 4mark2[2-4]k1(worker_lost) 5:c@2")
	}},
	{"progress is the newest", func(r *rig) {
		s := r.accept(claimed)
		for rev := uint64(1); rev <= 3; rev++ {
			p := &store.Progress{Attempt: 1, Rev: rev, Percent: 33.3 * float64(rev), Message: fmt.Sprint("step ", rev, " ü")}
			s = r.record(s, store.Report{Progress: p})
			require.Equal(r, p, s.Progress)
			require.Equal(r, p, r.state(s.Key).Progress)
		}
		s = r.recordChunks(s, "a")
		require.Equal(r, uint64(3), s.Progress.Rev, "it stays until there is newer")
	}},
	{"the crash count is reset by chunks and checkpoints, not by progress", func(r *rig) {
		s := r.takenOver()
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 2, Rev: 1}})
		require.Equal(r, 1, s.CrashCount)
		s = r.record(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: 1})
		require.Zero(r, s.CrashCount)
	}},
	{"a record returns the cancel flag", func(r *rig) {
		s := r.accept(claimed)
		r.cancel(s.Key)
		s = r.recordChunks(s, "a")
		require.True(r, s.CancelRequested)
		require.Equal(r, store.Running, s.Status)
	}},
	{"orphaned segments are not read", func(r *rig) {
		plant, ok := r.Queue.(Orphaner)
		if !ok {
			r.Logf("the store cannot be left with orphans")
			return
		}
		s := r.recordChunks(r.accept(claimed), "a")
		plant.PlantOrphan(s.Key, 1, *segment(s, "orphan", "orphan"))
		plant.PlantOrphan(s.Key, 9, store.Segment{First: 2, Last: 99, Events: []store.Event{
			{Kind: store.Attempt, Seq: 98, Attempt: 9, Keep: 1, From: 2}, {Kind: store.Chunk, Seq: 99, Attempt: 9},
		}})
		r.requireEvents(s.Key, 0, "1ack 2:a@1", "what is behind lastSeq is not there")
		r.crash()
		next := r.claim(s.Key).State
		r.requireEvents(s.Key, 0, "1ack 3mark2[2-3]k1(worker_lost)")
		next = r.recordChunks(next, "b", "c")
		r.requireEvents(s.Key, 0, "1ack 3mark2[2-3]k1(worker_lost) 4:b@2 5:c@2", "the highest fence counts")
		r.requireEvents(s.Key, 2, "3mark2[2-3]k1(worker_lost) 4:b@2 5:c@2")

		loser := segment(next, "lost")
		plant.PlantOrphan(s.Key, 1, *loser)
		r.recordChunks(next, "d")
		r.requireEvents(s.Key, 5, "6:d@2")
	}},
	{"two attempts write many segments", func(r *rig) {
		s, want := r.accept(claimed), "1ack"
		for i := range 40 {
			s = r.recordChunks(s, fmt.Sprint(i), "x")
			want += fmt.Sprintf(" %d:%d@1 %d:x@1", 2*i+2, i, 2*i+3)
		}
		s = r.record(s, store.Report{Checkpoint: []byte("c"), CheckpointKeep: s.LastSeq})
		for i := range 20 {
			s = r.recordChunks(s, fmt.Sprint("void", i))
		}
		require.Equal(r, 101, int(s.LastSeq))
		s = r.claim(r.finish(s, store.Outcome{Code: "retry"}).Key).State
		for range 3 {
			s = r.recordChunks(s, "y")
		}
		want += " 102mark2[82-102]k81(retry) 103:y@2 104:y@2 105:y@2"
		r.requireEvents(s.Key, 0, want)
		r.requireEvents(s.Key, 90, "102mark2[82-102]k81(retry) 103:y@2 104:y@2 105:y@2")
	}},
}
