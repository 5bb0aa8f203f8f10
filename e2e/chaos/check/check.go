// Package check judges from outside whether a chaos run kept the invariants: by
// what clients asked for and received, what handlers did, what went over the
// wire, and what the server has stored in the end. It compares them all, and
// trusts none of them alone.
package check

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/recorder"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// Rule is a rule that may be broken.
type Rule string

// Rules.
const (
	Lost        Rule = "lost"         // something acknowledged or sent is missing, and has not expired
	Duplicate   Rule = "duplicate"    // something came twice, or with two different contents
	Gap         Rule = "gap"          // something in between is missing
	Overlap     Rule = "overlap"      // two attempts of a call, or two processes, ran at once
	RunAgain    Rule = "run again"    // an attempt began after the call's end was sent
	UnknownCall Rule = "unknown call" // there is a call that nobody has asked for
	Key         Rule = "key"          // an idempotency key led to two calls
	Outcome     Rule = "outcome"      // a call has an outcome that it may not have
	Unended     Rule = "unended"      // an acknowledged call has no end
	Retention   Rule = "retention"    // something was deleted too early, or kept too long
	Crash       Rule = "crash"        // a process ended that was not killed, or did not do what it must
	Disk        Rule = "disk"         // the server did not report a full disk, or did not recover from it
)

// Rules are all rules.
var Rules = []Rule{Lost, Duplicate, Gap, Overlap, RunAgain, UnknownCall, Key, Outcome, Unended, Retention, Crash, Disk}

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
	// Calls are those of the clients, Handlers is what handlers have done.
	Calls    []*recorder.Call
	Handlers []serverproc.Entry
	// Sent is what servers have sent, Stored what the last one had in the end,
	// read from ReadAt on, by serverproc.Now.
	Sent   []recorder.Event
	Stored []recorder.StoredCall
	ReadAt int64
}

// Counts counts by name.
type Counts map[string]int

// Names of counts.
const (
	Calls        = "calls"        // that were asked for
	Acknowledged = "acknowledged" // calls that were stored
	Ended        = "ended"        // calls that have ended
	Attempts     = "attempts"     // runs of handlers
	Chunks       = "chunks"       // that readers got
	Discarded    = "discarded"    // of these chunks
)

// call is all that is known of an id.
type call struct {
	*recorder.Call
	// target is the call that this one was acknowledged as, or itself; readers are
	// those whose target this one is.
	target  *call
	readers []*call
	// end is the read with its end; nil: it has not ended for its readers.
	end *recorder.Read
	// runs is what its handlers did, sent are its durable events; ackSent and
	// endSent are when its ack and its end were first sent.
	runs             []*serverproc.Entry
	sent             []*recorder.Event
	ackSent, endSent int64
	stored           *recorder.StoredCall
}

type checker struct {
	*Evidence
	asked    []*call
	calls    map[string]*call // and those that nobody has asked for
	findings []Finding
	counts   Counts
}

// Check checks what a world has left behind, and counts what was checked.
func Check(e *Evidence) ([]Finding, Counts) {
	c := &checker{Evidence: e, calls: map[string]*call{}, counts: Counts{}}
	c.indexCalls()
	for _, k := range c.asked {
		c.checkSent(k)
		c.checkRuns(k)
		c.checkReads(k)
	}
	for _, k := range c.asked {
		c.checkStored(k)
		c.checkAcknowledged(k)
	}
	c.checkKeys()
	return c.findings, c.counts
}

func (c *checker) addFinding(rule Rule, id, format string, args ...any) {
	c.findings = append(c.findings, Finding{rule, id, fmt.Sprintf(format, args...)})
}

// callByID returns the call with that id. It is a finding if nobody has asked for
// it.
func (c *checker) callByID(id, where string) *call {
	k := c.calls[id]
	if k == nil {
		k = &call{Call: &recorder.Call{ID: id}}
		c.calls[id] = k
		c.addFinding(UnknownCall, id, "it was %s, and nobody has asked for it", where)
	}
	return k
}

