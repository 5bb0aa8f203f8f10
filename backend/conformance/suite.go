package conformance

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Outcome is what became of a transcript.
type Outcome string

// The outcomes.
const (
	Passed Outcome = "passed"
	Failed Outcome = "failed"
	// NotPlayed: the target lacks an ability, or the run was ended before.
	NotPlayed Outcome = "notPlayed"
	// Known: it failed, and the failure is listed.
	Known Outcome = "knownFailure"
)

// Entry is what became of one transcript of a suite.
type Entry struct {
	Transcript *Transcript
	Outcome    Outcome
	// Err says why, unless it passed: a *Failure, *Lacking, *KnownFailure,
	// *Surprise, or whatever else kept it from being played.
	Err  error
	Took time.Duration
}

// Lacks are the abilities for want of which it was not played.
func (e *Entry) Lacks() []Ability {
	var lacking *Lacking
	if errors.As(e.Err, &lacking) {
		return lacking.Abilities
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

// OK tells whether nothing has failed that was not known to, and something was
// played.
func (v *Verdict) OK() bool { return v.Failed == 0 && v.Passed+v.Known > 0 }

func (v *Verdict) count(o Outcome) {
	switch o {
	case Passed:
		v.Passed++
	case Failed:
		v.Failed++
	case NotPlayed:
		v.NotPlayed++
	case Known:
		v.Known++
	}
}

// Suite plays transcripts, several at a time.
type Suite struct {
	Transcripts []*Transcript
	// Play plays one of them against a target of its own, by Run or RunClient.
	// It is called from several goroutines.
	Play  func(ctx context.Context, t *Transcript) error
	Known KnownFailures
	// Parallel is how many are played at a time. Default 1.
	Parallel int
}

// Run plays all, and returns the counts. started and ended, which may be nil,
// are called one at a time, ended in the order in which the transcripts end.
// When ctx ends, those that have not begun are not played.
func (s *Suite) Run(ctx context.Context, started func(*Transcript), ended func(*Entry)) Verdict {
	var verdict Verdict
	var mu sync.Mutex // held while started and ended are called
	var wg sync.WaitGroup
	next := make(chan *Transcript)
	for range max(1, s.Parallel) {
		wg.Go(func() {
			for t := range next {
				mu.Lock()
				if started != nil {
					started(t)
				}
				mu.Unlock()
				e := s.one(ctx, t)
				mu.Lock()
				verdict.count(e.Outcome)
				if ended != nil {
					ended(e)
				}
				mu.Unlock()
			}
		})
	}
	for _, t := range s.Transcripts {
		next <- t
	}
	close(next)
	wg.Wait()
	return verdict
}

// one plays one transcript.
func (s *Suite) one(ctx context.Context, t *Transcript) *Entry {
	e := &Entry{Transcript: t, Outcome: NotPlayed, Err: ctx.Err()}
	if e.Err != nil {
		return e
	}
	began := time.Now()
	e.Err = s.Known.Judge(t, s.Play(ctx, t))
	e.Took = time.Since(began)
	var lacking *Lacking
	var known *KnownFailure
	switch {
	case e.Err == nil:
		e.Outcome = Passed
	case errors.As(e.Err, &known):
		e.Outcome = Known
	case errors.As(e.Err, &lacking), ctx.Err() != nil:
		e.Outcome = NotPlayed
	default:
		e.Outcome = Failed
	}
	return e
}
