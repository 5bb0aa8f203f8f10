// Package check judges from outside whether a chaos run kept the invariants: by
// what clients asked for and were told, what handlers did, what went over the
// wire, and what the server has stored in the end. It compares them all, and
// trusts none of them alone.
package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Rule is a rule that may be broken.
type Rule string

// Rules.
const (
	// Lost: something acknowledged or sent is missing, and has not expired.
	Lost Rule = "lost"
	// Duplicate: something came twice, or with two different contents.
	Duplicate Rule = "duplicate"
	// Gap: something in between is missing.
	Gap Rule = "gap"
	// Overlap: two attempts of a call, or two processes, ran at once.
	Overlap Rule = "overlap"
	// RunAgain: an attempt began after the call's end was sent.
	RunAgain Rule = "run again"
	// UnknownCall: there is a call that nobody has asked for.
	UnknownCall Rule = "unknown call"
	// Key: an idempotency key led to two calls.
	Key Rule = "key"
	// Outcome: a call has an outcome that it may not have.
	Outcome Rule = "outcome"
	// Unended: an acknowledged call has no end.
	Unended Rule = "unended"
	// Retention: something was deleted too early, or kept too long.
	Retention Rule = "retention"
	// Crash: a process ended that was not killed, or did not do what it must.
	Crash Rule = "crash"
	// Disk: the server did not report a full disk, or did not recover from it.
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
	// the world exists.
	Retention time.Duration
	// Clients and Handlers are the journals.
	Clients, Handlers []serverproc.Entry
	Wire              []recorder.Event
	// Stored is what the server had in the end, read from ReadAt on, by
	// serverproc.Now.
	Stored []recorder.Call
	ReadAt int64
}

// Report is the verdict.
type Report struct {
	Findings []Finding
	Counts
}

// Counts are what was checked.
type Counts struct {
	// Asked counts calls, Acknowledged those that were stored, Ended those whose
	// end was seen.
	Asked, Acknowledged, Ended int
	// Attempts counts runs of handlers, Chunks those that readers got, Discarded
	// those of them that were discarded later.
	Attempts, Chunks, Discarded int
}

// Add adds counts.
func (c *Counts) Add(more Counts) {
	c.Asked += more.Asked
	c.Acknowledged += more.Acknowledged
	c.Ended += more.Ended
	c.Attempts += more.Attempts
	c.Chunks += more.Chunks
	c.Discarded += more.Discarded
}

// call is all that is known of an id.
type call struct {
	id      string
	action  string // empty: nobody has asked for it
	options serverproc.Options
	params  serverproc.Params
	payload json.RawMessage

	// to is the id it was acknowledged under, acked when; 0: it was not. readers
	// are the calls that were acknowledged under this id.
	to      string
	acked   int64
	readers []*call
	// end is how it ended for its reader; nil: it has not.
	end *serverproc.Entry
	// lastRun is the last entry of a handler; nil: none has run it. begun counts
	// its attempts.
	lastRun *serverproc.Entry
	begun   int
	// wire are the events that were sent, by seq; ackSent and endSent are when
	// its ack and its end first were.
	wire             map[uint64]*recorder.Event
	ackSent, endSent int64
	stored           *recorder.Call
	// reported tells that it was reported as unknown.
	reported bool
}

// target returns the id under which the call is stored.
func (k *call) target() string {
	if k.to != "" {
		return k.to
	}
	return k.id
}

type checker struct {
	*Evidence
	Report
	calls map[string]*call
	asked []*call // in the order in which they were asked for
}

// Check checks what a world has left behind.
func Check(e *Evidence) Report {
	c := &checker{Evidence: e, calls: map[string]*call{}}
	c.indexCalls()
	c.checkWire()
	c.checkRuns()
	c.checkReaders()
	for i := range e.Stored {
		c.checkStored(&e.Stored[i])
	}
	c.checkAcknowledged()
	c.checkKeys()
	return c.Report
}

func (c *checker) find(rule Rule, id, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{rule, id, fmt.Sprintf(format, args...)})
}

