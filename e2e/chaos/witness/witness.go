package witness

import (
	"encoding/json"
	"hash/fnv"
	"slices"
	"sync"

	"github.com/pay-theory/streamer/e2e/chaos/journal"
)

// Told is something that a server has said of a call.
type Told struct {
	// At is when it was seen leaving, by [journal.Now].
	At   int64  `json:"at"`
	Type string `json:"type"`
	ID   string `json:"id"`
	// For is the id that was sent, where a snapshot names another.
	For string `json:"for,omitempty"`

	Seq     uint64 `json:"seq,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	From    uint64 `json:"from,omitempty"`
	Keep    uint64 `json:"keep,omitempty"`
	Code    string `json:"code,omitempty"`
	// Sum is over the data of a chunk or the payload of a result.
	Sum uint64 `json:"sum,omitempty"`
	// Replayed tells that it was an event of a snapshot.
	Replayed bool `json:"replayed,omitempty"`
}

// Event tells whether it is a durable event.
func (t *Told) Event() bool { return t.Seq > 0 && t.Type != "snapshot" && t.Type != "lag" }

// Ends tells whether it is the end of a stored call.
func (t *Told) Ends() bool { return t.Seq > 0 && (t.Type == "result" || t.Type == "error") }

// message is what is read of a server's message.
type message struct {
	Type    string          `json:"type"`
	ID      string          `json:"id"`
	For     string          `json:"for"`
	Seq     uint64          `json:"seq"`
	Attempt int             `json:"attempt"`
	From    uint64          `json:"from"`
	Keep    uint64          `json:"keep"`
	Code    string          `json:"code"`
	Data    json.RawMessage `json:"data"`
	Payload json.RawMessage `json:"payload"`
	Events  []message       `json:"events"`
}

func (m *message) told(at int64, id string, replayed bool) Told {
	return Told{
		At: at, Type: m.Type, ID: id, For: m.For, Seq: m.Seq, Attempt: m.Attempt, From: m.From, Keep: m.Keep, Code: m.Code,
		Sum: Sum(append(slices.Clip(m.Data), m.Payload...)), Replayed: replayed,
	}
}

// Sum returns what is kept of data; 0 for none.
func Sum(data []byte) uint64 {
	if len(data) == 0 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(data)
	return h.Sum64()
}

// Witness keeps what was told on all connections. It is safe for concurrent
// use.
type Witness struct {
	mu   sync.Mutex
	told []Told
	// unread counts messages that were not JSON of the expected form.
	unread int
}

// Listen returns what takes the bytes that a server sends on one new
// connection. It returns what they told.
func (w *Witness) Listen() func(b []byte) []Told {
	f := &frames{}
	return func(b []byte) (out []Told) {
		unread := 0
		f.feed(b, func(text []byte) {
			told, err := parse(text)
			if err != nil {
				unread++
			}
			out = append(out, told...)
		})
		if f.deaf && f.open {
			unread++
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, out...)
		w.unread += unread
		return out
	}
}

// Told returns all that was told so far, and how many messages could not be
// read.
func (w *Witness) Told() (told []Told, unread int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told), w.unread
}

// parse reads a frame: a message, or several.
func parse(text []byte) ([]Told, error) {
	var messages []message
	var err error
	if len(text) > 0 && text[0] == '[' {
		err = json.Unmarshal(text, &messages)
	} else {
		messages = make([]message, 1)
		err = json.Unmarshal(text, &messages[0])
	}
	if err != nil {
		return nil, err
	}
	at := journal.Now()
	var out []Told
	for i := range messages {
		m := &messages[i]
		switch m.Type {
		case "ack", "chunk", "attempt", "result", "error", "snapshot":
			if m.ID != "" {
				out = append(out, m.told(at, m.ID, false))
			}
		}
		for j := range m.Events {
			out = append(out, m.Events[j].told(at, m.ID, true))
		}
	}
	return out, nil
}
