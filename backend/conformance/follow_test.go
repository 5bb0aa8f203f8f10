package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// snapshotFor answers a subscribe: lastSeq, whether more follow, and events.
func snapshotFor(frame, last, more string, events ...string) string {
	var m struct{ Ref string }
	_ = json.Unmarshal([]byte(frame), &m)
	return `{"type":"snapshot","ref":"` + m.Ref + `","id":"i","lastSeq":` + last + `,"more":` + more + `,"events":[` + strings.Join(events, ",") + `]}`
}

func ev(seq string) string { return `{"type":"chunk","seq":` + seq + `,"attempt":1,"data":7}` }

// followFrom2 follows the stream i from event 2 to 4.
const followFrom2 = `{"connect": "alice"}, {"follow": "i", "after": 1, "withinMs": 500, "events": [
	{"type": "chunk", "seq": 2, "attempt": 1, "data": 7}, {"type": "chunk", "seq": 3, "attempt": 1, "data": 7}, {"type": "chunk", "seq": 4, "attempt": 1, "data": 7}]}`

// However the events come, live or replayed, doubled or out of order, a
// follower sees the same.
func TestFollow(t *testing.T) {
	const mark = `{"type":"attempt","id":"i","seq":5,"attempt":2,"keep":1,"from":2}`
	const fromMark = `{"connect": "alice"}, {"follow": "i", "after": 3, "withinMs": 500, "events": [
		{"type": "attempt", "seq": 5, "...": true}, {"type": "chunk", "seq": 6, "...": true}]}`
	const ignoring = `{"connect": "alice"}, {"follow": "i", "after": 1, "withinMs": 500, "ignoring": ["attempt"], "events": [{"type": "chunk", "seq": 3, "...": true}]}`
	replyTo := func(frames func(f string) []string) func(*fakeConn, string) {
		return func(c *fakeConn, f string) { c.deliver(frames(f)...) }
	}
	// late delivers a frame after all that is followed.
	late := func(frame string) func(*fakeConn, string) {
		return replyTo(func(f string) []string {
			return []string{snapshotFor(f, "4", "false", ev("2"), ev("3"), ev("4")), frame}
		})
	}
	for name, c := range map[string]struct {
		steps string
		serve func(c *fakeConn, frame string)
		why   string
	}{
		"one page": {followFrom2, replyTo(func(f string) []string { return []string{snapshotFor(f, "4", "false", ev("2"), ev("3"), ev("4"))} }), ""},
		"pages": {followFrom2, func(c *fakeConn, f string) {
			switch {
			case strings.Contains(f, `"after": 1`):
				c.deliver(snapshotFor(f, "4", "true", ev("2")))
			case strings.Contains(f, `"after": 2`):
				c.deliver(snapshotFor(f, "4", "false", ev("3"), ev("4")))
			}
		}, ""},
		"live": {followFrom2, func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "2", "false", ev("2")))
			time.AfterFunc(time.Millisecond, func() { c.deliver(chunk("3")) })
			time.AfterFunc(time.Second/4, func() { c.deliver(chunk("4")) })
		}, ""},
		"progress between": {followFrom2, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "2", "false", ev("2")), `{"type":"progress","id":"i","attempt":1,"rev":1,"percent":5}`, chunk("3"), chunk("4")}
		}), ""},
		"live before the snapshot": {followFrom2, replyTo(func(f string) []string {
			return []string{chunk("4"), chunk("3"), snapshotFor(f, "2", "false", ev("2"))}
		}), ""},
		"doubles": {followFrom2, replyTo(func(f string) []string {
			return []string{chunk("2"), snapshotFor(f, "3", "false", ev("2"), ev("3")), chunk("3"), chunk("4")}
		}), ""},
		"no snapshot": {followFrom2, replyWith(chunk("2"), chunk("3"), chunk("4")), "3 of 3 events came, snapshot false"},
		"a hole for ever": {followFrom2, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "2", "false", ev("2")), chunk("4")}
		}), "1 of 3 events came, snapshot true"},
		"one too many": {followFrom2, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "5", "false", ev("2"), ev("3"), ev("4"), ev("5"))}
		}), "one event more"},
		"another event": {followFrom2, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "4", "false", ev("2"), `{"type":"result","seq":3,"payload":1}`)}
		}), "event 2 of 3"},
		"another stream":   {followFrom2, replyWith(`{"type":"chunk","id":"j","seq":2,"attempt":1,"data":7}`), "not of the stream"},
		"another snapshot": {followFrom2, replyWith(`{"type":"snapshot","ref":"x","id":"i","lastSeq":1,"more":false,"events":[]}`), "not of the stream"},
		"refused":          {followFrom2, replyWith(`{"type":"error","ref":"follow-1","code":"not_found"}`), "not of the stream"},

		// What was taken may come once more on that connection, and a lag before it;
		// what is new, or of another stream, may not.
		"late: the last":         {followFrom2, late(chunk("4")), ""},
		"late: an earlier one":   {followFrom2, late(chunk("2")), ""},
		"late: a lag":            {followFrom2, late(`{"type":"lag","id":"i","lastSeq":4}`), ""},
		"late: one more":         {followFrom2, late(chunk("5")), "nothing should have come"},
		"late: a later lag":      {followFrom2, late(`{"type":"lag","id":"i","lastSeq":5}`), "nothing should have come"},
		"late: another stream's": {followFrom2, late(`{"type":"chunk","id":"j","seq":2,"attempt":1,"data":7}`), "nothing should have come"},
		"late: an answer":        {followFrom2, late(`{"type":"snapshot","ref":"x","id":"i","lastSeq":4,"more":false,"events":[]}`), "nothing should have come"},

		// A mark stands for all seqs from its from on: nothing that it covers is
		// waited for.
		"a mark on a page": {fromMark, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "6", "false", strings.Replace(mark, `"id":"i",`, "", 1), ev("6"))}
		}), ""},
		"a live mark": {fromMark, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "3", "false"), chunk("6"), mark}
		}), ""},

		// Events of a type that is passed over count as taken.
		"ignoring": {ignoring, replyTo(func(f string) []string {
			return []string{snapshotFor(f, "3", "false", `{"type":"attempt","seq":2,"attempt":2,"keep":1,"from":2}`, ev("3"))}
		}), ""},
		"not ignoring": {ignoring, replyTo(func(f string) []string { return []string{snapshotFor(f, "3", "false", ev("2"), ev("3"))} }), "event 1 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			checkFailure(t, playFile(t, serverFile("", c.steps), newFakeServer(c.serve)), c.why)
		})
	}
}

