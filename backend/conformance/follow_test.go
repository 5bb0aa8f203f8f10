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

const wantTwoToFour = `{"connect": "alice"}, {"follow": "$i", "after": 1, "withinMs": 500, "events": [
	{"type": "chunk", "seq": 2, "attempt": 1, "data": 7}, {"type": "chunk", "seq": 3, "attempt": 1, "data": 7}, {"type": "chunk", "seq": 4, "attempt": 1, "data": 7}]}`

// However the events come, live or replayed, doubled or out of order, a
// follower sees the same.
func TestFollow(t *testing.T) {
	for name, c := range map[string]struct {
		serve func(c *fakeConn, frame string)
		why   string
	}{
		"one page": {func(c *fakeConn, f string) { c.deliver(snapshotFor(f, "4", "false", ev("2"), ev("3"), ev("4"))) }, ""},
		"pages": {func(c *fakeConn, f string) {
			switch {
			case strings.Contains(f, `"after": 1`):
				c.deliver(snapshotFor(f, "4", "true", ev("2")))
			case strings.Contains(f, `"after": 2`):
				c.deliver(snapshotFor(f, "4", "false", ev("3"), ev("4")))
			}
		}, ""},
		"live": {func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "2", "false", ev("2")))
			time.AfterFunc(time.Millisecond, func() { c.deliver(chunk("3")) })
			time.AfterFunc(time.Second/4, func() { c.deliver(chunk("4")) })
		}, ""},
		"progress between": {func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "2", "false", ev("2")), `{"type":"progress","id":"i","attempt":1,"rev":1,"percent":5}`, chunk("3"), chunk("4"))
		}, ""},
		"live before the snapshot": {func(c *fakeConn, f string) {
			c.deliver(chunk("4"), chunk("3"), snapshotFor(f, "2", "false", ev("2")))
		}, ""},
		"doubles": {func(c *fakeConn, f string) {
			c.deliver(chunk("2"), snapshotFor(f, "3", "false", ev("2"), ev("3")), chunk("3"), chunk("4"))
		}, ""},
		"no snapshot":     {func(c *fakeConn, _ string) { c.deliver(chunk("2"), chunk("3"), chunk("4")) }, "3 of 3 events came, snapshot false"},
		"a hole for ever": {func(c *fakeConn, f string) { c.deliver(snapshotFor(f, "2", "false", ev("2")), chunk("4")) }, "1 of 3 events came, snapshot true"},
		"one too many": {func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "5", "false", ev("2"), ev("3"), ev("4"), ev("5")))
		}, "one event more"},
		"another event": {func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "4", "false", ev("2"), `{"type":"result","seq":3,"payload":1}`))
		}, "event 2 of 3"},
		"another stream": {func(c *fakeConn, _ string) {
			c.deliver(`{"type":"chunk","id":"j","seq":2,"attempt":1,"data":7}`)
		}, "not of the stream"},
		"another snapshot": {func(c *fakeConn, _ string) {
			c.deliver(`{"type":"snapshot","ref":"x","id":"i","lastSeq":1,"more":false,"events":[]}`)
		}, "not of the stream"},
		"refused": {func(c *fakeConn, _ string) {
			c.deliver(`{"type":"error","ref":"follow-1","code":"not_found"}`)
		}, "not of the stream"},
	} {
		t.Run(name, func(t *testing.T) {
			file := strings.Replace(serverFile("", wantTwoToFour), `"$i"`, `"i"`, 1)
			checkFailure(t, playFile(t, file, newFakeServer(c.serve)), c.why)
		})
	}
}

// What was taken may come once more on that connection, and a lag before it;
// what is new, or of another stream, may not.
func TestFollowedDoubles(t *testing.T) {
	page := func(f string) string { return snapshotFor(f, "4", "false", ev("2"), ev("3"), ev("4")) }
	for name, c := range map[string]struct{ late, why string }{
		"the last":         {chunk("4"), ""},
		"an earlier one":   {chunk("2"), ""},
		"a lag":            {`{"type":"lag","id":"i","lastSeq":4}`, ""},
		"one more":         {chunk("5"), "nothing should have come"},
		"a later lag":      {`{"type":"lag","id":"i","lastSeq":5}`, "nothing should have come"},
		"another stream's": {`{"type":"chunk","id":"j","seq":2,"attempt":1,"data":7}`, "nothing should have come"},
		"an answer":        {`{"type":"snapshot","ref":"x","id":"i","lastSeq":4,"more":false,"events":[]}`, "nothing should have come"},
	} {
		t.Run(name, func(t *testing.T) {
			file := strings.Replace(serverFile("", wantTwoToFour), `"$i"`, `"i"`, 1)
			checkFailure(t, playFile(t, file, newFakeServer(func(conn *fakeConn, f string) { conn.deliver(page(f), c.late) })), c.why)
		})
	}
}

// A mark stands for all seqs from its from on: nothing that it covers is
// waited for.
func TestFollowMark(t *testing.T) {
	mark := `{"type":"attempt","seq":5,"attempt":2,"keep":1,"from":2}`
	steps := `{"connect": "alice"}, {"follow": "i", "after": 3, "withinMs": 500, "events": [
		{"type": "attempt", "seq": 5, "...": true}, {"type": "chunk", "seq": 6, "...": true}]}`
	checkFailure(t, playFile(t, serverFile("", steps), newFakeServer(func(c *fakeConn, f string) {
		c.deliver(snapshotFor(f, "6", "false", mark, ev("6")))
	})), "")
	checkFailure(t, playFile(t, serverFile("", steps), newFakeServer(func(c *fakeConn, f string) {
		c.deliver(snapshotFor(f, "3", "false"), chunk("6"), strings.Replace(mark, `{`, `{"id":"i",`, 1))
	})), "")
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

// Events of a type that is passed over count as taken.
func TestFollowIgnoring(t *testing.T) {
	steps := `{"connect": "alice"}, {"follow": "i", "after": 1, "withinMs": 500, "ignoring": ["attempt"], "events": [{"type": "chunk", "seq": 3, "...": true}]}`
	for mark, why := range map[string]string{
		`{"type":"attempt","seq":2,"attempt":2,"keep":1,"from":2}`: "",
		ev("2"): "event 1 of 1",
	} {
		checkFailure(t, playFile(t, serverFile("", steps), newFakeServer(func(c *fakeConn, f string) {
			c.deliver(snapshotFor(f, "3", "false", mark, ev("3")))
		})), why)
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
