package judge

import "github.com/pay-theory/streamer/e2e/chaos/witness"

// wire looks at what was told: each event is told as the same each time, and is
// stored, or was made void.
func (j *judge) wire() {
	for i := range j.Told {
		t := &j.Told[i]
		if j.calls[t.ID] == nil {
			j.find(Stranger, t.ID, "the server told of it (%s), and nobody has asked for it", t.Type)
			j.calls[t.ID] = &call{id: t.ID}
		}
		if !t.Event() {
			continue
		}
		seqs := j.told[t.ID]
		if seqs == nil {
			seqs = map[uint64]*witness.Told{}
			j.told[t.ID] = seqs
		}
		if first := seqs[t.Seq]; first == nil {
			seqs[t.Seq] = t
		} else if !same(first, t) {
			j.find(Doubled, t.ID, "seq %d was told as %s, and later as %s", t.Seq, name(first), name(t))
		}
		if t.Type == "ack" && j.ackTold[t.ID] == 0 {
			j.ackTold[t.ID] = t.At
		}
		if t.Ends() && j.endTold[t.ID] == 0 {
			j.endTold[t.ID] = t.At
		}
	}
	for id, seqs := range j.told {
		if s := j.stored[id]; s != nil && !s.Gone {
			j.kept(s, seqs)
		}
	}
}

// kept looks whether all that was told of a call is stored, or covered by a
// mark.
func (j *judge) kept(s *Stored, seqs map[uint64]*witness.Told) {
	stored := map[uint64]*Event{}
	for i := range s.Events {
		stored[s.Events[i].Seq] = &s.Events[i]
	}
	for seq, t := range seqs {
		if e := stored[seq]; e != nil {
			if is := e.told(); !same(t, &is) {
				j.find(Doubled, s.ID, "seq %d was told as %s, and is stored as %s", seq, name(t), name(&is))
			}
			continue
		}
		void := false
		for i := range s.Events {
			e := &s.Events[i]
			void = void || e.Type == "attempt" && e.From <= seq && seq < e.Seq
		}
		if !void {
			j.find(Lost, s.ID, "seq %d was told (%s), and is not stored", seq, name(t))
		}
	}
}

func (e *Event) told() witness.Told {
	return witness.Told{
		Type: e.Type, Seq: e.Seq, Attempt: e.Attempt, From: e.From, Keep: e.Keep, Code: e.Code,
		Sum: witness.Sum(append(append([]byte(nil), e.Data...), e.Payload...)),
	}
}

func same(a, b *witness.Told) bool {
	return a.Type == b.Type && a.Seq == b.Seq && a.Attempt == b.Attempt && a.From == b.From && a.Keep == b.Keep &&
		a.Code == b.Code && a.Sum == b.Sum
}

func name(t *witness.Told) string {
	if t.Code != "" {
		return t.Type + " " + t.Code
	}
	return t.Type
}

func ends(e *Event) bool { return e.Type == "result" || e.Type == "error" }
