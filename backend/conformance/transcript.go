package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
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

// Transcript is one story that a program plays.
type Transcript struct {
	// Name is the file's, without its ending.
	Name string
	// Tests says who is under test; the player is the other side.
	Tests Side
	// Shows says in a sentence what the story is about.
	Shows string
	// Covers are the rules of PROTOCOL.md (R-one-end) and the invariants of the
	// engine (I1 to I14) that it shows.
	Covers []string
	// Needs are the abilities without which it cannot be played.
	Needs []Ability
	// Settings are how the server must be made.
	Settings Settings
	// Identities are who connects, by name. Servers only.
	Identities map[string]Identity
	// Tokens is what a client's token function returns, one after the other.
	Tokens []string
	// Secrets are texts that no frame from the side under test may hold.
	Secrets []string
	// IDs are names of request ids, and how far from now their times lie.
	IDs   map[string]time.Duration
	Steps []Step
}

// Settings are what a transcript wants of its server. Zero: the default.
type Settings struct {
	// GraceMs is for how long handlers may run on after a shutdown.
	GraceMs int64 `json:"graceMs"`
	// MaxConnections is how many connections there may be.
	MaxConnections int `json:"maxConnections"`
	// PoisonAfter is how often a suspect may die alone before it is a dead
	// letter.
	PoisonAfter int `json:"poisonAfter"`
}

// Flaw is what is wrong with a token.
type Flaw string

// The flaws.
const (
	// Missing: no token is brought at all.
	Missing Flaw = "missing"
	// Forged: the signature does not verify.
	Forged Flaw = "forged"
)

// The ways by which a token can be brought.
const (
	// ViaHeader: by the header Authorization.
	ViaHeader = "header"
	// ViaSubprotocol: by a subprotocol entry, as browsers do.
	ViaSubprotocol = "subprotocol"
)

// DefaultExpiry is for how long tokens hold that say nothing else. Longer than
// any story but those that move the clock far.
const DefaultExpiry = time.Hour

// Identity is what a token says, and how whoever has it connects.
type Identity struct {
	Tenant  string   `json:"tenant"`
	Subject string   `json:"subject"`
	Scopes  []string `json:"scopes"`
	// ExpiresInMs is the time from the token's making to its expiry; may be
	// negative. Default: DefaultExpiry.
	ExpiresInMs int64 `json:"expiresInMs"`
	Flaw        Flaw  `json:"flaw"`
	// Via is how the token is brought. Default: ViaHeader.
	Via string `json:"via"`
	// Offers are the subprotocols on offer, without the token's. Default:
	// streamer.v1.
	Offers []string `json:"offers"`
}

// Expiry returns how long a token of the identity holds from its making on.
func (i *Identity) Expiry() time.Duration {
	if i.ExpiresInMs == 0 {
		return DefaultExpiry
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
	files, err := fs.Glob(dir, "*.json")
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, errors.New("no transcripts: the directory holds no *.json")
	}
	slices.Sort(files)
	out := make([]*Transcript, 0, len(files))
	for _, file := range files {
		data, err := fs.ReadFile(dir, file)
		if err != nil {
			return nil, err
		}
		t, err := Parse(strings.TrimSuffix(path.Base(file), ".json"), data)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Parse reads one transcript. Its errors begin with the name.
func Parse(name string, data []byte) (*Transcript, error) {
	t, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("transcript %s: %w", name, err)
	}
	t.Name = name
	return t, nil
}

func parse(data []byte) (*Transcript, error) {
	if _, err := parseNode(data); err != nil {
		return nil, err
	}
	var file struct {
		Tests      Side                `json:"tests"`
		Shows      string              `json:"shows"`
		Covers     []string            `json:"covers"`
		Needs      []Ability           `json:"needs"`
		Settings   Settings            `json:"settings"`
		Identities map[string]Identity `json:"identities"`
		Tokens     []string            `json:"tokens"`
		Secrets    []string            `json:"secrets"`
		IDs        map[string]int64    `json:"ids"`
		Steps      []json.RawMessage   `json:"steps"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	t := &Transcript{
		Tests: file.Tests, Shows: file.Shows, Covers: file.Covers, Needs: file.Needs, Settings: file.Settings,
		Identities: file.Identities, Tokens: file.Tokens, Secrets: file.Secrets,
		IDs: make(map[string]time.Duration, len(file.IDs)),
	}
	for name, ms := range file.IDs {
		t.IDs[name] = time.Duration(ms) * time.Millisecond
	}
	for i, raw := range file.Steps {
		s, err := parseStep(t.Tests, raw)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w: %s", i+1, err, raw)
		}
		t.Steps = append(t.Steps, s)
	}
	return t, t.check()
}

// check judges what no step can judge for itself.
func (t *Transcript) check() error {
	switch {
	case t.Tests != Server && t.Tests != Client:
		return errors.New(`tests must be "server" or "client"`)
	case t.Shows == "" || len(t.Covers) == 0:
		return errors.New("shows and covers must say what the transcript is for")
	case len(t.Steps) == 0:
		return errors.New("there are no steps")
	case t.Tests == Client && len(t.Identities) > 0, t.Tests == Server && len(t.Tokens) > 0:
		return errors.New("identities are for servers, tokens for clients")
	}
	for name := range t.IDs {
		if name == "any" || name == "absent" || name == "" {
			return fmt.Errorf("no id may be called %q: the word has a meaning of its own", name)
		}
	}
	for name, who := range t.Identities {
		if who.Via != "" && who.Via != ViaHeader && who.Via != ViaSubprotocol {
			return fmt.Errorf("%s cannot bring a token via %q", name, who.Via)
		}
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.Verb != "connect" {
			continue
		}
		if _, ok := t.Identities[s.text()]; !ok {
			return fmt.Errorf("step %d: nobody is called %q", i+1, s.text())
		}
	}
	return t.checkNeeds()
}

// checkNeeds compares the abilities that are named with those that the steps
// show. Frames, Clock and Beside may be named beside them: no step need show
// that a frame is too big, that a story is too long to be waited for, or that
// a run goes on beside another.
func (t *Transcript) checkNeeds() error {
	derived := map[Ability]bool{}
	if t.Settings != (Settings{}) {
		derived[AbilitySettings] = true
	}
	for i := range t.Steps {
		for _, a := range t.Steps[i].needs() {
			derived[a] = true
		}
	}
	for _, a := range t.Needs {
		if !derived[a] && a != AbilityFrames && a != AbilityClock && a != AbilityBeside {
			return fmt.Errorf("no step needs %q", a)
		}
	}
	if lacking := missing(slices.Sorted(maps.Keys(derived)), t.Needs); len(lacking) > 0 {
		return fmt.Errorf("needs must name %q", lacking)
	}
	return nil
}
