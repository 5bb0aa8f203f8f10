package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// replyWith returns a server that answers every frame with the given ones.
func replyWith(frames ...string) func(*fakeConn, string) {
	return func(c *fakeConn, _ string) { c.deliver(frames...) }
}

func chunk(seq string) string {
	return `{"type": "chunk", "id": "i", "seq": ` + seq + `, "attempt": 1, "data": 7}`
}

// Each verb is shown doing its work, and failing when it must; why is empty
// when the transcript is to pass.
func TestVerbs(t *testing.T) {
	const open, ping = `{"connect": "alice"}, `, `{"send": {"type": "ping"}}, `
	pong := replyWith(`{"type":"pong"}`)
	for name, c := range map[string]struct {
		needs, steps string
		serve        func(*fakeConn, string)
		why          string
	}{
		"expect":                    {"", open + ping + `{"expect": {"type": "pong"}}`, pong, ""},
		"expect another":            {"", open + ping + `{"expect": {"type": "ok"}}`, pong, `.type: expected "ok"`},
		"expect nothing came":       {"", open + `{"expect": {"type": "pong"}}`, pong, "nothing came"},
		"expect a list":             {"", open + ping + `{"expect": [{"type": "pong"}, {"type": "ok", "ref": "$r"}]}`, replyWith(`{"type":"pong"}`, `{"type":"ok","ref":"1"}`), ""},
		"expect a batch":            {"", open + ping + `{"expect": [{"type": "pong"}, {"type": "ok", "ref": "1"}]}`, replyWith(`[{"type":"pong"},{"type":"ok","ref":"1"}]`), ""},
		"expect out of order":       {"", open + ping + `{"expect": [{"type": "ok", "ref": "1"}, {"type": "pong"}]}`, replyWith(`[{"type":"pong"},{"type":"ok","ref":"1"}]`), "message 1 of 2"},
		"expect three times":        {"", open + ping + `{"expect": {"$times": [{"type": "pong"}, 3]}}`, replyWith(`[{"type":"pong"},{"type":"pong"},{"type":"pong"}]`), ""},
		"expect once too often":     {"", open + ping + `{"expect": {"$times": [{"type": "pong"}, 2]}}`, pong, "message 2 of 2: nothing came"},
		"too late":                  {"", open + ping + `{"expect": {"type": "pong"}, "withinMs": 100}`, lateBy(time.Second), "nothing came"},
		"in time":                   {"", open + ping + `{"expect": {"type": "pong"}, "withinMs": 1500}`, lateBy(time.Second), ""},
		"ignoring":                  {"", open + ping + `{"expect": {"type": "pong"}, "ignoring": ["lag"]}`, replyWith(`{"type":"lag","id":"i","lastSeq":3}`, `{"type":"pong"}`), ""},
		"not ignoring":              {"", open + ping + `{"expect": {"type": "pong"}, "ignoring": ["ok"]}`, replyWith(`{"type":"lag","id":"i","lastSeq":3}`, `{"type":"pong"}`), "expected"},
		"left over":                 {"", open + ping + `{"expect": {"type": "pong"}}`, replyWith(`{"type":"pong"}`, `{"type":"pong"}`), "nothing should have come"},
		"left over, late":           {"", open + ping + `{"silenceMs": 10}`, lateBy(40 * time.Millisecond), "nothing should have come"},
		"poll":                      {"", open + `{"poll": {"type": "ping"}, "until": {"type": "ok", "ref": "3"}}, {"silenceMs": 100}`, counting(), ""},
		"poll in vain":              {"", open + `{"poll": {"type": "ping"}, "until": {"type": "ok", "ref": "0"}, "withinMs": 1000}`, counting(), "0"},
		"poll without an answer":    {"", open + `{"poll": {"type": "ping"}, "until": {"type": "pong"}}`, replyWith(), "no answer: nothing came"},
		"lose what is late":         {"", open + `{"lose": "received"}, ` + ping + `{"silenceMs": 10}, ` + ping + `{"expect": {"type": "pong"}}`, lateBy(time.Second), ""},
		"lose what never comes":     {"", open + `{"lose": "received"}, ` + ping + `{"silenceMs": 10}`, replyWith(), "what is to be lost has not come"},
		"closed at the end":         {"", open + `{"send": {"type": "ping"}}`, closing(1001), "closed: 1001"},
		"any order":                 {"", open + ping + `{"expectAnyOrder": [{"type": "ok", "ref": "$r"}, {"type": "pong"}]}`, replyWith(`{"type":"pong"}`, `{"type":"ok","ref":"1"}`), ""},
		"any order, greedy":         {"", open + ping + `{"expectAnyOrder": [{"type": "ok", "ref": "$r"}, {"type": "ok", "ref": "1"}]}`, replyWith(`{"type":"ok","ref":"1"}`, `{"type":"ok","ref":"2"}`), ""},
		"any order, no match":       {"", open + ping + `{"expectAnyOrder": [{"type": "ok", "ref": "$r"}, {"type": "ok", "ref": "$r"}]}`, replyWith(`{"type":"ok","ref":"1"}`, `{"type":"ok","ref":"2"}`), "no order"},
		"any order, too few":        {"", open + ping + `{"expectAnyOrder": [{"type": "pong"}, {"type": "pong"}]}`, pong, "1 of 2 messages came"},
		"silence":                   {"", open + `{"silenceMs": 500}`, pong, ""},
		"silence, ignoring":         {"", open + ping + `{"silenceMs": 500, "ignoring": ["pong"]}`, pong, ""},
		"no silence":                {"", open + ping + `{"silenceMs": 500}`, lateBy(400 * time.Millisecond), "nothing should have come"},
		"no silence, late":          {"", open + ping + `{"silenceMs": 120000}`, lateBy(90 * time.Second), "nothing should have come"},
		"close":                     {"", open + ping + `{"expectClose": 1009}`, closing(1009), ""},
		"any close":                 {"", open + ping + `{"expectClose": 0}`, closing(1011), ""},
		"another close":             {"", open + ping + `{"expectClose": 1003}`, closing(1009), "another close code"},
		"no close":                  {"", open + ping + `{"expectClose": 1003}`, replyWith(), "nothing came"},
		"message before close":      {"", open + ping + `{"expectClose": 1003}`, pong, "instead of the close"},
		"send behind the close":     {"", open + ping + `{"expectClose": 1009}, {"send": {"type": "ping"}}`, closing(1009), "is gone"},
		"no such connection":        {"", open + `{"expect": {"type": "pong"}, "on": "other"}`, pong, `no connection "other"`},
		"connection still open":     {"", open + `{"connect": "alice"}`, pong, "still open"},
		"connection again":          {"", open + `{"cut": "main"}, {"connect": "alice"}`, pong, ""},
		"closed and again":          {"", open + `{"close": 1000}, {"connect": "alice"}`, pong, ""},
		"two connections":           {"", open + `{"connect": "alice", "on": "b"}, {"send": {"type": "ping"}, "on": "b"}, {"expect": {"type": "pong"}, "on": "b"}`, pong, ""},
		"wrong connection":          {"", open + `{"connect": "alice", "on": "b"}, {"send": {"type": "ping"}, "on": "b"}, {"expect": {"type": "pong"}}`, pong, "nothing came"},
		"lose sent":                 {"", open + `{"lose": "sent"}, ` + ping + `{"silenceMs": 10}, ` + ping + `{"expect": {"type": "pong"}}`, pong, ""},
		"lose received":             {"", open + `{"lose": "received"}, ` + ping + `{"silenceMs": 10}, ` + ping + `{"expect": {"type": "pong"}}`, pong, ""},
		"double sent":               {"", open + `{"double": "sent"}, ` + ping + `{"expect": [{"type": "pong"}, {"type": "pong"}]}`, pong, ""},
		"double received":           {"", open + `{"double": "received"}, ` + ping + `{"expect": [{"type": "pong"}, {"type": "pong"}]}`, pong, ""},
		"delay sent":                {"", open + `{"delay": "sent"}, {"sendText": "1"}, {"silenceMs": 1}, {"sendText": "2"}, {"expect": [{"type": "ok", "ref": "2"}, {"type": "ok", "ref": "1"}]}`, echoRef, ""},
		"delay received":            {"", open + `{"delay": "received"}, {"sendText": "1"}, {"sendText": "2"}, {"expect": [{"type": "ok", "ref": "2"}, {"type": "ok", "ref": "1"}]}`, echoRef, ""},
		"delay received, alone":     {"", open + `{"delay": "received"}, {"sendText": "1"}, {"expect": {"type": "ok", "ref": "1"}, "withinMs": 10}`, echoRef, ""},
		"send text":                 {"", open + `{"sendText": "{no"}, {"expect": {"type": "ok", "ref": "{no"}}`, echoRef, ""},
		"send text, made":           {"", open + `{"sendText": {"$repeat": ["[", 3]}}, {"expect": {"type": "ok", "ref": "[[["}}`, echoRef, ""},
		"send hex":                  {"", open + `{"sendHex": "616263"}, {"expect": {"type": "ok", "ref": "abc"}}`, echoRef, ""},
		"send no hex":               {"", open + `{"sendHex": "xyz"}`, echoRef, "invalid byte"},
		"send binary":               {`"frames"`, open + `{"sendBinary": "616263"}, {"expect": {"type": "ok", "ref": "binary abc"}}`, echoRef, ""},
		"send what is not bound":    {"", open + `{"send": {"type": "$nothing"}}`, echoRef, "nothing is bound to $nothing"},
		"advance":                   {`"clock"`, open + ping + `{"silenceMs": 10}, {"advanceMs": 60000}, {"expect": {"type": "pong"}, "withinMs": 1}`, lateBy(time.Minute), ""},
		"stall and resume":          {`"stall"`, open + `{"stall": "main"}, {"resume": "main"}, ` + ping + `{"expect": [{"type": "ok", "ref": "stalled"}, {"type": "ok", "ref": "resumed"}, {"type": "ok", "ref": "{\"type\": \"ping\"}"}]}`, echoRef, ""},
		"stall whom":                {`"stall"`, `{"stall": "main"}`, pong, `no connection "main"`},
		"identities":                {"", open + `{"send": ["$alice.tenant", "$alice.subject"]}, {"expect": {"type": "ok", "ref": "[\"acme\", \"alice\"]"}}`, echoRef, ""},
		"hand over":                 {`"handover"`, open + `{"handOver": true}`, pong, ""},
		"await":                     {`"gates"`, open + `{"await": "here"}, {"release": "here"}`, pong, ""},
		"await for ever":            {`"gates"`, open + `{"await": "never"}`, pong, "deadline exceeded"},
		"not refused":               {`"handshake"`, `{"connect": "alice", "refused": {"status": 401}}`, pong, "was not refused"},
		"a message behind a result": {"", open + ping + `{"expect": {"type": "result", "...": true}}, {"expect": {"type": "chunk", "...": true}}`, replyWith(`{"type":"result","id":"i","seq":2,"payload":1}`, chunk("3")), "is behind the end"},
	} {
		t.Run(name, func(t *testing.T) {
			checkFailure(t, playFile(t, serverFile(c.needs, c.steps), newFakeServer(c.serve)), c.why)
		})
	}
}

