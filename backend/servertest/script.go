package servertest

import (
	"fmt"
	"slices"
)

// Match selects the frame, handshake or close of a scripted fault: a Side, a
// [Type], a [Call], a [Conn], a [Skip] or a [Times]. All given matches must hold.
type Match interface{ narrow(r *rule) }

type (
	// Type is the type of a message that the frame must contain, such as "ack".
	Type string
	// Call is the id of a call that a message of the frame must be about.
	Call string
	// Conn is the number of the connection, from 1; handshakes that are
	// refused count.
	Conn int
	// Skip is how many matching frames pass before.
	Skip int
	// Times is how often the fault is applied. Default 1.
	Times int
)

func (s Side) narrow(r *rule)  { r.from = s }
func (t Type) narrow(r *rule)  { r.kind = string(t) }
func (c Call) narrow(r *rule)  { r.call = string(c) }
func (c Conn) narrow(r *rule)  { r.conn = int(c) }
func (s Skip) narrow(r *rule)  { r.skip = int(s) }
func (n Times) narrow(r *rule) { r.times = int(n) }

// rule is a scripted fault that has not been applied often enough.
type rule struct {
	fault             Fault
	at                moment
	from              Side
	kind, call        string
	conn, skip, times int
	done              chan struct{}
}

// newRule panics if the fault could never be applied: a test would wait forever.
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
		panic(fmt.Sprintf("servertest: %q is not a fault of frames; Type and Call do not match anything", string(fault)))
	case r.at == atHandshake && r.from == FromServer:
		panic(fmt.Sprintf("servertest: %q is a fault of handshakes, which the client sends", string(fault)))
	}
	return r
}

// occasion is a frame, handshake or close to which a fault may be applied.
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

// nextRule returns the scripted fault to apply to an occasion, or nil. Rules with
// Skip count the occasion; last reports that the rule has been applied often enough.
// The caller holds the lock.
func (g *Gateway) nextRule(o *occasion) (r *rule, last bool) {
	for i, r := range g.rules {
		switch {
		case !r.matches(o):
		case r.skip > 0:
			r.skip--
		default:
			r.times--
			if last = r.times == 0; last {
				g.rules = slices.Delete(g.rules, i, i+1)
			}
			return r, last
		}
	}
	return nil, false
}
