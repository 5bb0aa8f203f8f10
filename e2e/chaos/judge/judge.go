// Package judge tells from outside whether a chaos run kept the laws: by what
// callers asked for and were told, what handlers did, what went over the wire,
// and what the server has stored in the end. It trusts none of them alone.
package judge

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/witness"
)

// Rule is a rule that may be broken.
type Rule string

// Rules.
const (
	// Lost: something acknowledged or told is not there, and has not expired.
	Lost Rule = "lost"
	// Doubled: something came twice, or came to two different things.
	Doubled Rule = "doubled"
	// Gap: something in between is missing.
	Gap Rule = "gap"
	// Overlap: two attempts of a call, or two processes, were at work at once.
	Overlap Rule = "overlap"
	// Anew: a call was run again though its end was told.
	Anew Rule = "anew"
	// Stranger: there is something that nobody has asked for.
	Stranger Rule = "stranger"
	// Key: an idempotency key led to two calls.
	Key Rule = "key"
	// Wrong: a call came to something that it may not come to.
	Wrong Rule = "wrong"
	// Unended: an acknowledged call has no end.
	Unended Rule = "unended"
	// Retention: something was forgotten too early, or kept too long.
	Retention Rule = "retention"
	// Crash: a process died that nobody has killed, or did not do what it must.
	Crash Rule = "crash"
	// Disk: a disk that was full was not felt, or not recovered from.
	Disk Rule = "disk"
)

// Finding is a rule that was broken.
type Finding struct {
	Rule Rule   `json:"rule"`
	ID   string `json:"id,omitempty"`
	Text string `json:"text"`
}

func (f Finding) String() string {
	if f.ID == "" {
		return fmt.Sprintf("%s: %s", f.Rule, f.Text)
	}
	return fmt.Sprintf("%s: call %s: %s", f.Rule, f.ID, f.Text)
}

// Evidence is what a world has left behind.
type Evidence struct {
	// Retention is for how long calls are kept after their end; 0: longer than
	// the world.
	Retention time.Duration
	// Called is the callers' journal, Worked the handlers'.
	Called, Worked []journal.Entry
	Told           []witness.Told
	// Stored is what the server had in the end, read from ReadAt on, by
	// [journal.Now].
	Stored []Stored
	ReadAt int64
}

// Stored is a call as the server has stored it.
type Stored struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	// EndedAt is in milliseconds by the server's clock; 0: it has not ended.
	EndedAt int64 `json:"endedAt"`
	// Gone tells that it was listed, and had expired when it was read.
	Gone   bool    `json:"gone,omitempty"`
	Events []Event `json:"events"`
}

// Event is a stored event.
type Event struct {
	Type    string          `json:"type"`
	Seq     uint64          `json:"seq"`
	Attempt int             `json:"attempt"`
	From    uint64          `json:"from"`
	Keep    uint64          `json:"keep"`
	Code    string          `json:"code"`
	Data    json.RawMessage `json:"data"`
	Payload json.RawMessage `json:"payload"`
}

// Report is the verdict.
type Report struct {
	Findings []Finding
	Counts
}

// Counts are what was judged.
type Counts struct {
	// Asked counts calls, Acknowledged those that were stored, Ended those
	// whose end was seen.
	Asked, Acknowledged, Ended int
	// Attempts counts runs of handlers, Chunks those that readers were handed,
	// Void those of them that became void, Refused the refusals for now.
	Attempts, Chunks, Void, Refused int
}

// Add adds counts.
func (c *Counts) Add(more Counts) {
	c.Asked += more.Asked
	c.Acknowledged += more.Acknowledged
	c.Ended += more.Ended
	c.Attempts += more.Attempts
	c.Chunks += more.Chunks
	c.Void += more.Void
	c.Refused += more.Refused
}

// call is all that is known of an id that was asked for.
type call struct {
	id      string
	action  string
	options journal.Options
	params  job.Params
	payload json.RawMessage

	// to is the id it was acknowledged under, acked when; 0: it was not.
	to    string
	acked int64
	// end is how it ended for its readers; nil: it has not.
	end *journal.Entry
	// worked is the last that a handler wrote of it; nil: none has run it.
	worked *journal.Entry
}

// judge is a case.
type judge struct {
	*Evidence
	Report
	calls map[string]*call
	order []string
	// under are the calls that were acknowledged under an id.
	under map[string][]*call
	// told are the events that were told, by call and seq; endTold is when a
	// call's end first was.
	told    map[string]map[uint64]*witness.Told
	endTold map[string]int64
	ackTold map[string]int64
	stored  map[string]*Stored
	begun   map[string]int
}

