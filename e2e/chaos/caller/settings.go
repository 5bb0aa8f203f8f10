// Package caller is the client process of chaos runs: it makes calls by the Go
// client, and writes into a journal what it asks for before it does, and what
// it was told. When it is killed, a new one takes up its ids from there.
package caller

import (
	"encoding/json"

	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// Variable is the environment variable that makes a program a caller. It holds
// Settings as JSON.
const Variable = "STREAMER_CHAOS_CALLER"

// Settings are what a caller is started with.
type Settings struct {
	// Run is the number of the process, from 1; Seed makes its choices.
	Run     int    `json:"run"`
	Seed    uint64 `json:"seed"`
	URL     string `json:"url"`
	Journal string `json:"journal"`
	// Kind says what sort of calls are made, Callers how many at a time.
	Kind    plan.Kind `json:"kind"`
	Callers int       `json:"callers"`
}

// Commands are lines on the standard input. Its end says that no new calls are
// to be made: the process ends when the old ones have.
const (
	// Lull has no new calls made until Go.
	Lull = "lull"
	Go   = "go"
)

// Environment returns the variable that starts a caller with these settings.
func (s *Settings) Environment() (string, error) {
	text, err := json.Marshal(s)
	return Variable + "=" + string(text), err
}
