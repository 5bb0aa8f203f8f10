package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Failure says at which step a transcript failed, and why.
type Failure struct {
	Transcript string
	// Step counts from 1; one more than Of: after the last step.
	Step, Of int
	// Source is the step as it is written in the file.
	Source string
	// Why says what was wrong.
	Why string
	// Expected and Came are JSON; either may be empty.
	Expected, Came string
	// Conversation holds the last messages of all connections.
	Conversation []string
	// Bound holds the values of the names.
	Bound []string
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
	// Abilities are those that the target lacks.
	Abilities []Ability
}

func (u *UnsupportedError) Error() string {
	names := make([]string, len(u.Abilities))
	for i, a := range u.Abilities {
		names[i] = string(a)
	}
	return fmt.Sprintf("transcript %s NOT PLAYED: the target lacks %s", u.Transcript, strings.Join(names, ", "))
}
