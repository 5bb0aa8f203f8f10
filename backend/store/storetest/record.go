package storetest

import (
	"context"
	"fmt"

	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

func newCancelled(r *rig) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	return ctx, cancel
}

var recordTests = []test{
	{"chunks follow one another", func(r *rig) {
		s := r.emit(r.accept(born), "a", "b")
		require.Equal(r, uint64(3), s.LastSeq)
		same(r, s, r.state(s.Key))
		s = r.emit(s, "c")
		require.Equal(r, "1ack 2:a@1 3:b@1 4:c@1", show(r.events(s.Key, 0)))
	}},
	{"only the newest fence records, and only while running", func(r *rig) {
		old := r.emit(r.accept(born), "a")
		r.void()
		s := r.claim(old.Key).State
		zombie := store.Report{Segment: segment(old, "z"), Checkpoint: []byte("z"), CheckpointKeep: 3}
		_, err := r.Queue.Record(r.Context(), fence(old), zombie)
		require.ErrorIs(r, err, store.ErrFenced)
		same(r, s, r.state(s.Key))
		ahead := fence(s)
		ahead.Fence++
		_, err = r.Queue.Record(r.Context(), ahead, store.Report{Segment: segment(s, "z")})
		require.ErrorIs(r, err, store.ErrFenced)
		s = r.finish(s, store.Outcome{Code: "x"})
		_, err = r.Queue.Record(r.Context(), fence(s), store.Report{Segment: segment(s, "z")})
		require.ErrorIs(r, err, store.ErrFenced, "a queued request does not run")
		s = r.claim(s.Key).State
		require.Nil(r, s.Progress)
		s = r.finish(s, succeeded(`1`))
		_, err = r.Queue.Record(r.Context(), fence(s), store.Report{Progress: &store.Progress{Attempt: 3, Rev: 1}})
		require.ErrorIs(r, err, store.ErrFenced, "an ended one neither")
		_, err = r.Queue.Record(r.Context(), store.Fence{Key: store.Key{Tenant: tenant, ID: newID(r.Now())}, Fence: 1}, zombie)
		require.ErrorIs(r, err, store.ErrFenced, "an unknown one neither")
	}},
	{"gaps and overlaps are named", testGaps},
	{"a repeated record is known again", func(r *rig) {
		s := r.accept(born)
		report := store.Report{
			Segment: segment(s, "a", "b"), Checkpoint: []byte("cp"), CheckpointKeep: 3,
			Progress: &store.Progress{Attempt: 1, Rev: 1, Percent: 10},
		}
		once := r.record(s, report)
		again := r.record(s, report)
		same(r, once, again)
		require.Equal(r, "1ack 2:a@1 3:b@1", show(r.events(s.Key, 0)))
		r.void()
		w := r.claim(s.Key)
		require.Equal(r, "cp", string(w.Checkpoint))
		_, err := r.Queue.Record(r.Context(), fence(s), report)
		require.ErrorIs(r, err, store.ErrFenced, "not after another claim")
		marked := segment(w.State, "c")
		next := r.record(w.State, store.Report{Segment: marked})
		same(r, next, r.record(w.State, store.Report{Segment: marked}), "with its mark, too")
		require.Equal(r, "1ack 2:a@1 3:b@1 4mark2[4-4]k3(worker_lost) 5:c@2", show(r.events(s.Key, 0)))
	}},
	{"a checkpoint is true with its chunks, and the next attempt gets it", func(r *rig) {
		s := r.accept(born)
		s = r.record(s, store.Report{Segment: segment(s, "a", "b"), Checkpoint: []byte("one"), CheckpointKeep: 2})
		require.Equal(r, uint64(2), s.Keep)
		s = r.record(s, store.Report{Checkpoint: []byte("two"), CheckpointKeep: 3})
		require.Equal(r, uint64(3), s.Keep)
		s = r.record(s, store.Report{Checkpoint: []byte{}, CheckpointKeep: 3})
		s = r.record(s, store.Report{Checkpoint: []byte("three"), CheckpointKeep: 3})
		s = r.emit(s, "void")
		r.void()
		w := r.claim(s.Key)
		require.Equal(r, "three", string(w.Checkpoint))
		require.Equal(r, "1ack 2:a@1 3:b@1 5mark2[4-5]k3(worker_lost)", show(r.events(s.Key, 0)))
	}},
	{"a checkpoint reaches the next attempt when nobody died", func(r *rig) {
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
	{"a checkpoint keeps nothing that is void or yet to come", func(r *rig) {
		s := r.emit(r.accept(born), "a", "b")
		for _, keep := range []uint64{0, 4, 1 << 40} {
			_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Checkpoint: []byte("x"), CheckpointKeep: keep})
			require.Error(r, err, keep)
			require.NotErrorIs(r, err, store.ErrFenced)
		}
		r.void()
		s = r.claim(s.Key).State
		for _, keep := range []uint64{2, 3, 4} {
			_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Checkpoint: []byte("x"), CheckpointKeep: keep})
			require.Error(r, err, "the mark with seq 4 would be left out: %d", keep)
		}
		s = r.record(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: 1})
		s = r.emit(s, "c")
		_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Checkpoint: []byte("x"), CheckpointKeep: 3})
		require.Error(r, err, "3 is void")
		s = r.record(s, store.Report{Checkpoint: []byte("y"), CheckpointKeep: 5})
		require.Equal(r, uint64(5), s.Keep)
		require.Equal(r, "1ack 4mark2[2-4]k1(worker_lost) 5:c@2", show(r.events(s.Key, 0)))
	}},
	{"progress is the newest", func(r *rig) {
		s := r.accept(born)
		for rev := uint64(1); rev <= 3; rev++ {
			p := &store.Progress{Attempt: 1, Rev: rev, Percent: 33.3 * float64(rev), Message: fmt.Sprint("step ", rev, " ü")}
			s = r.record(s, store.Report{Progress: p})
			require.Equal(r, p, s.Progress)
			require.Equal(r, p, r.state(s.Key).Progress)
		}
		s = r.emit(s, "a")
		require.Equal(r, uint64(3), s.Progress.Rev, "it stays until there is newer")
	}},
	{"deaths are forgiven by what moved, not by progress", func(r *rig) {
		s := r.accept(born)
		r.void()
		s = r.claim(s.Key).State
		s = r.record(s, store.Report{Progress: &store.Progress{Attempt: 2, Rev: 1}})
		require.Equal(r, 1, s.Deaths)
		s = r.record(s, store.Report{Checkpoint: []byte("x"), CheckpointKeep: 1})
		require.Zero(r, s.Deaths)
	}},
	{"a record tells of a cancel", func(r *rig) {
		s := r.accept(born)
		_, err := r.Queue.Cancel(r.Context(), s.Key, subject)
		require.NoError(r, err)
		s = r.emit(s, "a")
		require.True(r, s.CancelRequested)
		require.Equal(r, store.Running, s.Status)
	}},
	{"orphans are not seen", testOrphans},
	{"an attempt writes many segments, and the next one, too", func(r *rig) {
		s, want := r.accept(born), "1ack"
		for i := range 40 {
			s = r.emit(s, fmt.Sprint(i), "x")
			want += fmt.Sprintf(" %d:%d@1 %d:x@1", 2*i+2, i, 2*i+3)
		}
		s = r.record(s, store.Report{Checkpoint: []byte("c"), CheckpointKeep: s.LastSeq})
		for i := range 20 {
			s = r.emit(s, fmt.Sprint("void", i))
		}
		require.Equal(r, 101, int(s.LastSeq))
		s = r.claim(r.finish(s, store.Outcome{Code: "retry"}).Key).State
		for range 3 {
			s = r.emit(s, "y")
		}
		want += " 102mark2[82-102]k81(retry) 103:y@2 104:y@2 105:y@2"
		require.Equal(r, want, show(r.events(s.Key, 0)))
		require.Equal(r, "102mark2[82-102]k81(retry) 103:y@2 104:y@2 105:y@2", show(r.events(s.Key, 90)))
	}},
}

