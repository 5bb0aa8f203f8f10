package server

import (
	"slices"
	"time"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
	"github.com/stretchr/testify/require"
)

// notNow stands for an answer that comes when an inline call ends, or is
// promoted.
const notNow = "not now"

// anyID stands for an id that cannot be known.
const anyID = "?"

// answers are those that a message may get: types, and codes of errors. Nil:
// any.
type answers []string

func refusedWith(codes ...string) (a answers) {
	for _, code := range codes {
		a = append(a, wire.TypeError+" "+code)
	}
	return a
}

// key is what an idempotency key is scoped to.
func (v *view) key(m *wire.ClientMessage) [4]string {
	return [4]string{v.who.Tenant, v.who.Subject, m.Action, m.IdempotencyKey}
}

// expect returns a function that judges the answer to a message that came
// alone, and notes what follows from it.
func (v *view) expect(m *wire.ClientMessage) func() {
	want := v.allowed(m)
	key := owedKey(m.Ref, m.ID, "nobody")
	if m.Type == wire.TypePing {
		key = wire.TypePong
	}
	c := v.call(m.ID)
	fresh := !c.stored
	return func() {
		got, ok := v.last[key]
		kind := notNow
		if ok {
			kind = got.Type
		}
		if got.Type == wire.TypeError {
			kind += " " + got.Code
		}
		if want != nil {
			require.Contains(v.t, want, kind, "the answer to %s", m.Type)
		}
		if m.Type != wire.TypeRequest {
			return
		}
		switch kind {
		case notNow:
			if c.running == nil {
				c.running = &modelRun{v.who.Subject, m.Action, payloadOf(m)}
			}
		case wire.TypeAck:
			if fresh && !c.reconciled {
				c.action, c.payload = m.Action, payloadOf(m)
			}
			if m.IdempotencyKey != "" {
				if first, taken := v.model.keys[v.key(m)]; taken && first != anyID {
					require.Equal(v.t, first, m.ID, "one key stands for two calls")
				}
				v.model.keys[v.key(m)] = m.ID
			}
		case wire.TypeResult:
			if got.Seq == 0 {
				require.Equal(v.t, payloadOf(m), string(got.Payload))
			}
		case wire.TypeSnapshot:
			if first := v.model.keys[v.key(m)]; got.For != "" && first != anyID {
				require.Equal(v.t, first, got.ID, "a key's call")
			}
		}
	}
}

func payloadOf(m *wire.ClientMessage) string {
	if m.Payload == nil {
		return "null"
	}
	return string(m.Payload)
}

// allowed says what a right message may be answered at once.
func (v *view) allowed(m *wire.ClientMessage) answers {
	c := v.call(m.ID)
	mine := c.stored && c.owner == v.who.Subject
	switch {
	case m.Type == wire.TypePing:
		return answers{wire.TypePong}
	case m.Type == wire.TypeAuth:
		return v.allowedToken(m.Token)
	case v.timeless:
		return nil
	case v.expired():
		return refusedWith(wire.CodeTokenExpired)
	}
	switch m.Type {
	case wire.TypeUnsubscribe:
		return answers{wire.TypeOK}
	case wire.TypeCancel:
		switch {
		case mine && c.ended:
			return answers{wire.TypeSnapshot}
		case mine, c.reconciled && !c.stored:
			return answers{wire.TypeOK, wire.TypeSnapshot}
		}
		return answers{wire.TypeOK}
	case wire.TypeSubscribe:
		switch {
		case mine:
			return answers{wire.TypeSnapshot}
		case c.reconciled && !c.stored:
			return append(refusedWith(wire.CodeNotFound), wire.TypeSnapshot)
		}
		return refusedWith(wire.CodeNotFound)
	case wire.TypeList:
		if m.Cursor != "" {
			return refusedWith(wire.CodeInvalidCursor)
		}
		return answers{wire.TypeCalls}
	case wire.TypeSeal:
		return refusedWith(wire.CodeUnsupported)
	}
	if refused := v.refusedAtOnce(m); refused != nil {
		return refused
	}
	return v.allowedRequest(c, m)
}