// checkFailure compares what a play came to with what it should have.
func checkFailure(t *testing.T, err error, why string) {
	t.Helper()
	if why == "" {
		assert.NoError(t, err)
		return
	}
	assert.ErrorContains(t, err, why)
}

func lateBy(d time.Duration) func(*fakeConn, string) {
	return func(c *fakeConn, _ string) { time.AfterFunc(d, func() { c.deliver(`{"type":"pong"}`) }) }
}

// counting answers each frame with its number.
func counting() func(*fakeConn, string) {
	n := 0
	return func(c *fakeConn, _ string) {
		n++
		c.deliver(fmt.Sprintf(`{"type":"ok","ref":"%d"}`, n))
	}
}

// realTimeServer is a fake server whose time passes by itself.
type realTimeServer struct{ *fakeServer }

func (realTimeServer) realTime() {}

// Where time passes by itself nothing fails for having come late, or early, and
// what no step expects fails all the same.
func TestTimesOfRealTargets(t *testing.T) {
	const open, ping = `{"connect": "alice"}, `, `{"send": {"type": "ping"}}, `
	late := lateBy(time.Second)
	for name, c := range map[string]struct {
		steps string
		serve func(*fakeConn, string)
		why   string
	}{
		"late":                   {open + ping + `{"expect": {"type": "pong"}, "withinMs": 100}`, late, ""},
		"never":                  {open + ping + `{"expect": {"type": "pong"}, "withinMs": 100}`, replyWith(), "nothing came"},
		"in a silence":           {open + ping + `{"silenceMs": 5000}, {"expect": {"type": "pong"}}`, late, ""},
		"in a silence, in order": {open + ping + `{"silenceMs": 5000}, ` + ping + `{"silenceMs": 5000}, {"expect": [{"type": "ok", "ref": "1"}, {"type": "ok", "ref": "2"}]}`, counting(), ""},
		"in a silence, ignored":  {open + ping + `{"silenceMs": 5000, "ignoring": ["pong"]}`, late, ""},
		"unexpected":             {open + ping + `{"silenceMs": 5000}, {"expect": {"type": "ok", "ref": "1"}}`, late, `expected "ok"`},
		"left over":              {open + ping + `{"silenceMs": 5000}`, late, "nothing should have come"},
		"closed in a silence":    {open + ping + `{"silenceMs": 5000}`, closing(1001), "closed: 1001"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := parseFile(t, serverFile("", c.steps))
			synctest.Test(t, func(t *testing.T) {
				checkFailure(t, Run(t.Context(), tr, realTimeServer{newFakeServer(c.serve)}, nil), c.why)
			})
		})
	}
}

