package server

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

// ids is how many ids scripts use: the last one's time is too old for a new
// call, the one before lies in the future.
const (
	ids      = 7
	futureID = ids - 2
	oldID    = ids - 1
)

func scriptedID(begun time.Time, n int) string {
	switch n {
	case futureID:
		begun = begun.Add(48 * time.Hour)
	case oldID:
		begun = begun.Add(-8 * 24 * time.Hour)
	}
	ms := begun.UnixMilli()
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, n)
}

// sessionModel is what must be true of all connections together. It follows
// from PROTOCOL.md: who owns which id, which are acknowledged, what was told of
// them, and which key stands for which call.
type sessionModel struct {
	known []string                 // the scripts' ids
	calls map[[2]string]*modelCall // by tenant and id
	keys  map[[4]string]string     // tenant, subject, action, key: id
}

// modelCall is a call as far as anybody was told of it.
type modelCall struct {
	// owner, action and payload are the stored call's; action is empty when
	// several requests may have made it.
	owner, action, payload string
	stored, ended          bool
	// running is the inline call that somebody waits for.
	running *modelRun
	// reconciled: something may go on, or have been stored, that nobody was told
	// of, because its connection was gone, or a batch said several things.
	reconciled bool
	cancel     map[string]bool // subjects whose cancel may be remembered
	events     map[uint64]string
	end        uint64
}

type modelRun struct{ owner, action, payload string }

func newSessionModel(begun time.Time) *sessionModel {
	m := &sessionModel{calls: map[[2]string]*modelCall{}, keys: map[[4]string]string{}}
	for n := range ids {
		m.known = append(m.known, scriptedID(begun, n))
	}
	return m
}

// allEnded: each acknowledged call has come to one end. Of mangled ids nobody
// asked in the end.
func (m *sessionModel) allEnded(t require.TestingT) {
	for k, c := range m.calls {
		if slices.Contains(m.known, k[1]) && c.stored {
			require.NotZero(t, c.end, "call %v of %s was acknowledged, and has no end", k, c.owner)
		}
	}
}

// view is what one connection may expect.
type view struct {
	t       require.TestingT
	model   *sessionModel
	who     auth.Identity
	expires time.Time // zero: never
	// timeless: it cannot be known which token counts.
	timeless bool
	// lastReceived is when the last frame was sent, batch whether it was one.
	lastReceived time.Time
	batch        bool
	// owed are answers by their ref, or request's id, or kind.
	owed    map[string]int
	asked   map[string]wire.ClientMessage // by ref
	follows map[string]*following
	// about are the ids that the last frame was about, and last what it was
	// answered, by what the answers are owed by.
	about map[string]bool
	last  map[string]wire.ServerMessage
}

// following is a stream as this connection was told of it.
type following struct {
	position uint64
	live     bool
	// reconciled: a batch said more than one thing about it, which clients must
	// not, and so it cannot be known what came last.
	reconciled bool
}

// call is what is known of a call of the tenant's.
func (v *view) call(id string) *modelCall {
	k := [2]string{v.who.Tenant, id}
	if v.model.calls[k] == nil {
		v.model.calls[k] = &modelCall{cancel: map[string]bool{}, events: map[uint64]string{}}
	}
	return v.model.calls[k]
}

func (v *view) connected(id auth.Identity) {
	for owed := range v.owed { // what it waited for goes on, or not: nobody is told
		if !strings.HasPrefix(owed, "ref ") {
			v.call(owed).reconciled = true
		}
	}
	v.who, v.expires, v.timeless, v.lastReceived = id, id.Expires, false, time.Now()
	v.owed, v.asked, v.follows = map[string]int{}, map[string]wire.ClientMessage{}, map[string]*following{}
}

// secretOf is what is in each payload of a subject's, and nobody else may see.
var secretOf = map[[2]string]string{
	{"acme", "ann"}: "secret-2f1c9a", {"acme", "bob"}: "secret-d04b77", {"evil", "ann"}: "secret-83e6f5",
}

// marker is a payload that nobody else may ever see.
func (v *view) marker(n int) string {
	return fmt.Sprintf(`"%s/%d"`, secretOf[[2]string{v.who.Tenant, v.who.Subject}], n)
}

func (v *view) expired() bool { return !v.expires.IsZero() && !time.Now().Before(v.expires) }

// mayEnd judges the code that the connection was closed with.
func (v *view) mayEnd(code int) {
	idle := time.Since(v.lastReceived) >= 10*time.Minute
	expired := v.timeless || !v.expires.IsZero() && !time.Now().Before(v.expires.Add(expiredGrace))
	if code == wire.CloseGoingAway && idle || code == wire.CloseTokenExpired && expired {
		return
	}
	require.Fail(v.t, "a connection was closed", "with %d", code)
}

func (v *view) follow(id string) *following {
	if v.follows[id] == nil {
		v.follows[id] = &following{}
	}
	return v.follows[id]
}