// call returns the call with that id. It is a finding if nobody has asked for
// it.
func (c *checker) call(id, where string) *call {
	k := c.calls[id]
	if k == nil {
		k = &call{id: id}
		c.calls[id] = k
	}
	if k.action == "" && !k.reported {
		k.reported = true
		c.find(UnknownCall, id, "it was %s, and nobody has asked for it", where)
	}
	return k
}

// indexCalls collects what was asked for and acknowledged.
func (c *checker) indexCalls() {
	for i := range c.Clients {
		e := &c.Clients[i]
		if e.What == serverproc.Ask {
			k := &call{id: e.ID, action: e.Action, payload: e.Data}
			if e.Options != nil {
				k.options = *e.Options
			}
			if err := json.Unmarshal(e.Data, &k.params); err != nil {
				c.find(Crash, e.ID, "the journal holds no job: %v", err)
			}
			c.calls[e.ID], c.asked = k, append(c.asked, k)
			c.Asked++
			continue
		}
		k := c.call(e.ID, "in the clients' journal")
		switch {
		case e.What == serverproc.Ack && k.acked == 0:
			k.to, k.acked = e.To, e.At
		case e.What == serverproc.Ack && k.to != e.To:
			c.find(Duplicate, e.ID, "it was acknowledged as %s, and then as %s", k.to, e.To)
		}
	}
	for _, k := range c.asked {
		if target := c.calls[k.to]; target != nil {
			target.readers = append(target.readers, k)
		}
	}
	for i := range c.Stored {
		s := &c.Stored[i]
		k := c.call(s.ID, "stored")
		if k.stored != nil {
			c.find(Duplicate, s.ID, "it is twice in the server's list")
		}
		k.stored = s
	}
}

// checkAcknowledged checks that each call that was acknowledged has ended, and
// is stored unless it has expired.
func (c *checker) checkAcknowledged() {
	for _, k := range c.asked {
		if k.end != nil || k.stored != nil && k.stored.EndedAt > 0 {
			c.Ended++
		}
		if k.acked == 0 && k.ackSent == 0 {
			continue
		}
		c.Acknowledged++
		var s *recorder.Call
		if target := c.calls[k.target()]; target != nil {
			s = target.stored
		}
		switch {
		case s == nil && !c.expired(k, c.ReadAt):
			c.find(Lost, k.id, "it was acknowledged as %s, and is not stored", k.target())
		case s != nil && !s.Gone && (len(s.Events) == 0 || !s.Events[len(s.Events)-1].Ends()):
			c.find(Unended, k.id, "it was acknowledged as %s, and has no end", k.target())
		}
	}
}

// expired tells whether a call may have ended so long before a moment that it
// was deleted: it ends after its last handler has returned. A call that no
// handler has completed cannot have ended, unless it may end otherwise.
func (c *checker) expired(k *call, at int64) bool {
	if target := c.calls[k.target()]; target != nil {
		k = target
	}
	last, ok := idTime(k.id)
	if k.lastRun != nil {
		last = k.lastRun.At
	}
	completed := k.lastRun != nil && k.lastRun.What == serverproc.Return && k.lastRun.Code == ""
	return c.Retention > 0 && ok && (completed || len(k.options.May) > 0) && at-last >= c.Retention.Microseconds()
}

// checkKeys checks that all requests with one idempotency key have one call.
func (c *checker) checkKeys() {
	type uses struct{ answered, run, stored []string }
	keys := map[string]*uses{}
	for _, k := range c.asked {
		if k.options.Key == "" {
			continue
		}
		u := keys[k.options.Key]
		if u == nil {
			u = &uses{}
			keys[k.options.Key] = u
		}
		if k.to != "" && !slices.Contains(u.answered, k.to) {
			u.answered = append(u.answered, k.to)
		}
		if k.begun > 0 {
			u.run = append(u.run, k.id)
		}
		if k.stored != nil {
			u.stored = append(u.stored, k.id)
		}
	}
	for key, u := range keys {
		for what, ids := range map[string][]string{"was answered with": u.answered, "ran": u.run, "stored": u.stored} {
			if len(ids) > 1 {
				c.find(Key, ids[0], "the key %s %s several calls: %v", key, what, ids)
			}
		}
	}
}