func closing(code int) func(*fakeConn, string) {
	return func(c *fakeConn, _ string) { c.closed <- &CloseError{Code: code} }
}

func echoRef(c *fakeConn, frame string) {
	c.deliver(string(encodeObject([]member{{"type", encode("ok")}, {"ref", encode(frame)}})))
}

// Whatever is expected, a frame that the protocol forbids fails the transcript.
func TestForbiddenFrames(t *testing.T) {
	for frame, why := range map[string]string{
		`[]`:                       "empty batch",
		`{"message": "Forbidden"}`: "without type",
		`{"type": "pong"`:          "malformed",
		`{"type":"result","id":"i","seq":"2","payload":1}`:                                                          "seq",
		`{"type": "pong", "pad": "` + strings.Repeat("x", 128<<10) + `"}`:                                           "at most 131072 bytes",
		`[` + chunk("2") + `,{"type":"chunk","id":"i","seq":2,"attempt":1,"data":8}]`:                               "seq 2 was",
		`[{"type":"result","id":"i","seq":2,"payload":1},` + `{"type":"error","id":"i","seq":3}]`:                   "second end",
		`[{"type":"error","id":"i","seq":2},` + chunk("3") + `]`:                                                    "is behind the end",
		`[` + chunk("3") + `,{"type":"error","id":"i","seq":2}]`:                                                    "is behind the end",
		`{"type":"snapshot","id":"i","lastSeq":1,"more":false,"events":[` + chunk("2") + `]}`:                       "lastSeq 1 holds the event 2",
		snapshotOf(chunk("2"), chunk("4")):                                                                          "gap between 2 and 4",
		snapshotOf(chunk("3"), chunk("2")):                                                                          "out of order",
		snapshotOf(`{"type":"result","payload":1}`):                                                                 "has no seq",
		`{"type": "ok", "ref": "the-secret"}`:                                                                       "discloses a secret",
		snapshotOf(chunk("2")) + ``:                                                                                 "",
		snapshotOf(chunk("2"), `{"type":"attempt","seq":5,"attempt":2,"keep":1,"from":3}`):                          "",
		`[` + chunk("2") + `,{"type":"chunk","seq":2,"attempt":1,"id":"other","data":8}]`:                           "",
		`[{"type":"attempt","id":"i","seq":5,"attempt":2,"keep":1,"from":3},` + markFrom2() + `]`:                   "",
		`[{"type":"result","id":"i","seq":2,"payload":1},` + `{"type":"result","id":"i","seq":2,"` + `payload":1}]`: "",
	} {
		file := strings.Replace(serverFile("", `{"connect": "alice"}, {"send": {"type": "ping"}}, {"silenceMs": 10, "ignoring": ["pong", "ok", "chunk", "result", "error", "snapshot", "attempt"]}`),
			`"ids"`, `"secrets": ["the-secret"], "ids"`, 1)
		t.Run(why, func(t *testing.T) { checkFailure(t, playFile(t, file, newFakeServer(replyWith(frame))), why) })
	}
}