// owedKey is by what an answer finds its question.
func owedKey(ref, id, otherwise string) string {
	if ref != "" {
		return "ref " + ref
	}
	return cmp.Or(id, otherwise)
}

// sends notes what a frame asks for, and returns a function that judges, when
// all has come that comes at once, whether it was answered rightly.
func (v *view) sends(frame []byte) func() {
	v.lastReceived = time.Now()
	v.about, v.last = map[string]bool{}, map[string]wire.ServerMessage{}
	items, batch, refusal := wire.DecodeClientFrame(bytes.Clone(frame))
	if refusal != nil {
		v.owed["nobody"]++
		return func() { v.promptly("nobody") }
	}
	v.batch = batch
	immediate := []string{}
	tokens := 0
	for i := range items {
		m := &items[i].Message
		if v.about[m.ID] {
			v.follow(m.ID).reconciled = true
		}
		v.about[m.ID] = true
		key := owedKey(m.Ref, m.ID, "nobody")
		if items[i].Err == nil && m.Type == wire.TypePing {
			key = wire.TypePong
		}
		if m.Ref != "" {
			v.asked[m.Ref] = *m
		}
		v.owed[key]++
		if items[i].Err != nil || m.Type != wire.TypeRequest {
			immediate = append(immediate, key)
		}
		if items[i].Err == nil && m.Type == wire.TypeCancel && !v.expired() {
			v.call(m.ID).cancel[v.who.Subject] = true
		}
		if items[i].Err == nil && m.Type == wire.TypeRequest && batch {
			v.call(m.ID).several()
			if m.IdempotencyKey != "" {
				v.model.keys[v.key(m)] = anyID
			}
		}
		if m.Type == wire.TypeAuth {
			if tokens++; tokens > 1 {
				v.timeless = true
			}
		}
	}
	check := func() {}
	if !batch && items[0].Err == nil {
		check = v.expect(&items[0].Message)
	}
	return func() {
		for _, key := range immediate {
			v.promptly(key)
		}
		check()
	}
}

// several tells that it cannot be known which request made the call.
func (c *modelCall) several() {
	c.reconciled = true
	if !c.stored {
		c.action, c.payload = "", ""
	}
}

// promptly: an answer has come, and all others that do not wait for an inline
// call's end.
func (v *view) promptly(key string) {
	_, answered := v.last[key]
	require.True(v.t, answered, "%s is not answered", key)
	if !slices.Contains(v.model.known, key) {
		require.Zero(v.t, v.owed[key], "answers for %s are missing", key)
	}
}

func (v *view) nothingIsOwed() {
	for key, n := range v.owed {
		require.Zero(v.t, n, "answers to %s for %s never came", v.who.Subject, key)
	}
}

// receives holds a frame of the server's against all that is known.
func (v *view) receives(frame []byte) {
	for who, secret := range secretOf {
		if who != [2]string{v.who.Tenant, v.who.Subject} {
			require.NotContains(v.t, string(frame), secret, "%s of %s sees what is not theirs", v.who.Subject, v.who.Tenant)
		}
	}
	messages, refused := wire.DecodeServerFrame(frame)
	require.Nil(v.t, refused)
	for i := range messages {
		v.receivesOne(&messages[i])
	}
}

func (v *view) receivesOne(m *wire.ServerMessage) {
	switch m.Type {
	case wire.TypeClosing:
		return
	case wire.TypeProgress, wire.TypeChunk, wire.TypeAttempt:
		v.event(m)
		return
	case wire.TypeResult, wire.TypeError:
		if m.Seq > 0 {
			v.event(m)
			return
		}
	case wire.TypeLag:
		require.Fail(v.t, "lag, although everybody reads")
	}
	key := owedKey(m.Ref, cmp.Or(m.For, m.ID), "nobody")
	if m.Type == wire.TypePong {
		key = wire.TypePong
	}
	require.Positive(v.t, v.owed[key], "an unexpected answer, or a second one: %s for %s", m.Type, key)
	if v.owed[key]--; v.owed[key] == 0 {
		delete(v.owed, key)
	}
	c := v.call(cmp.Or(m.For, m.ID))
	v.last[key] = *m
	switch m.Type {
	case wire.TypeAck:
		c.running = nil
		f := v.follow(m.ID)
		f.live, f.position = true, max(f.position, 1)
		v.storedAs(m.ID)
	case wire.TypeResult:
		c.running = nil
	case wire.TypeError:
		switch m.Code {
		case wire.CodeCancelled, wire.CodeTimeout, wire.CodeDeadlineExceeded, wire.CodeHandlerPanic, wire.CodeInternal, wire.CodeUnavailable:
			c.running = nil
		}
	case wire.TypeSnapshot:
		v.snapshot(m)
	case wire.TypeOK:
		switch q := v.asked[m.Ref]; q.Type {
		case wire.TypeUnsubscribe:
			v.follow(q.ID).live = false
		case wire.TypeAuth:
			v.expires = time.Time{}
			if q.Token == "brief" {
				v.expires = v.lastReceived.Add(briefly)
			}
		}
	case wire.TypeCalls:
		v.list(m)
	}
}

