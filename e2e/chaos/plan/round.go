package plan

import (
	"math/rand/v2"
	"slices"
	"time"
)

// newWorld draws up a world with so many kills.
func newWorld(number int, k kind, kills int, seed uint64) World {
	random := rand.New(rand.NewPCG(seed, 1))
	w := World{Number: number, Kind: k.kind, Seed: seed, Callers: 10 + random.IntN(8), Workers: 4 + random.IntN(28)}
	switch k.kind {
	case Clean:
		w.Retention = cleanRetention
	case Heavy:
		w.Callers, w.Workers = 24, 32
	case SlowDisk, Plain, Clock, BrokenDisk, FullDisk:
	}
	var points []Point
	for range kills {
		if len(points) == 0 {
			points = slices.Clone(k.points)
			// A world too short for all of them takes the first ones.
			points = points[:min(len(points), kills)]
			random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
			if at := slices.Index(points, Create); at >= 0 && len(w.Rounds) == 0 {
				points[0], points[at] = points[at], points[0]
			} else if at >= 0 && kills > len(k.points) {
				points[at] = Open // there is no new file any more
			}
		}
		w.Rounds = append(w.Rounds, newRound(k.kind, points[0], random))
		points = points[1:]
	}
	return w
}

// between returns a random time of milliseconds.
func between(random *rand.Rand, low, high int) time.Duration {
	return time.Duration(low+random.IntN(high-low+1)) * time.Millisecond
}

// newRound draws up one life of the server.
func newRound(k Kind, p Point, random *rand.Rand) Round {
	r := Round{Point: p, Nth: 1 + random.IntN(24), Life: 900 * time.Millisecond}
	switch p {
	case Random, Backup, Slow, Broken:
		r.Nth, r.Life = 0, between(random, 30, 600)
	case Full:
		r.Nth, r.Life = 0, between(random, 500, 1100)
	case Create, Open:
		// The moment is counted from the start of the process.
		r.Nth, r.Delay = 0, time.Duration(random.IntN(40_000))*time.Microsecond
	case ExpireDuring, CheckpointDuring:
		r.Nth, r.Delay = 1+random.IntN(3), time.Duration(random.IntN(4000))*time.Microsecond
		r.Life = 2500 * time.Millisecond
	case CheckpointIdle:
		r.Nth, r.Delay, r.Life = 1, time.Duration(random.IntN(2000))*time.Microsecond, 4*time.Second
		r.Acts = append(r.Acts, Act{At: 300 * time.Millisecond, Verb: Lull})
	case Sync:
		r.Nth = 1 + random.IntN(8) // each thread counts for itself
	case CancelBefore, CancelAfter, ClaimBefore, ClaimAfter, ExpireBefore, ExpireAfter:
		r.Nth = 1 + random.IntN(4) // they come less often
	default:
	}
	r.Acts = append(r.Acts, acts(k, &r, random)...)
	slices.SortStableFunc(r.Acts, func(a, b Act) int { return int(a.At - b.At) })
	return r
}

// acts draws up what else goes wrong in a round.
func acts(k Kind, r *Round, random *rand.Rand) (out []Act) {
	at := func() time.Duration { return time.Duration(1 + random.Int64N(int64(min(r.Life, time.Second)))) }
	if random.IntN(8) == 0 {
		out = append(out, Act{At: at(), Verb: KillClient})
	}
	if random.IntN(8) == 0 {
		out = append(out, Act{At: at(), Verb: CutAll})
	}
	switch k {
	case Clock:
		step := Act{Verb: StepClock, Hours: random.IntN(2*maxHours+1) - maxHours}
		if random.IntN(2) == 0 {
			step.At = at()
		}
		out = append(out, step)
	case FullDisk:
		out = append(out, Act{At: r.Life / 10, Verb: Fill})
		// In the other half it is full when the server dies, and when the next
		// one starts.
		if random.IntN(2) == 0 {
			out = append(out, Act{At: r.Life * 2 / 3, Verb: Empty})
		}
	case Plain, Clean, SlowDisk, BrokenDisk, Heavy:
	}
	return out
}
