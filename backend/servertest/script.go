package servertest

import (
	"fmt"
	"slices"
)

// Match says which frame, handshake or close a scripted fault befalls: a Side,
// a [Type], a [Call], a [Conn], a [Skip] or a [Times]. All that are named must
// hold.
type Match interface{ narrow(r *rule) }

type (
	// Type is the type of a message that the frame must hold, such as "ack".
	Type string
	// Call is the id of a call that a message of the frame must be about.
	Call string
	// Conn is the number of the connection, from 1; handshakes that are
	// refused count.
	Conn int
	// Skip is how many that match are let pass before.
	Skip int
	// Times is how often the fault is done. Default 1.
	Times int
)

func (s Side) narrow(r *rule)  { r.from = s }
func (t Type) narrow(r *rule)  { r.kind = string(t) }
func (c Call) narrow(r *rule)  { r.call = string(c) }
func (c Conn) narrow(r *rule)  { r.conn = int(c) }
func (s Skip) narrow(r *rule)  { r.skip = int(s) }
func (n Times) narrow(r *rule) { r.times = int(n) }

// rule is a scripted fault that is not over.
type rule struct {
	fault             Fault
	at                moment
	from              Side
	kind, call        string
	conn, skip, times int
	done              chan struct{}
}

// newRule panics where a test could wait for ever.
func newRule(fault Fault, matches []Match) *rule {
	r := &rule{fault: fault, at: fault.moment(), times: 1, done: make(chan struct{})}
	for _, m := range matches {
		m.narrow(r)
	}
	switch {
	case r.at == 0:
		panic(fmt.Sprintf("servertest: there is no fault %q", string(fault)))
	case r.times < 1 || r.skip < 0 || r.conn < 0:
		panic("servertest: Times is at least 1, Skip and Conn are not negative")
	case r.from != "" && r.from != FromClient && r.from != FromServer:
		panic(fmt.Sprintf("servertest: there is no side %q", string(r.from)))
	case r.at != atFrame && (r.kind != "" || r.call != ""):
		panic(fmt.Sprintf("servertest: %q befalls no frames; Type and Call do not match anything", string(fault)))
	case r.at == atHandshake && r.from == FromServer:
		panic(fmt.Sprintf("servertest: %q befalls handshakes, which are the client's", string(fault)))
	}
	return r
}

// occasion is what a fault could befall.
type occasion struct {
	at   moment
	conn int
	from Side
	// n numbers the frames of a side.
	n     int
	holds contents
}

func (r *rule) matches(o *occasion) bool {
	return r.at == o.at && (r.from == "" || r.from == o.from) && (r.conn == 0 || r.conn == o.conn) &&
		(r.kind == "" || slices.Contains(o.holds.types, r.kind)) && (r.call == "" || slices.Contains(o.holds.ids, r.call))
}

// script is the scripted faults that are not over, in the order in which they
// were asked for. Its user sees to the locking.
type script struct{ rules []*rule }

// take returns the fault that is to befall; ok is false when there is none.
// Rules that let it pass have counted it. A rule that is over is closed by
// calling done, once the fault has been done.
func (s *script) take(o *occasion) (fault Fault, done func(), ok bool) {
	for i, r := range s.rules {
		if !r.matches(o) {
			continue
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		done = func() {}
		if r.times--; r.times == 0 {
			s.rules = slices.Delete(s.rules, i, i+1)
			done = func() { close(r.done) }
		}
		return r.fault, done, true
	}
	return "", func() {}, false
}