func snapshotOf(events ...string) string {
	return `{"type":"snapshot","id":"i","lastSeq":9,"more":false,"events":[` + strings.Join(events, ",") + `]}`
}

func markFrom2() string { return `{"type":"attempt","id":"i","seq":5,"attempt":2,"keep":1,"from":2}` }

// What one connection received holds for all others of the tenant, and for no
// other tenant.
func TestHistoryOverConnections(t *testing.T) {
	file := serverFile("", `{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "chunk", "...": true}},
		{"connect": "WHO", "on": "b"}, {"send": {"type": "ping"}, "on": "b"}, {"expect": {"type": "chunk", "...": true}, "on": "b"}`)
	file = strings.Replace(file, `"identities": {`, `"identities": {"eve": {"tenant": "other", "subject": "eve"}, `, 1)
	for who, why := range map[string]string{"alice": "seq 2 was", "eve": ""} {
		n := 0
		server := newFakeServer(func(c *fakeConn, _ string) {
			n++
			c.deliver(strings.Replace(chunk("2"), "7", string(rune('0'+n)), 1))
		})
		checkFailure(t, playFile(t, strings.Replace(file, "WHO", who, 1), server), why)
	}
}

func TestRefused(t *testing.T) {
	refused := serverFile(`"handshake"`, `{"connect": "alice", "refused": {"status": 401, "code": "unauthorized", "retryAfter": false}}`)
	for why, c := range map[string]struct {
		file    string
		refusal error
	}{
		"":                                  {refused, &Refusal{Status: 401, Code: "unauthorized"}},
		"refused differently":               {refused, &Refusal{Status: 503, Code: "unavailable", RetryAfter: true}},
		"no network":                        {refused, errors.New("no network")},
		"connecting as alice: refused: 401": {serverFile("", `{"connect": "alice"}`), &Refusal{Status: 401, Code: "unauthorized"}},
	} {
		server := newFakeServer(nil)
		server.refusal = c.refusal
		checkFailure(t, playFile(t, c.file, server), why)
	}
}

