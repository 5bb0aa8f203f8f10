package conformance

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// named makes transcripts that differ by their names.
func named(names ...string) []*Transcript {
	var out []*Transcript
	for _, name := range names {
		out = append(out, &Transcript{Name: name})
	}
	return out
}

func TestSuite(t *testing.T) {
	broken := errors.New("broken")
	s := &Suite{
		Transcripts: named("good", "bad", "lacking", "known", "surprise", "broken"),
		Known:       KnownFailures{"known": "x", "surprise": "x"},
		Play: func(_ context.Context, t *Transcript) error {
			switch t.Name {
			case "bad", "known":
				return errors.Join(&Failure{Transcript: t.Name}, nil)
			case "lacking":
				return &UnsupportedError{t.Name, []Ability{AbilityKill}}
			case "broken":
				return broken
			}
			return nil
		},
	}
	var order []string
	v := s.Run(t.Context(), func(t *Transcript) { order = append(order, t.Name) }, func(e *Entry) {
		order = append(order, e.Transcript.Name+" "+string(e.Outcome))
	})
	assert.Equal(t, Verdict{Passed: 1, Failed: 3, NotPlayed: 1, Known: 1}, v)
	want := []string{
		"good", "good passed", "bad", "bad failed", "lacking", "lacking notPlayed", "known", "known knownFailure",
		"surprise", "surprise failed", "broken", "broken failed",
	}
	assert.Equal(t, want, order)
}

func TestVerdict(t *testing.T) {
	for v, ok := range map[Verdict]bool{
		{Passed: 1}: true, {Known: 1}: true, {Passed: 1, NotPlayed: 5}: true,
		{Passed: 9, Failed: 1}: false, {NotPlayed: 5}: false, {}: false,
	} {
		assert.Equal(t, ok, v.OK(), v)
	}
}

// So many are played at a time, and no more.
func TestSuiteInParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		s := &Suite{Transcripts: named("a", "b", "c", "d", "e", "f", "g"), Parallel: 3, Play: func(ctx context.Context, _ *Transcript) error {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			return waitingClock{}.Advance(ctx, time.Second)
		}}
		began := time.Now()
		assert.Equal(t, Verdict{Passed: 7}, s.Run(t.Context(), func(*Transcript) {}, func(*Entry) {}))
		assert.EqualValues(t, 3, most.Load())
		assert.Equal(t, 3*time.Second, time.Since(began))
	})
}

// A suite that is stopped reports what was not played.
func TestSuiteIsStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &Suite{Transcripts: named("a", "b", "c"), Play: func(_ context.Context, t *Transcript) error {
		if t.Name == "b" {
			cancel()
			return context.Canceled
		}
		return nil
	}}
	assert.Equal(t, Verdict{Passed: 1, NotPlayed: 2}, s.Run(ctx, func(*Transcript) {}, func(*Entry) {}))
}