// Judge judges.
func Judge(e *Evidence) Report {
	j := &judge{
		Evidence: e, calls: map[string]*call{}, under: map[string][]*call{}, told: map[string]map[uint64]*witness.Told{},
		endTold: map[string]int64{}, ackTold: map[string]int64{}, stored: map[string]*Stored{}, begun: map[string]int{},
	}
	j.index()
	j.wire()
	j.work()
	j.readings()
	for i := range e.Stored {
		j.history(&e.Stored[i])
	}
	j.acknowledged()
	j.keys()
	return j.Report
}

func (j *judge) find(rule Rule, id, format string, args ...any) {
	j.Findings = append(j.Findings, Finding{rule, id, fmt.Sprintf(format, args...)})
}

// index finds what was asked for.
func (j *judge) index() {
	for i := range j.Called {
		e := &j.Called[i]
		c := j.calls[e.ID]
		switch {
		case e.What == journal.Ask:
			c = &call{id: e.ID, action: e.Action, payload: e.Data}
			if e.Options != nil {
				c.options = *e.Options
			}
			if err := json.Unmarshal(e.Data, &c.params); err != nil {
				j.find(Crash, e.ID, "the journal holds no job: %v", err)
			}
			j.calls[e.ID], j.order = c, append(j.order, e.ID)
			j.Asked++
		case c == nil:
			j.find(Crash, e.ID, "the callers' journal speaks of a call that was not asked for")
			j.calls[e.ID] = &call{id: e.ID}
		case e.What == journal.Ack && c.acked == 0:
			c.to, c.acked = e.To, e.At
			j.under[e.To] = append(j.under[e.To], c)
		case e.What == journal.Ack && c.to != e.To:
			j.find(Doubled, e.ID, "it was acknowledged as %s, and then as %s", c.to, e.To)
		}
	}
	for i := range j.Stored {
		s := &j.Stored[i]
		if j.stored[s.ID] != nil {
			j.find(Doubled, s.ID, "it stands twice in the server's list")
		}
		j.stored[s.ID] = s
	}
}

// acknowledged looks at what was promised: each call that was acknowledged has
// come to its end, and is there unless it has expired.
func (j *judge) acknowledged() {
	for _, id := range j.order {
		c := j.calls[id]
		if s := j.stored[id]; c.end != nil || s != nil && s.EndedAt > 0 {
			j.Ended++
		}
		if c.acked == 0 && j.ackTold[id] == 0 {
			continue
		}
		j.Acknowledged++
		target := id
		if c.to != "" {
			target = c.to
		}
		s := j.stored[target]
		switch {
		case s == nil && !j.expired(c, target, j.ReadAt):
			j.find(Lost, id, "it was acknowledged as %s, and is not there", target)
		case s != nil && !s.Gone && (len(s.Events) == 0 || !ends(&s.Events[len(s.Events)-1])):
			j.find(Unended, id, "it was acknowledged as %s, and has no end", target)
		}
	}
}

// expired tells whether a call may have ended so long before a moment that it
// is forgotten: its end comes after its last handler has returned. A call that
// no handler has seen through cannot have ended, unless it may end otherwise.
func (j *judge) expired(c *call, target string, at int64) bool {
	t := j.calls[target]
	if t == nil {
		t = c
	}
	last, ok := idTime(t.id)
	if t.worked != nil {
		last = t.worked.At
	}
	over := t.worked != nil && t.worked.What == journal.Return && t.worked.Code == "" || len(t.options.May) > 0
	return j.Retention > 0 && ok && over && at-last >= j.Retention.Microseconds()
}

// keys looks at idempotency keys: all who asked by one have one call.
func (j *judge) keys() {
	groups := map[string][]*call{}
	for _, id := range j.order {
		if c := j.calls[id]; c.options.Key != "" {
			groups[c.options.Key] = append(groups[c.options.Key], c)
		}
	}
	for key, group := range groups {
		var to, begun, stored []string
		add := func(list *[]string, id string) {
			if !slices.Contains(*list, id) {
				*list = append(*list, id)
			}
		}
		for _, c := range group {
			if c.to != "" {
				add(&to, c.to)
			}
			if j.begun[c.id] > 0 {
				add(&begun, c.id)
			}
			if j.stored[c.id] != nil {
				add(&stored, c.id)
			}
		}
		for what, ids := range map[string][]string{"was answered with": to, "ran": begun, "stored": stored} {
			if len(ids) > 1 {
				j.find(Key, ids[0], "the key %s %s several calls: %v", key, what, ids)
			}
		}
	}
}
