package conformance

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// client makes a fake client with one dial on which it says some frames, and
// with events for the reader of "a".
func client(frames []string, events ...string) func() *fakeClient {
	return func() *fakeClient {
		d := &fakeDial{token: "first", offered: []string{"streamer.v1"}, conn: newFakeConn(func(string) {})}
		d.conn.deliver(frames...)
		c := newFakeClient(d)
		c.hand("a", events...)
		return c
	}
}

func frames(frames ...string) []string { return frames }

const request = `{"type":"request","id":"01890a5d-ac96-774b-bcce-b302099a8057","action":"echo","payload":1}`

func TestClientVerbs(t *testing.T) {
	const accept = `{"accept": "main"}, `
	for name, c := range map[string]struct {
		needs, steps string
		make         func() *fakeClient
		why          string
	}{
		"accept":                 {"", accept + `{"silenceMs": 1}`, client(nil), ""},
		"accept with token":      {"", `{"accept": "main", "token": "first"}`, client(nil), ""},
		"another token":          {"", `{"accept": "main", "token": "second"}`, client(nil), "another token"},
		"no connection":          {"", accept + `{"accept": "again", "withinMs": 100}`, client(nil), "does not connect"},
		"another subprotocol":    {"", `{"accept": "main"}`, otherProtocol, "does not offer"},
		"expect":                 {"", accept + `{"expect": {"type": "request", "id": "$id", "action": "echo", "payload": 1}}`, client(frames(request)), ""},
		"expect another":         {"", accept + `{"expect": {"type": "request", "id": "$id", "action": "echo"}}`, client(frames(request)), ".payload: was not expected"},
		"forbidden":              {"", accept + `{"expect": {"type": "request", "...": true}}`, client(frames(`{"type":"request","id":"x"}`)), "the protocol forbids"},
		"forbidden in a batch":   {"", accept + `{"expect": {"type": "request", "...": true}}`, client(frames(`[` + request + `,{"type":"pong"}]`)), "the protocol forbids"},
		"too big":                {"", accept + `{"silenceMs": 1}`, client(frames(`{"type":"ping"` + strings.Repeat(" ", 33000) + `}`)), "at most 32768 bytes"},
		"no JSON":                {"", accept + `{"silenceMs": 1}`, client(frames(`{`)), "the protocol forbids"},
		"left over":              {"", accept + `{"silenceMs": 1}`, client(frames(request)), "nothing should have come"},
		"a ping by the way":      {"", accept + `{"expect": {"type": "request", "...": true}}`, client(frames(`{"type":"ping"}`, request)), ""},
		"a ping that is awaited": {"", accept + `{"expect": {"type": "ping"}}, {"send": {"type": "pong"}}`, client(frames(`{"type":"ping"}`)), ""},
		"take":                   {"", `{"take": "a", "events": [{"event": "chunk", "data": 1}, {"event": "result", "payload": "$x"}]}`, client(nil, `{"event":"chunk","data":1}`, `{"event":"result","payload":2}`), ""},
		"take another":           {"", `{"take": "a", "events": [{"event": "chunk", "data": 1}, {"event": "result", "payload": 1}]}`, client(nil, `{"event":"chunk","data":1}`, `{"event":"result","payload":2}`), "event 2 of 2"},
		"take in vain":           {"", `{"take": "a", "events": [{"event": "chunk", "data": 1}], "withinMs": 50}`, client(nil), "deadline exceeded"},
		"take, ignoring":         {"", `{"take": "a", "events": [{"event": "result", "...": true}], "ignoring": ["progress"]}`, client(nil, `{"event":"progress","percent":1}`, `{"event":"result","payload":2}`), ""},
		"take no JSON":           {"", `{"take": "a", "events": [{"event": "result", "...": true}]}`, client(nil, `nonsense`), "no event"},
		"take nothing":           {"", `{"takeNothing": "a", "forMs": 100}`, client(nil), ""},
		"take something":         {"", `{"takeNothing": "a", "forMs": 100}`, client(nil, `{"event":"chunk","data":1}`), "should be handed nothing"},
		"no reconnect":           {"", accept + `{"noConnectMs": 100}`, client(nil), ""},
		"a reconnect":            {"", `{"noConnectMs": 100}`, client(nil), "the client connects"},
		"advance":                {`"clock"`, accept + `{"advanceMs": 60000}, {"expect": {"type": "request", "...": true}, "withinMs": 1}`, lateClient, ""},
		"another pattern":        {"", `{"accept": "main", "token": {"$oneOf": ["second", "third"]}}`, client(nil), "another token"},
		"answer":                 {"", accept + `{"answer": {"type": "cancel", "ref": "$r", "...": true}, "with": {"type": "ok", "ref": "$r"}}, {"expect": {"type": "request", "...": true}}`, client(frames(cancel("1"), cancel("2"), request)), ""},
		"answer another":         {"", accept + `{"answer": {"type": "list", "ref": "$r"}, "with": {"type": "ok", "ref": "$r"}}, {"silenceMs": 1}`, client(frames(cancel("1"))), "nothing should have come"},
		"answer what is not":     {"", accept + `{"answer": {"type": "cancel", "...": true}, "with": {"type": "ok", "ref": "$r"}}, {"silenceMs": 1}`, client(frames(cancel("1"))), "nothing is bound to $r"},
		"answer whom":            {"", `{"answer": {"type": "ping"}, "with": {"type": "pong"}}`, client(nil), `no connection "main"`},
		"lose":                   {"", accept + `{"lose": "sent"}, {"send": {"type": "pong"}}`, client(nil), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := playClientFile(t, clientFile(c.needs, c.steps), c.make)
			checkFailure(t, err, c.why)
		})
	}
}

