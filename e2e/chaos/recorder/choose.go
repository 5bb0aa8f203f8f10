package recorder

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// ask is a call that a client makes.
type ask struct {
	id      string
	action  string
	params  serverproc.Params
	options serverproc.Options
	// to is the id under which it was acknowledged; empty: it was not.
	to string
	// ended tells that it has ended, and is only read again.
	ended bool
}

// choose chooses a call for a world of a kind.
func choose(kind serverproc.Kind, run int, random *rand.Rand) ask {
	a := ask{action: serverproc.Stored, params: chooseJob(kind, random)}
	o := &a.options
	o.Collect, o.Reread = random.IntN(4) == 0, random.IntN(8) == 0
	switch n := random.IntN(20); {
	case n < 2:
		a.action = serverproc.Grown
	case n < 4:
		params := serverproc.Params{Salt: random.Int64(), Filler: strings.Repeat("e", random.IntN(200))}
		return ask{action: serverproc.Echo, params: params}
	case n < 6 && kind != serverproc.Clean: // there, a key expires while others still use it
		o.Key = fmt.Sprintf("key-%d-%d", run, random.Uint64())
	case n < 8:
		o.CancelMs = 1 + random.IntN(200)
		o.May = append(o.May, "cancelled")
	case n < 9:
		o.DelayMs = 1 + random.IntN(300)
	case n < 10:
		o.CancelAfterMs = 1 + random.IntN(400)
		o.May = append(o.May, "cancelled")
	}
	if kind == serverproc.Clock && random.IntN(6) == 0 {
		// The clock may jump past its deadline. A failure then ends the call at
		// once, because its retry would come too late.
		o.TimeoutMs = 3_600_000
		o.May = append(o.May, "deadline_exceeded")
		if a.params.FailAt >= 0 {
			o.May = append(o.May, "internal")
		}
	}
	return a
}

func chooseJob(kind serverproc.Kind, random *rand.Rand) serverproc.Params {
	p := serverproc.Params{Chunks: random.IntN(30), PaceMicros: random.IntN(12_000), Pad: random.IntN(64), FailAt: -1, Salt: random.Int64()}
	switch {
	case kind == serverproc.Heavy:
		p.PaceMicros, p.Pad = random.IntN(1000), 2000+random.IntN(8000)
	case kind == serverproc.FullDisk:
		p.Pad, p.Filler = 500+random.IntN(1500), strings.Repeat("f", random.IntN(2000))
	case kind == serverproc.Clean && random.IntN(12) == 0:
		p.Chunks, p.PaceMicros = 60, 50_000 // longer than the retention
	case random.IntN(10) == 0:
		p.Chunks, p.PaceMicros = 40, 15_000
	}
	if random.IntN(2) == 0 {
		p.CheckpointEvery = 1 + random.IntN(8)
	}
	if p.Chunks > 1 && random.IntN(3) == 0 {
		p.FailAt = random.IntN(p.Chunks)
	}
	if p.Chunks > 1 && random.IntN(6) == 0 {
		p.ContinueAt = 1 + random.IntN(p.Chunks-1)
	}
	return p
}

// unfinished returns the calls of a journal that a client still has to see
// through.
func unfinished(old []serverproc.Entry) (out []ask, err error) {
	asks := map[string]*ask{}
	ends := map[string]int{}
	var order []*ask
	for i := range old {
		e := &old[i]
		a := asks[e.ID]
		switch {
		case e.What == serverproc.Ask:
			a = &ask{id: e.ID, action: e.Action, options: *e.Options}
			if err := decodeParams(e, &a.params); err != nil {
				return nil, err
			}
			asks[e.ID], order = a, append(order, a)
		case a == nil:
		case e.What == serverproc.Ack:
			a.to = e.To
		case e.What == serverproc.End:
			ends[e.ID]++
			a.ended = true
		}
	}
	for _, a := range order {
		if n := ends[a.id]; n == 0 || n == 1 && a.options.Reread && a.to != "" {
			out = append(out, *a)
		}
	}
	return out, nil
}
