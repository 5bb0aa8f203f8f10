package main

import (
	"fmt"
	"testing"
)

// A walker sees through what a server may do, and notes what it must not.
func TestWalker(t *testing.T) {
	ack := `{"type":"ack","id":"x","seq":1,"epoch":5}`
	chunk := func(seq, at int) string { return fmt.Sprintf(`{"type":"chunk","seq":%d,"data":%d}`, seq, at) }
	mark := func(seq, keep int) string {
		return fmt.Sprintf(`{"type":"attempt","seq":%d,"keep":%d,"from":%d}`, seq, keep, keep+1)
	}
	result := func(seq int) string { return fmt.Sprintf(`{"type":"result","seq":%d}`, seq) }
	snapshot := func(more bool, events string) string {
		return fmt.Sprintf(`{"type":"snapshot","more":%v,"events":[%s]}`, more, events)
	}
	for name, c := range map[string]struct {
		// before is what comes on the first connection, after on the second.
		before, after []string
		gaps, doubles int
		unended       bool
	}{
		"plain": {
			[]string{ack, `[` + chunk(2, 1) + `,{"type":"progress","message":"1"}]`},
			[]string{snapshot(false, chunk(3, 2)+","+mark(4, 3)), chunk(5, 3), result(6)},
			0, 0, false,
		},
		"live events overtake the snapshot": {
			[]string{ack, chunk(2, 1)}, []string{chunk(4, 2), result(5), snapshot(false, chunk(2, 1)+","+mark(3, 2)+","+chunk(4, 2))}, 0, 0, false,
		},
		"two pages": {
			[]string{ack}, []string{snapshot(true, chunk(2, 1)), chunk(4, 3), snapshot(false, chunk(3, 2)), result(5)}, 0, 0, false,
		},
		"a chunk behind the checkpoint is void": {
			[]string{ack, chunk(2, 1), chunk(3, 2)}, []string{snapshot(false, mark(4, 2)), chunk(5, 2), result(6)}, 0, 0, false,
		},
		"an event is missing": {[]string{ack, chunk(2, 1)}, []string{snapshot(false, ""), chunk(4, 2), result(5)}, 1, 0, false},
		"a step is missing":   {[]string{ack, chunk(2, 1)}, []string{snapshot(false, chunk(3, 3)), result(4)}, 1, 0, false},
		"a step comes twice":  {[]string{ack, chunk(2, 1)}, []string{snapshot(false, mark(3, 2)), chunk(4, 1), result(5)}, 0, 1, false},
		"two ends":            {[]string{ack, result(2)}, []string{snapshot(false, ""), result(3)}, 0, 1, false},
		"no end":              {[]string{ack, chunk(2, 1)}, []string{snapshot(false, "")}, 0, 0, true},
	} {
		w := &walker{}
		for i, frames := range [][]string{c.before, c.after} {
			w.behind = i == 1
			for _, frame := range frames {
				messages, err := decode([]byte(frame))
				if err != nil {
					t.Fatal(err)
				}
				for i := range messages {
					if _, err := w.message(&messages[i]); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
		if w.gaps != c.gaps || w.doubles != c.doubles || w.ended == c.unended {
			t.Errorf("%s: %d gaps, %d doubles, ended: %v", name, w.gaps, w.doubles, w.ended)
		}
	}
	w := &walker{}
	if err := w.take(&wire{Type: "error", Code: "poisoned", Seq: 1}); err == nil {
		t.Error("a call that has failed is no error")
	}
}