func testGaps(r *rig) {
	s := r.emit(r.accept(born), "a", "b")
	later := s
	later.LastSeq++
	earlier := s
	earlier.LastSeq--
	short := segment(s, "c", "d")
	short.Last--
	jump := segment(s, "c", "d")
	jump.Events[1].Seq++
	first := segment(s, "c")
	first.First--
	kind := segment(s, "c")
	kind.Events[0].Kind = store.Result
	for name, g := range map[string]*store.Segment{
		"a gap": segment(later, "c"), "an overlap": segment(earlier, "b", "c"), "a false repeat": segment(earlier, "b"),
		"nothing": {First: 4, Last: 4}, "a false last": short, "a false first": first, "a gap within": jump, "a kind that is no chunk": kind,
	} {
		_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Segment: g})
		require.Error(r, err, name)
		require.NotErrorIs(r, err, store.ErrFenced, name)
		require.NotErrorIs(r, err, store.ErrUnavailable, name)
		same(r, s, r.state(s.Key), name)
	}
	r.void()
	s = r.claim(s.Key).State
	g := segment(s, "c")
	g.First, g.Events = s.LastSeq+1, g.Events[1:]
	_, err := r.Queue.Record(r.Context(), fence(s), store.Report{Segment: g})
	require.ErrorContains(r, err, "mark", "the mark must not be left out")
	s = r.emit(s, "c")
	g = segment(s, "d")
	g.Events = append([]store.Event{s.Mark.Event()}, g.Events...)
	g.First = s.Mark.From
	_, err = r.Queue.Record(r.Context(), fence(s), store.Report{Segment: g})
	require.Error(r, err, "nor come twice")
	require.Equal(r, "1ack 4mark2[2-4]k1(worker_lost) 5:c@2", show(r.events(s.Key, 0)))
}

func testOrphans(r *rig) {
	plant, ok := r.Queue.(Orphaner)
	if !ok {
		r.Log("the store cannot be left with orphans")
		return
	}
	s := r.emit(r.accept(born), "a")
	plant.PlantOrphan(s.Key, 1, *segment(s, "orphan", "orphan"))
	plant.PlantOrphan(s.Key, 9, store.Segment{First: 2, Last: 99, Events: []store.Event{
		{Kind: store.Attempt, Seq: 98, Attempt: 9, Keep: 1, From: 2}, {Kind: store.Chunk, Seq: 99, Attempt: 9},
	}})
	require.Equal(r, "1ack 2:a@1", show(r.events(s.Key, 0)), "what is behind lastSeq is not there")
	r.void()
	next := r.claim(s.Key).State
	require.Equal(r, "1ack 3mark2[2-3]k1(worker_lost)", show(r.events(s.Key, 0)))
	next = r.emit(next, "b", "c")
	require.Equal(r, "1ack 3mark2[2-3]k1(worker_lost) 4:b@2 5:c@2", show(r.events(s.Key, 0)), "the highest fence counts")
	require.Equal(r, "3mark2[2-3]k1(worker_lost) 4:b@2 5:c@2", show(r.events(s.Key, 2)))

	loser := segment(next, "lost")
	plant.PlantOrphan(s.Key, 1, *loser)
	r.emit(next, "d")
	require.Equal(r, "6:d@2", show(r.events(s.Key, 5)))
}