func (v *view) allowedToken(token string) answers {
	id, known := scriptedUsers[token]
	if token == "brief" {
		id, known = scriptedUsers["ann"], true
	}
	switch {
	case !known:
		return refusedWith(wire.CodeUnauthorized)
	case !id.Same(v.who):
		return refusedWith(wire.CodeReconnectRequired)
	}
	return answers{wire.TypeOK}
}

// refusedAtOnce is what a request is refused with whoever owns its id; nil: it
// is not.
func (v *view) refusedAtOnce(m *wire.ClientMessage) answers {
	stored := m.Action == "later" || m.Action == "flaky"
	streams := m.Action == "stream" || m.Action == "flaky"
	needsStore := m.IdempotencyKey != "" || m.DelayMs > 0 || m.CancelAfterMs != nil
	switch {
	case wire.IDTime(m.ID).After(v.lastReceived.Add(24 * time.Hour)):
		return refusedWith(wire.CodeInvalidMessage)
	case m.Group != "":
		return refusedWith(wire.CodeUnsupported)
	case !slices.Contains([]string{"echo", "later", "guarded", "boom", "hold", "stream", "flaky"}, m.Action):
		return refusedWith(wire.CodeUnknownAction)
	case m.Action == "guarded" && !slices.Contains(v.who.Scopes, "a"):
		return refusedWith(wire.CodeForbidden)
	case m.Mode == wire.ModeSync && (stored || streams || needsStore):
		return refusedWith(wire.CodeModeRefused)
	case payloadOf(m)[0] != '"':
		return refusedWith(wire.CodeInvalidPayload)
	}
	return nil
}

// allowedRequest is what a request may be answered that is right by itself.
func (v *view) allowedRequest(c *modelCall, m *wire.ClientMessage) answers {
	old := wire.IDTime(m.ID).Before(v.lastReceived.Add(-store.DefaultRetention))
	first, keyed := v.model.keys[v.key(m)]
	keyed = keyed && m.IdempotencyKey != ""
	if !slices.Contains(v.model.known, m.ID) {
		return nil // a mangled id
	}
	switch {
	case c.stored && keyed:
		return append(refusedWith(wire.CodeConflict, wire.CodeIdempotencyConflict), wire.TypeSnapshot)
	case c.stored && c.owner != v.who.Subject:
		return refusedWith(wire.CodeConflict, wire.CodeIdempotencyConflict)
	case c.stored && c.action == "":
		return append(refusedWith(wire.CodeConflict), wire.TypeSnapshot)
	case c.stored && c.action == m.Action && c.payload == payloadOf(m):
		return answers{wire.TypeSnapshot}
	case c.stored:
		return refusedWith(wire.CodeConflict)
	case c.reconciled:
		return nil
	case c.running != nil && *c.running == (modelRun{v.who.Subject, m.Action, payloadOf(m)}):
		return answers{notNow}
	case c.running != nil:
		return refusedWith(wire.CodeConflict)
	case keyed && first == anyID, keyed && old:
		return nil
	case keyed && first != m.ID:
		known := v.call(first)
		if known.payload == payloadOf(m) || known.action == "" {
			return append(refusedWith(wire.CodeIdempotencyConflict), wire.TypeSnapshot)
		}
		return refusedWith(wire.CodeIdempotencyConflict)
	case old:
		return refusedWith(wire.CodeExpiredID)
	}
	return v.allowedFresh(c, m)
}

// allowedFresh is what a call may be answered that is not there yet.
func (v *view) allowedFresh(c *modelCall, m *wire.ClientMessage) answers {
	needsStore := m.IdempotencyKey != "" || m.DelayMs > 0 || m.CancelAfterMs != nil || m.Mode == wire.ModeAsync
	if needsStore || slices.Contains([]string{"later", "flaky", "stream"}, m.Action) {
		out := answers{wire.TypeAck}
		if c.cancel[v.who.Subject] && !needsStore { // it was met before it was stored
			out = append(out, wire.TypeError+" "+wire.CodeCancelled, wire.TypeResult)
		}
		return out
	}
	out := answers{wire.TypeResult}
	switch m.Action {
	case "boom":
		out = refusedWith(wire.CodeHandlerPanic)
	case "hold":
		out = answers{notNow}
	}
	if c.cancel[v.who.Subject] { // remembered, it is met in the store; unless the call cannot be stored
		out = append(out, wire.TypeAck, wire.TypeError+" "+wire.CodeCancelled)
	}
	return out
}