// list judges a list: no call of another's, and all of the subject's own that
// were stored, if no other was asked for.
func (v *view) list(m *wire.ServerMessage) {
	listed := map[string]bool{}
	for i := range m.Calls {
		id := m.Calls[i].ID
		listed[id] = true
		c := v.call(id)
		require.True(v.t, c.stored || c.reconciled, "%s is listed, and was never acknowledged", id)
		v.storedAs(id)
	}
	// In a batch, what stands before it may not be stored yet.
	if q := v.asked[m.Ref]; v.batch || q.Status != "" || q.Action != "" || q.Limit != 0 || q.Cursor != "" {
		return
	}
	for k, c := range v.model.calls {
		if k[0] == v.who.Tenant && c.stored && c.owner == v.who.Subject {
			require.True(v.t, listed[k[1]], "%s is missing in the list", k[1])
		}
	}
}

// storedAs notes that this subject's call was stored.
func (v *view) storedAs(id string) {
	c := v.call(id)
	v.requireOwned(c)
	c.stored, c.owner = true, v.who.Subject
}

// requireOwned checks that a call, if it is stored, is this subject's.
func (v *view) requireOwned(c *modelCall) {
	if c.stored {
		require.Equal(v.t, c.owner, v.who.Subject, "it gets a message of another subject's call")
	}
}

// snapshot judges a page.
func (v *view) snapshot(m *wire.ServerMessage) {
	v.storedAs(m.ID)
	c := v.call(m.ID)
	c.running = nil
	if c.action != "" {
		require.Equal(v.t, c.action, m.Action)
	}
	position := uint64(0)
	if q := v.asked[m.Ref]; m.Ref != "" && q.Type == wire.TypeSubscribe && m.Recovered == nil {
		position = q.After
	}
	for i := range m.Events {
		e := &m.Events[i]
		replaces := e.Type == wire.TypeAttempt && e.From <= position+1 && position < e.Seq
		require.True(v.t, e.Seq == position+1 || replaces, "a page has %d behind %d", e.Seq, position)
		position = e.Seq
		v.notified(c, e)
	}
	require.False(v.t, *m.More)
	require.Equal(v.t, m.LastSeq, position, "the page ends where the stream does")
	f := v.follow(m.ID)
	f.position, f.live = max(f.position, position), m.Status == "queued" || m.Status == "running"
	f.reconciled = f.reconciled && v.batch
	if !f.live && position > 0 && len(m.Events) > 0 {
		require.NotZero(v.t, c.end, "the page of an ended call has no end")
	}
}

// event judges what comes live.
func (v *view) event(m *wire.ServerMessage) {
	f, c := v.follow(m.ID), v.call(m.ID)
	require.True(v.t, f.live || v.about[m.ID] || f.reconciled, "it gets %s of %s, which it does not follow", m.Type, m.ID)
	v.requireOwned(c)
	if m.Seq == 0 { // progress
		return
	}
	v.notified(c, m)
	switch next := f.position + 1; {
	case m.Seq < next:
	case m.Seq == next, m.Type == wire.TypeAttempt && m.From <= next:
		f.position = m.Seq
	default:
		require.False(v.t, f.live && !f.reconciled, "event %d of %s came behind %d: a hole", m.Seq, m.ID, f.position)
	}
	if m.Seq == c.end {
		f.live = false
	}
}

// misses: whoever follows a stream live has been told of all that anybody was.
func (v *view) misses() {
	for id, f := range v.follows {
		if !f.live || f.reconciled {
			continue
		}
		for seq := range v.call(id).events {
			require.LessOrEqual(v.t, seq, f.position, "it follows %s, and an event was not sent", id)
		}
	}
}

// notified: an event is the same for all that get it, and there is one end.
func (v *view) notified(c *modelCall, e *wire.ServerMessage) {
	text := fmt.Sprintf("%s %d %d %d %s %s %s", e.Type, e.Attempt, e.Keep, e.From, e.Code, e.Data, e.Payload)
	if before, ok := c.events[e.Seq]; ok {
		require.Equal(v.t, before, text, "event %d has changed", e.Seq)
	}
	c.events[e.Seq] = text
	isEnd := e.Type == wire.TypeResult || e.Type == wire.TypeError
	if c.end != 0 {
		require.True(v.t, e.Seq < c.end && !isEnd || e.Seq == c.end, "%s %d although %d is the end", e.Type, e.Seq, c.end)
	}
	if isEnd {
		c.end, c.ended = e.Seq, true
	}
}