// A lag makes the follower ask again: at once if it was live, else when its
// answer has come.
func TestFollowLag(t *testing.T) {
	const lag = `{"type":"lag","id":"i","lastSeq":4}`
	steps := `{"connect": "alice"}, {"follow": "i", "after": 1, "withinMs": 500, "events": [
		{"type": "chunk", "seq": 2, "...": true}, {"type": "chunk", "seq": 3, "...": true}]}`
	for name, answers := range map[string][]func(f string) []string{
		"live": {
			func(f string) []string { return []string{snapshotFor(f, "2", "false", ev("2")), lag} },
			func(f string) []string { return []string{snapshotFor(f, "3", "false", ev("3"))} },
		},
		"before the answer": {
			func(f string) []string { return []string{lag, snapshotFor(f, "2", "false", ev("2"))} },
			func(f string) []string { return []string{snapshotFor(f, "3", "false", ev("3"))} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			checkFailure(t, playFile(t, serverFile("", steps), newFakeServer(func(c *fakeConn, f string) {
				asked++
				c.deliver(answers[asked-1](f)...)
			})), "")
			assert.Equal(t, 2, asked)
		})
	}
}

// What is sent names the position and, when it is known, the epoch.
func TestFollowSubscribes(t *testing.T) {
	var frames []string
	server := newFakeServer(func(c *fakeConn, f string) {
		frames = append(frames, f)
		c.deliver(snapshotFor(f, "4", "false", ev("4")))
	})
	steps := `{"connect": "alice"}, {"follow": "i", "after": 3, "events": [{"type": "chunk", "...": true}]},
		{"send": {"type": "ping"}}, {"expect": {"type": "snapshot", "lastSeq": "$last", "...": true}},
		{"follow": "i", "after": 3, "epoch": "$last", "events": [{"type": "chunk", "...": true}]}`
	checkFailure(t, playFile(t, serverFile("", steps), server), "")
	want := []string{
		`{"type": "subscribe", "ref": "follow-1", "id": "i", "after": 3}`,
		`{"type": "ping"}`,
		`{"type": "subscribe", "ref": "follow-2", "id": "i", "after": 3, "epoch": 4}`,
	}
	assert.Equal(t, want, frames)
}
