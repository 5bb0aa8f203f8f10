package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Side is who is under test.
type Side string

// The sides.
const (
	Server Side = "server"
	Client Side = "client"
)

// Transcript is what a program plays: what is sent, what must come back, and
// what goes wrong in between. contract/sessions/README.md describes its fields.
type Transcript struct {
	Name       string              `json:"-"`          // the file's, without its ending
	Tests      Side                `json:"tests"`      // who is under test; the player is the other side
	Summary    string              `json:"shows"`      // what it is about, in a sentence
	Covers     []string            `json:"covers"`     // the rules (R-one-end) and invariants (I1 to I14) that it shows
	Needs      []Ability           `json:"needs"`      // without these it cannot be played
	Settings   Settings            `json:"settings"`   // how the server must be made
	Identities map[string]Identity `json:"identities"` // who connects, by name; servers only
	Tokens     []string            `json:"tokens"`     // what a client's token function returns, in turn
	Secrets    []string            `json:"secrets"`    // texts that no frame from the side under test may hold
	IDs        map[string]int64    `json:"ids"`        // names of request ids; their times in milliseconds from now
	Steps      []Step              `json:"-"`
}

// Settings are what a transcript wants of its server. Zero: the default.
type Settings struct {
	GraceMs              int64 `json:"graceMs"`        // for how long handlers may run on after a shutdown
	MaxConnections       int   `json:"maxConnections"` // how many connections there may be
	MaxQuarantineCrashes int   `json:"poisonAfter"`    // how many crashes in quarantine make a call a dead letter
}

// TokenDefect is what is wrong with a token.
type TokenDefect string

// The defects.
const (
	Missing TokenDefect = "missing" // no token is sent
	Forged  TokenDefect = "forged"  // the signature does not verify
)

// The ways by which a token can be brought.
const (
	ViaHeader      = "header"      // by the header Authorization
	ViaSubprotocol = "subprotocol" // by a subprotocol entry, as browsers do
)

// Identity is what a token says, and how its owner connects.
type Identity struct {
	Tenant      string      `json:"tenant"`
	Subject     string      `json:"subject"`
	Scopes      []string    `json:"scopes"`
	ExpiresInMs int64       `json:"expiresInMs"` // from the token's making; may be negative. Default: 1 h
	Defect      TokenDefect `json:"flaw"`        // what is wrong with the token. Default: nothing
	Via         string      `json:"via"`         // how the token is brought. Default: ViaHeader
	Offers      []string    `json:"offers"`      // subprotocols, without the token's. Default: streamer.v1
}

// Expiry returns how long a token of the identity holds from its making on.
func (i *Identity) Expiry() time.Duration {
	if i.ExpiresInMs == 0 {
		return time.Hour
	}
	return time.Duration(i.ExpiresInMs) * time.Millisecond
}

// Waits returns by how much the clock is moved in all: for how long the
// transcript must be waited for where clocks cannot be moved.
func (t *Transcript) Waits() time.Duration {
	var sum time.Duration
	for i := range t.Steps {
		if t.Steps[i].Verb == "advanceMs" {
			sum += milliseconds(t.Steps[i].Arg)
		}
	}
	return sum
}

// Load reads all transcripts (*.json) of a directory, by name.
func Load(dir fs.FS) ([]*Transcript, error) {
	files, err := fs.Glob(dir, "*.json") // in the order of their names
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no transcripts: the directory holds no *.json")
	}
	var list []*Transcript
	for _, file := range files {
		data, err := fs.ReadFile(dir, file)
		if err != nil {
			return nil, err
		}
		t, err := Parse(strings.TrimSuffix(file, ".json"), data)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

// Parse reads one transcript. Its errors begin with the name.
func Parse(name string, data []byte) (*Transcript, error) {
	t := &Transcript{Name: name}
	if err := t.parse(data); err != nil {
		return nil, fmt.Errorf("transcript %s: %w", name, err)
	}
	return t, nil
}

func (t *Transcript) parse(data []byte) error {
	file := struct {
		*Transcript
		Steps []json.RawMessage `json:"steps"`
	}{Transcript: t}
	if err := checkJSON(data); err != nil {
		return err
	}
	if err := decodeStrict(data, &file); err != nil {
		return err
	}
	for i, raw := range file.Steps {
		s, err := parseStep(t.Tests, raw)
		if err != nil {
			return fmt.Errorf("step %d: %w: %s", i+1, err, raw)
		}
		t.Steps = append(t.Steps, s)
	}
	return t.check()
}

// decodeStrict decodes JSON and refuses unknown fields.
func decodeStrict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// check refuses what no step can refuse by itself.
func (t *Transcript) check() error {
	switch {
	case t.Tests != Server && t.Tests != Client:
		return errors.New(`tests must be "server" or "client"`)
	case t.Summary == "" || len(t.Covers) == 0:
		return errors.New("shows and covers must say what the transcript is for")
	case len(t.Steps) == 0:
		return errors.New("there are no steps")
	case t.Tests == Client && len(t.Identities) > 0, t.Tests == Server && len(t.Tokens) > 0:
		return errors.New("identities are for servers, tokens for clients")
	}
	for name := range t.IDs {
		if slices.Contains([]string{"", "any", "absent"}, name) {
			return fmt.Errorf("no id may be called %q: the word has a meaning of its own", name)
		}
	}
	for name, who := range t.Identities {
		if !slices.Contains([]string{"", ViaHeader, ViaSubprotocol}, who.Via) {
			return fmt.Errorf("%s cannot bring a token via %q", name, who.Via)
		}
	}
	var needed []Ability
	if t.Settings != (Settings{}) {
		needed = append(needed, AbilitySettings)
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		if _, ok := t.Identities[s.textArg()]; !ok && s.Verb == "connect" {
			return fmt.Errorf("step %d: there is no identity %q", i+1, s.textArg())
		}
		needed = append(needed, s.needs()...)
	}
	// These may also be named without such a step: for frames that are too big,
	// transcripts that are too long to be waited for, and runs beside each other.
	if surplus := missing(t.Needs, append(needed, AbilityFrames, AbilityClock, AbilityBeside)); len(surplus) > 0 {
		return fmt.Errorf("no step needs %q", surplus)
	}
	if unnamed := missing(needed, t.Needs); len(unnamed) > 0 {
		return fmt.Errorf("needs must name %q", slices.Compact(unnamed))
	}
	return nil
}