// A kill leaves no connection usable, whatever the target made of them.
func TestKill(t *testing.T) {
	server := newFakeServer(replyWith())
	checkFailure(t, playFile(t, serverFile(`"kill", "telling", "restart", "shutdown"`,
		`{"connect": "alice"}, {"kill": "beforeTelling"}, {"send": {"type": "ping"}}, {"restart": true},
		{"connect": "alice"}, {"kill": "now"}, {"restart": true}, {"connect": "alice"}, {"shutdown": true}`), server), "")
	want := []string{
		"connect alice", "kill beforeTelling", "restart", "connect alice", "kill now", "restart", "connect alice", "shutdown",
	}
	assert.Equal(t, want, server.did)
	checkFailure(t, playFile(t, serverFile(`"kill"`, `{"connect": "alice"}, {"kill": "now"}, {"send": {"type": "ping"}}`), newFakeServer(replyWith())), "server is gone")
}

func TestUnsupported(t *testing.T) {
	server := newFakeServer(replyWith())
	server.abilities = []Ability{AbilityFrames}
	err := playFile(t, serverFile(`"clock", "frames"`, `{"advanceMs": 1}`), server)
	var unsupported *UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	require.Equal(t, []Ability{AbilityClock}, unsupported.Abilities)
	require.ErrorContains(t, err, "NOT PLAYED: the target lacks clock")
	require.Empty(t, server.did)
}