func cancel(ref string) string {
	return `{"type":"cancel","ref":"` + ref + `","id":"01890a5d-ac96-774b-bcce-b302099a8057"}`
}

func otherProtocol() *fakeClient {
	return newFakeClient(&fakeDial{offered: []string{"graphql-ws"}, conn: newFakeConn(func(string) {})})
}

func lateClient() *fakeClient {
	c := client(nil)()
	d := <-c.dials
	time.AfterFunc(time.Minute, func() { d.(*fakeDial).conn.deliver(request) })
	c.dials <- d
	return c
}

func TestClientIsAsked(t *testing.T) {
	c, err := playClientFile(t, clientFile("", `
		{"start": "a", "request": {"action": "echo", "payload": {"$repeat": ["x", 3]}, "mode": "async"}},
		{"accept": "main"}, {"expect": {"type": "request", "id": "$id", "...": true}},
		{"attach": "b", "id": "$id"}, {"cancel": "a"}, {"detach": "b"}`), client(frames(request)))
	require.NoError(t, err)
	want := []string{
		`start a {"action": "echo", "payload": "xxx", "mode": "async"}`, `attach b 01890a5d-ac96-774b-bcce-b302099a8057`, `cancel a`, `detach b`,
	}
	assert.Equal(t, want, c.did)
}

func TestClientIsAnswered(t *testing.T) {
	var frames []string
	var dial *fakeDial
	play := func(needs, steps string) {
		_, err := playClientFile(t, clientFile(needs, steps), func() *fakeClient {
			dial = &fakeDial{offered: []string{"streamer.v1.1", "streamer.v1"}, conn: newFakeConn(func(f string) { frames = append(frames, f) })}
			dial.conn.deliver(`{"type":"ping"}`)
			return newFakeClient(dial)
		})
		require.NoError(t, err)
	}
	play("", `{"accept": "main"}, {"silenceMs": 10}, {"double": "sent"}, {"send": {"message": "foreign"}}, {"close": 1012}`)
	require.Equal(t, []string{`{"type": "pong"}`, `{"message": "foreign"}`, `{"message": "foreign"}`}, frames)
	require.Equal(t, "streamer.v1", dial.picked)
	require.Equal(t, "closed", dial.conn.left)
	play(`"handshake"`, `{"refuse": {"status": 401, "code": "token_expired", "message": "late"}}`)
	require.Equal(t, `401 {"code": "token_expired", "message": "late"}`, dial.refused)
	play("", `{"accept": "main", "pick": ""}, {"cut": "main"}`)
	require.Empty(t, dial.picked)
	require.Equal(t, "cut", dial.conn.left)
}

func TestClientUnsupported(t *testing.T) {
	c := newFakeClient()
	c.abilities = nil
	tb := &fakeTB{ctx: t.Context()}
	PlayClient(tb, parseFile(t, clientFile(`"clock"`, `{"advanceMs": 1}`)), c, nil)
	tb.check(t, "clock", "")
	checkFailure(t, RunClient(t.Context(), parseFile(t, serverFile("", `{"silenceMs": 1}`)), newFakeClient(), nil), "tests a server")
}
