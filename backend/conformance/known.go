package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// KnownFailures are transcripts that somebody does not pass yet, and why, by
// name. They are played all the same; one that passes is to be taken off.
type KnownFailures map[string]string

// ParseKnownFailures reads a JSON object of names and reasons. Each must be the
// name of one of the transcripts, and have a reason.
func ParseKnownFailures(data []byte, transcripts []*Transcript) (KnownFailures, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	var k KnownFailures
	if err := d.Decode(&k); err != nil {
		return nil, fmt.Errorf("known failures are a JSON object of transcripts and reasons: %w", err)
	}
	if d.More() {
		return nil, errors.New("known failures are one JSON object, and nothing behind it")
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

// Judge says what playing a transcript means when some failures are known: err
// is what Run or RunClient returned. Errors: a *KnownFailure when it failed as
// it is known to, a *Surprise when it passed though it should not, and else
// err.
func (k KnownFailures) Judge(t *Transcript, err error) error {
	why, known := k[t.Name]
	if !known {
		return err
	}
	var failure *Failure
	switch {
	case err == nil:
		return &Surprise{t.Name, why}
	case errors.As(err, &failure):
		return &KnownFailure{why, failure}
	}
	return err
}

// KnownFailure tells that a transcript failed, as it is known to.
type KnownFailure struct {
	// Reason is what the list says.
	Reason string
	*Failure
}

func (k *KnownFailure) Error() string {
	return fmt.Sprintf("KNOWN FAILURE (%s): %v", k.Reason, k.Failure)
}

func (k *KnownFailure) Unwrap() error { return k.Failure }

// Surprise tells that a transcript passed which is listed as a known failure.
type Surprise struct {
	Transcript string
	// Reason is what the list says.
	Reason string
}

func (s *Surprise) Error() string {
	return fmt.Sprintf("transcript %s passes, and is listed as a known failure (%s): take it off the list", s.Transcript, s.Reason)
}