// A target that claims an ability must play its role.
func TestAbilitiesWithoutRoles(t *testing.T) {
	for needs, steps := range map[string]string{
		`"clock"`: `{"advanceMs": 1}`, `"kill"`: `{"kill": "now"}`, `"restart"`: `{"restart": true}`, `"shutdown"`: `{"shutdown": true}`,
		`"gates"`: `{"await": "x"}`,
	} {
		tr := parseFile(t, serverFile(needs, steps))
		checkFailure(t, Run(t.Context(), tr, struct{ Target }{newFakeServer(replyWith())}, nil), "does not implement its role")
	}
}

func TestWrongSide(t *testing.T) {
	tr := parseFile(t, clientFile("", `{"noConnectMs": 1}`))
	checkFailure(t, Run(t.Context(), tr, newFakeServer(replyWith()), nil), "tests a client")
}

func TestContextEnds(t *testing.T) {
	tr := parseFile(t, serverFile("", `{"connect": "alice"}, {"silenceMs": 60000}`))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		checkFailure(t, Run(ctx, tr, newFakeServer(replyWith()), nil), "deadline exceeded")
	})
}

// fakeTB records what Play does with a test.
type fakeTB struct {
	ctx             context.Context
	skipped, failed []any
}

func (f *fakeTB) Helper()                  {}
func (f *fakeTB) Context() context.Context { return f.ctx }
func (f *fakeTB) Skip(args ...any)         { f.skipped = append(f.skipped, args...) }
func (f *fakeTB) Fatal(args ...any)        { f.failed = append(f.failed, args...) }

// check expects that the test was skipped or failed once, with a text; empty:
// that it was not.
func (f *fakeTB) check(t *testing.T, skipped, failed string) {
	t.Helper()
	for text, did := range map[string][]any{skipped: f.skipped, failed: f.failed} {
		if text != "" && assert.Len(t, did, 1) {
			assert.ErrorContains(t, did[0].(error), text)
		}
	}
	assert.Equal(t, skipped == "", len(f.skipped) == 0)
	assert.Equal(t, failed == "", len(f.failed) == 0)
}

func TestPlay(t *testing.T) {
	tr := parseFile(t, serverFile(`"clock"`, `{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "ok", "ref": "$r"}, "withinMs": 1, "note": "nothing else"}`))
	tb := &fakeTB{ctx: t.Context()}
	Play(tb, tr, newFakeServer(replyWith(`{"type":"pong"}`)), nil)
	for _, part := range []string{
		"transcript example failed at step 3 of 3", `"note": "nothing else"`, `expected: {"type": "ok", "ref": "$r"}`, `came:     {"type":"pong"}`,
		"— main connected", `→ main: {"type": "ping"}`, `← main: {"type":"pong"}`, `.type: expected "ok", came "pong"`,
	} {
		tb.check(t, "", part)
	}
	server := newFakeServer(replyWith())
	server.abilities = nil
	tb = &fakeTB{ctx: t.Context()}
	Play(tb, tr, server, nil)
	tb.check(t, "clock", "")
}
