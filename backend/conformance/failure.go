package conformance

import (
	"fmt"
	"strings"
)

// Failure tells at which step a transcript failed, and why.
type Failure struct {
	Transcript string
	// Step counts from 1; one more than Of: behind the last step.
	Step, Of int
	// Source is the step as it stands in the file.
	Source string
	// Why says what was wrong.
	Why string
	// Expected and Came are JSON; either may be empty.
	Expected, Came string
	// Conversation holds the last messages of all connections.
	Conversation []string
	// Bound holds what the names stood for.
	Bound []string
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
	for i, text := range f.Conversation {
		if i == 0 {
			b.WriteString("  the last messages:\n")
		}
		fmt.Fprintf(&b, "    %s\n", text)
	}
	line("names", strings.Join(f.Bound, ", "))
	return b.String()
}

// Lacking tells that a target cannot play a transcript.
type Lacking struct {
	Transcript string
	// Abilities are those that the target does not have.
	Abilities []Ability
}

func (l *Lacking) Error() string {
	names := make([]string, len(l.Abilities))
	for i, a := range l.Abilities {
		names[i] = string(a)
	}
	return fmt.Sprintf("transcript %s NOT PLAYED: the target lacks %s", l.Transcript, strings.Join(names, ", "))
}
