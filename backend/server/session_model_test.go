package server

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/store"
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
	begun     time.Time
	known     []string // the scripts' ids
	retention time.Duration
	calls     map[[2]string]*modelCall // by tenant and id
	keys      map[[4]string]string     // tenant, subject, action, key: id
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
	m := &sessionModel{begun: begun, retention: store.DefaultRetention, calls: map[[2]string]*modelCall{}, keys: map[[4]string]string{}}
	for n := range ids {
		m.known = append(m.known, scriptedID(begun, n))
	}
	return m
}

func (m *sessionModel) call(tenant, id string) *modelCall {
	k := [2]string{tenant, id}
	if m.calls[k] == nil {
		m.calls[k] = &modelCall{cancel: map[string]bool{}, events: map[uint64]string{}}
	}
	return m.calls[k]
}

// allEnded: each acknowledged call has come to one end. Of mangled ids nobody
// asked in the end.
func (m *sessionModel) allEnded() error {
	for k, c := range m.calls {
		if slices.Contains(m.known, k[1]) && c.stored && c.end == 0 {
			return fmt.Errorf("call %v of %s was acknowledged, and has no end", k, c.owner)
		}
	}
	return nil
}

// view is what one connection may expect.
type view struct {
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

func (v *view) connected(id auth.Identity) {
	for owed := range v.owed { // what it waited for goes on, or not: nobody is told
		if !strings.HasPrefix(owed, "ref ") {
			v.model.call(v.who.Tenant, owed).reconciled = true
		}
	}
	v.who, v.expires, v.timeless, v.lastReceived = id, id.Expires, false, time.Now()
	v.owed, v.asked, v.follows = map[string]int{}, map[string]wire.ClientMessage{}, map[string]*following{}
}

// secretOf is what is in each payload of a subject's, and nobody else may see.
var secretOf = map[[2]string]string{
	{"acme", "ann"}: "secret-2f1c9a", {"acme", "bob"}: "secret-d04b77", {"evil", "ann"}: "secret-83e6f5",
}

var secrets = regexp.MustCompile(`secret-(2f1c9a|d04b77|83e6f5)`)

// marker is a payload that nobody else may ever see.
func (v *view) marker(n int) string {
	return fmt.Sprintf(`"%s/%d"`, secretOf[[2]string{v.who.Tenant, v.who.Subject}], n)
}

func (v *view) expired() bool { return !v.expires.IsZero() && !time.Now().Before(v.expires) }

// mayEnd judges the code that the connection was closed with.
func (v *view) mayEnd(code int) error {
	if code == wire.CloseGoingAway && time.Since(v.lastReceived) >= 10*time.Minute {
		return nil
	}
	if code == wire.CloseTokenExpired && v.timeless {
		return nil
	}
	if code == wire.CloseTokenExpired && !v.expires.IsZero() && !time.Now().Before(v.expires.Add(expiredGrace)) {
		return nil
	}
	return fmt.Errorf("a connection was closed with %d", code)
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
func (v *view) sends(frame []byte) func() error {
	v.lastReceived = time.Now()
	v.about, v.last = map[string]bool{}, map[string]wire.ServerMessage{}
	items, batch, refusal := wire.DecodeClientFrame(bytes.Clone(frame))
	if refusal != nil {
		v.owed["nobody"]++
		return func() error { return v.promptly("nobody") }
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
			v.model.call(v.who.Tenant, m.ID).cancel[v.who.Subject] = true
		}
		if items[i].Err == nil && m.Type == wire.TypeRequest && batch {
			v.model.call(v.who.Tenant, m.ID).several()
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
	check := func() error { return nil }
	if !batch && items[0].Err == nil {
		check = v.expect(&items[0].Message)
	}
	return func() error {
		for _, key := range immediate {
			if err := v.promptly(key); err != nil {
				return err
			}
		}
		return check()
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
func (v *view) promptly(key string) error {
	if _, ok := v.last[key]; !ok {
		return fmt.Errorf("%s is not answered", key)
	}
	if waits := slices.Contains(v.model.known, key); !waits && v.owed[key] != 0 {
		return fmt.Errorf("%d answers for %s are missing", v.owed[key], key)
	}
	return nil
}

func (v *view) nothingIsOwed() error {
	for key, n := range v.owed {
		if n != 0 {
			return fmt.Errorf("%d answers for %s never came", n, key)
		}
	}
	return nil
}

// receives holds a frame of the server's against all that is known.
func (v *view) receives(frame []byte) error {
	for _, secret := range secrets.FindAll(frame, -1) {
		if string(secret) != secretOf[[2]string{v.who.Tenant, v.who.Subject}] {
			return fmt.Errorf("%s of %s sees what is not theirs", v.who.Subject, v.who.Tenant)
		}
	}
	messages, refused := wire.DecodeServerFrame(frame)
	if refused != nil {
		return refused
	}
	for i := range messages {
		if err := v.receivesOne(&messages[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) receivesOne(m *wire.ServerMessage) error {
	switch m.Type {
	case wire.TypeClosing:
		return nil
	case wire.TypeProgress, wire.TypeChunk, wire.TypeAttempt:
		return v.event(m.ID, m)
	case wire.TypeResult, wire.TypeError:
		if m.Seq > 0 {
			return v.event(m.ID, m)
		}
	case wire.TypeLag:
		return errors.New("lag, although everybody reads")
	}
	key := owedKey(m.Ref, cmp.Or(m.For, m.ID), "nobody")
	if m.Type == wire.TypePong {
		key = wire.TypePong
	}
	if v.owed[key]--; v.owed[key] < 0 {
		return fmt.Errorf("an answer that nobody asked for, or a second one: %s for %s", m.Type, key)
	}
	if v.owed[key] == 0 {
		delete(v.owed, key)
	}
	c := v.model.call(v.who.Tenant, cmp.Or(m.For, m.ID))
	v.last[key] = *m
	switch m.Type {
	case wire.TypeAck:
		c.running = nil
		f := v.follow(m.ID)
		f.live, f.position = true, max(f.position, 1)
		return v.storedAs(m.ID)
	case wire.TypeResult:
		c.running = nil
	case wire.TypeError:
		switch m.Code {
		case wire.CodeCancelled, wire.CodeTimeout, wire.CodeDeadlineExceeded, wire.CodeHandlerPanic, wire.CodeInternal, wire.CodeUnavailable:
			c.running = nil
		}
	case wire.TypeSnapshot:
		return v.snapshot(m)
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
		return v.list(m)
	}
	return nil
}

// list judges a list: no call of another's, and all of the subject's own that
// were stored, if no other was asked for.
func (v *view) list(m *wire.ServerMessage) error {
	listed := map[string]bool{}
	for i := range m.Calls {
		listed[m.Calls[i].ID] = true
		if c := v.model.call(v.who.Tenant, m.Calls[i].ID); !c.stored && !c.reconciled {
			return fmt.Errorf("%s is listed, and was never acknowledged", m.Calls[i].ID)
		}
		if err := v.storedAs(m.Calls[i].ID); err != nil {
			return err
		}
	}
	// In a batch, what stands before it may not be stored yet.
	if q := v.asked[m.Ref]; v.batch || q.Status != "" || q.Action != "" || q.Limit != 0 || q.Cursor != "" {
		return nil
	}
	for k, c := range v.model.calls {
		if k[0] == v.who.Tenant && c.stored && c.owner == v.who.Subject && !listed[k[1]] {
			return fmt.Errorf("%s is missing in the list", k[1])
		}
	}
	return nil
}

// storedAs notes that this subject's call was stored.
func (v *view) storedAs(id string) error {
	c := v.model.call(v.who.Tenant, id)
	if c.stored && c.owner != v.who.Subject {
		return fmt.Errorf("%s is told of a call of %s", v.who.Subject, c.owner)
	}
	c.stored, c.owner = true, v.who.Subject
	return nil
}

// snapshot judges a page.
func (v *view) snapshot(m *wire.ServerMessage) error {
	if err := v.storedAs(m.ID); err != nil {
		return err
	}
	c := v.model.call(v.who.Tenant, m.ID)
	c.running = nil
	if c.action != "" && c.action != m.Action {
		return fmt.Errorf("a call of %s is one of %s", c.action, m.Action)
	}
	position := uint64(0)
	if q := v.asked[m.Ref]; m.Ref != "" && q.Type == wire.TypeSubscribe && m.Recovered == nil {
		position = q.After
	}
	for i := range m.Events {
		e := &m.Events[i]
		if e.Seq != position+1 && !(e.Type == wire.TypeAttempt && e.From <= position+1 && position < e.Seq) {
			return fmt.Errorf("a page has %d behind %d", e.Seq, position)
		}
		position = e.Seq
		if err := v.notified(c, e); err != nil {
			return err
		}
	}
	if *m.More || position != m.LastSeq {
		return fmt.Errorf("a page ends at %d, the stream at %d", position, m.LastSeq)
	}
	f := v.follow(m.ID)
	f.position, f.live = max(f.position, position), m.Status == "queued" || m.Status == "running"
	f.reconciled = f.reconciled && v.batch
	if !f.live && c.end == 0 && position > 0 && len(m.Events) > 0 {
		return errors.New("the page of an ended call has no end")
	}
	return nil
}

// event judges what comes live.
func (v *view) event(id string, m *wire.ServerMessage) error {
	f := v.follow(id)
	if !f.live && !v.about[id] && !f.reconciled {
		return fmt.Errorf("it is told %s of %s, which it does not follow", m.Type, id)
	}
	c := v.model.call(v.who.Tenant, id)
	if c.stored && c.owner != v.who.Subject {
		return fmt.Errorf("it is told of a call of %s", c.owner)
	}
	if m.Seq == 0 { // progress
		return nil
	}
	if err := v.notified(c, m); err != nil {
		return err
	}
	switch next := f.position + 1; {
	case m.Seq < next:
	case m.Seq == next, m.Type == wire.TypeAttempt && m.From <= next:
		f.position = m.Seq
	case f.live && !f.reconciled:
		return fmt.Errorf("event %d of %s came behind %d: a hole", m.Seq, id, f.position)
	}
	if m.Seq == c.end {
		f.live = false
	}
	return nil
}

// misses: whoever follows a stream live has been told of all that anybody was.
func (v *view) misses() error {
	for id, f := range v.follows {
		for seq := range v.model.call(v.who.Tenant, id).events {
			if f.live && !f.reconciled && seq > f.position {
				return fmt.Errorf("it follows %s, and was not told of event %d", id, seq)
			}
		}
	}
	return nil
}

// told: an event is the same whoever is told of it, and there is one end.
func (v *view) notified(c *modelCall, e *wire.ServerMessage) error {
	text := fmt.Sprintf("%s %d %d %d %s %s %s", e.Type, e.Attempt, e.Keep, e.From, e.Code, e.Data, e.Payload)
	if before, ok := c.events[e.Seq]; ok && before != text {
		return fmt.Errorf("event %d was %q, and is %q", e.Seq, before, text)
	}
	c.events[e.Seq] = text
	if e.Type == wire.TypeResult || e.Type == wire.TypeError {
		if c.end != 0 && c.end != e.Seq {
			return fmt.Errorf("a second end: %d and %d", c.end, e.Seq)
		}
		c.end, c.ended = e.Seq, true
	} else if c.end != 0 && e.Seq > c.end {
		return fmt.Errorf("event %d behind the end %d", e.Seq, c.end)
	}
	return nil
}
