package conformance

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Outcome is the result of a transcript.
type Outcome string

// The outcomes.
const (
	Passed    Outcome = "passed"
	Failed    Outcome = "failed"
	NotPlayed Outcome = "notPlayed"    // the target lacks an ability, or the run was stopped before
	Known     Outcome = "knownFailure" // it failed, and the failure is listed
)

// Entry is the result of one transcript of a suite.
type Entry struct {
	Transcript *Transcript
	Outcome    Outcome
	Took       time.Duration
	// Err is the reason, unless it passed: a *Failure, *UnsupportedError,
	// *KnownFailure, that a known failure has passed, or why it could not be played.
	Err error
}

// Lacks returns the missing abilities because of which it was not played.
func (e *Entry) Lacks() []Ability {
	var unsupported *UnsupportedError
	if errors.As(e.Err, &unsupported) {
		return unsupported.Abilities
	}
	return nil
}

// Verdict counts outcomes.
type Verdict struct {
	Passed    int `json:"passed"`
	Failed    int `json:"failed"`
	NotPlayed int `json:"notPlayed"`
	Known     int `json:"knownFailures"`
}

// OK reports whether all failures were known, and something was played.
func (v *Verdict) OK() bool { return v.Failed == 0 && v.Passed+v.Known > 0 }

// Suite plays transcripts, several at a time.
type Suite struct {
	Transcripts []*Transcript
	Known       KnownFailures
	Parallel    int // how many are played at a time. Default 1
	// Play plays one of them against a target of its own, by Run or RunClient.
	// It is called from several goroutines.
	Play func(ctx context.Context, t *Transcript) error
}

// Run plays all, and returns the counts. started and ended are called one at a
// time, ended in the order in which the transcripts end. When ctx ends, those
// that have not begun are not played.
func (s *Suite) Run(ctx context.Context, started func(*Transcript), ended func(*Entry)) Verdict {
	counts := map[Outcome]int{}
	var mu sync.Mutex // guards counts, and is held while started and ended are called
	var wg sync.WaitGroup
	playing := make(chan struct{}, max(1, s.Parallel))
	for _, t := range s.Transcripts {
		playing <- struct{}{}
		wg.Go(func() {
			defer func() { <-playing }()
			mu.Lock()
			started(t)
			mu.Unlock()
			e := s.playOne(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			counts[e.Outcome]++
			ended(e)
		})
	}
	wg.Wait()
	return Verdict{counts[Passed], counts[Failed], counts[NotPlayed], counts[Known]}
}

func (s *Suite) playOne(ctx context.Context, t *Transcript) *Entry {
	e := &Entry{Transcript: t, Outcome: NotPlayed, Err: ctx.Err()}
	if e.Err != nil {
		return e
	}
	began := time.Now()
	e.Err = s.Known.interpret(t, s.Play(ctx, t))
	e.Took = time.Since(began)
	var known *KnownFailure
	switch {
	case e.Err == nil:
		e.Outcome = Passed
	case errors.As(e.Err, &known):
		e.Outcome = Known
	case len(e.Lacks()) == 0 && ctx.Err() == nil:
		e.Outcome = Failed
	}
	return e
}
