package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Failure says at which step a transcript failed, and why.
type Failure struct {
	Transcript     string
	Step, Of       int      // Step counts from 1; one more than Of: after the last step
	Source         string   // the step as it is written in the file
	Why            string   // what was wrong
	Expected, Came string   // JSON; either may be empty
	Conversation   []string // the last messages of all connections
	Bound          []string // the values of the names
}

// unmet is the failure of an expectation.
func unmet(why string, expected, came json.RawMessage) *Failure {
	return &Failure{Why: why, Expected: brief(expected), Came: brief(came)}
}

func (f *Failure) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "transcript %s failed at step %d of %d: %s\n", f.Transcript, f.Step, f.Of, f.Why)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", name+":", text)
		}
	}
	line("step", f.Source)
	line("expected", f.Expected)
	line("came", f.Came)
	if len(f.Conversation) > 0 {
		fmt.Fprintf(&b, "  the last messages:\n    %s\n", strings.Join(f.Conversation, "\n    "))
	}
	line("names", strings.Join(f.Bound, ", "))
	return b.String()
}

// UnsupportedError reports that a target cannot play a transcript.
type UnsupportedError struct {
	Transcript string
	Abilities  []Ability // those that the target lacks
}

func (u *UnsupportedError) Error() string {
	names := make([]string, len(u.Abilities))
	for i, a := range u.Abilities {
		names[i] = string(a)
	}
	return fmt.Sprintf("transcript %s NOT PLAYED: the target lacks %s", u.Transcript, strings.Join(names, ", "))
}

// KnownFailures are transcripts that a target does not pass yet, and why, by
// name. They are played all the same; one that passes must be removed.
type KnownFailures map[string]string

// ParseKnownFailures reads a JSON object of names and reasons. Each must be the
// name of one of the transcripts, and have a reason.
func ParseKnownFailures(data []byte, transcripts []*Transcript) (KnownFailures, error) {
	var k KnownFailures
	if err := json.Unmarshal(data, &k); err != nil {
		return nil, fmt.Errorf("known failures are one JSON object of transcripts and reasons: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(k)) {
		if !slices.ContainsFunc(transcripts, func(t *Transcript) bool { return t.Name == name }) {
			return nil, fmt.Errorf("there is no transcript %q to be a known failure", name)
		}
		if strings.TrimSpace(k[name]) == "" {
			return nil, fmt.Errorf("the known failure of %s has no reason", name)
		}
	}
	return k, nil
}

// interpret says what the result of Run or RunClient means when some failures are
// known: a *KnownFailure when the transcript failed as expected, an error when it
// passed though it should not, and otherwise err.
func (k KnownFailures) interpret(t *Transcript, err error) error {
	reason, known := k[t.Name]
	var failure *Failure
	switch {
	case known && err == nil:
		return fmt.Errorf("transcript %s passes, and is listed as a known failure (%s): remove it from the list", t.Name, reason)
	case known && errors.As(err, &failure):
		return &KnownFailure{reason, failure}
	}
	return err
}

// KnownFailure reports that a transcript failed as expected.
type KnownFailure struct {
	Reason string // the one in the list
	*Failure
}

func (k *KnownFailure) Error() string {
	return fmt.Sprintf("KNOWN FAILURE (%s): %v", k.Reason, k.Failure)
}

// Unwrap returns the failure.
func (k *KnownFailure) Unwrap() error { return k.Failure }