// indexCalls collects what is known of each call.
func (c *checker) indexCalls() {
	c.counts[Calls] = len(c.Calls)
	for _, asked := range c.Calls {
		k := &call{Call: asked}
		c.asked, c.calls[k.ID] = append(c.asked, k), k
	}
	for _, k := range c.asked {
		k.target = c.callByID(cmp.Or(k.Ack, k.ID), "acknowledged")
		k.target.readers = append(k.target.readers, k)
	}
	for i := range c.Sent {
		e := &c.Sent[i]
		if e.Type == recorder.Unreadable {
			c.addFinding(Crash, "", "a message on the wire could not be read")
		} else if k := c.callByID(e.ID, "sent ("+e.Type+")"); e.Durable() {
			k.sent = append(k.sent, e)
		}
	}
	run := 0
	for i := range c.Handlers {
		e := &c.Handlers[i]
		k := c.callByID(e.ID, "run")
		k.runs = append(k.runs, e)
		if e.Run < run {
			c.addFinding(Overlap, e.ID, "process %d still wrote when process %d had begun", e.Run, run)
		}
		run = max(run, e.Run)
	}
	for i := range c.Stored {
		k := c.callByID(c.Stored[i].ID, "stored")
		if k.stored != nil {
			c.addFinding(Duplicate, k.ID, "it is twice in the server's list")
		}
		k.stored = &c.Stored[i]
	}
}

// checkAcknowledged checks that a call that was acknowledged has ended, and is
// stored unless it has expired.
func (c *checker) checkAcknowledged(k *call) {
	if k.end != nil || k.stored != nil && k.stored.EndedAt > 0 {
		c.counts[Ended]++
	}
	if k.Ack == "" && k.ackSent == 0 {
		return
	}
	c.counts[Acknowledged]++
	s := k.target.stored
	switch {
	case s == nil && !c.expired(k, c.ReadAt):
		c.addFinding(Lost, k.ID, "it was acknowledged as %s, and is not stored", k.target.ID)
	case s != nil && !s.Gone && (len(s.Events) == 0 || !s.Events[len(s.Events)-1].IsEnd()):
		c.addFinding(Unended, k.ID, "it was acknowledged as %s, and has no end", k.target.ID)
	}
}

// expired reports whether a call may have ended so long before a moment that it
// was deleted: it ends after its last handler has returned. A call that no
// handler has completed cannot have ended, unless it may end otherwise.
func (c *checker) expired(k *call, at int64) bool {
	last, ok := idTime(k.target.ID)
	completed := false
	if n := len(k.target.runs); n > 0 {
		run := k.target.runs[n-1]
		last, completed = run.At, run.Returned && !run.Failed
	}
	return c.Retention > 0 && ok && (completed || len(k.target.May) > 0) && at-last >= c.Retention.Microseconds()
}

// idTime returns the time in an id, in microseconds.
func idTime(id string) (int64, bool) {
	if len(id) < 13 {
		return 0, false
	}
	ms, err := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	return ms * 1000, err == nil
}

// checkKeys checks that all requests with one idempotency key have one call.
func (c *checker) checkKeys() {
	type use struct{ key, what string }
	used := map[use]string{}
	for _, k := range c.asked {
		if k.Key == "" {
			continue
		}
		uses := map[string]string{}
		if k.Ack != "" {
			uses["was answered with"] = k.Ack
		}
		if len(k.runs) > 0 {
			uses["ran"] = k.ID
		}
		if k.stored != nil {
			uses["stored"] = k.ID
		}
		for what, id := range uses {
			u := use{k.Key, what}
			if used[u] = cmp.Or(used[u], id); used[u] != id {
				c.addFinding(Key, id, "the key %s %s another call, too: %s", k.Key, what, used[u])
			}
		}
	}
}
