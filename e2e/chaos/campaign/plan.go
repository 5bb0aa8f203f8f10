package campaign

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
)

// PlanOptions are what a plan is made of.
type PlanOptions struct {
	Seed uint64
	// Kills is how often a server is killed, at least 1.
	Kills int
	// Points are the moments to choose from. Empty: all.
	Points []serverproc.Point
	// World is the number of the only world that is carried out; 0: all are.
	World int
	// NoTrace and NoMount leave out what needs strace, and the right to mount.
	NoTrace, NoMount bool
}

// World is one data file, from its creation to its verdict.
type World struct {
	Number int // from 1
	Kind   serverproc.Kind
	Seed   uint64
	// Retention is for how long calls are kept; 0: the server's default.
	Retention time.Duration
	// CutAfter is after about how many bytes connections are cut: more where calls
	// are large.
	CutAfter int
	// Callers is how many calls are under way at a time.
	Callers, Workers int
	Rounds           []Round
}

// Round is one run of the server, until it is killed.
type Round struct {
	serverproc.Kill
	// Life is after how long it is killed if it has not been by then. For random
	// moments it is the moment.
	Life time.Duration
	Acts []Act
}

// Act is something else that happens at a moment of a round; at 0 before the
// server starts.
type Act struct {
	At    time.Duration
	Verb  Verb
	Hours int // for stepClock
}

// Verb is what an act does.
type Verb string

const (
	killClient Verb = "kill client" // a new one continues its calls
	cutAll     Verb = "cut all"     // cut all connections
	stepClock  Verb = "step clock"  // set the server's clock so many hours off the machine's
	fillDisk   Verb = "fill disk"
	emptyDisk  Verb = "empty disk"
	pause      Verb = "pause" // no new calls until the round's end
)

// kinds are the worlds of a cycle. In a long run they have so many kills, in a
// short one each point once.
var kinds = []struct {
	World  // what is not chosen at random
	kills  int
	points string
}{
	{World{Kind: serverproc.Plain, CutAfter: 40_000}, 80, "random create open accept.before accept.after claim.before claim.after " +
		"record.before record.after finish.before finish.after cancel.before cancel.after " +
		"sent.ack sent.chunk sent.end received.ack received.chunk received.end backup"},
	{World{Kind: serverproc.Clean, CutAfter: 40_000, Retention: 2 * time.Second}, 40, "expire.during expire.before expire.after random"},
	{World{Kind: serverproc.Heavy, CutAfter: 400_000, Callers: 24, Workers: 32}, 40, "checkpoint.during sync checkpoint.idle backup random"},
	{World{Kind: serverproc.FullDisk, CutAfter: 400_000}, 6, "full full full"},
	{World{Kind: serverproc.Clock, CutAfter: 40_000}, 40, "random accept.after finish.after open"},
	{World{Kind: serverproc.SlowDisk, CutAfter: 40_000}, 20, "slow sent.ack"},
	{World{Kind: serverproc.BrokenDisk, CutAfter: 40_000}, 20, "broken broken"},
}

// Points returns all points at which a plan kills servers.
func Points() (out []serverproc.Point) {
	for i := range kinds {
		out = append(out, usable(i, &PlanOptions{})...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

const (
	// shortKills is up to how many kills a run of all points is short.
	shortKills = 100
	// maxHours is how far a clock is set off the machine's.
	maxHours = 6
)

// usable returns the points of a kind that are asked for, and that this machine
// can do.
func usable(kind int, o *PlanOptions) (out []serverproc.Point) {
	k := &kinds[kind]
	if o.NoMount && k.Kind == serverproc.FullDisk || o.NoTrace && (k.Kind == serverproc.SlowDisk || k.Kind == serverproc.BrokenDisk) {
		return nil
	}
	for name := range strings.FieldsSeq(k.points) {
		p := serverproc.Point(name)
		if (len(o.Points) == 0 || slices.Contains(o.Points, p)) && (p != serverproc.Sync || !o.NoTrace) {
			out = append(out, p)
		}
	}
	return out
}

// NewPlan plans what a run does, which follows from the options alone. What happens
// in a run does not: which goroutine runs when a kill comes is decided by the
// machine. An error means that nothing is left to do.
func NewPlan(o *PlanOptions) (p []World, err error) {
	random := rand.New(rand.NewPCG(o.Seed, 0))
	long := o.Kills > shortKills || len(o.Points) > 0
	for left := o.Kills; left > 0; {
		before := left
		for i := range kinds {
			points := usable(i, o)
			kills := len(points)
			if long && kills > 0 {
				kills = kinds[i].kills
			}
			if kills = min(kills, left); kills > 0 {
				p = append(p, newWorldPlan(len(p)+1, i, points, kills, random.Uint64()))
				left -= kills
			}
		}
		if left == before {
			return nil, fmt.Errorf("no point of %v is left: strace is missing: %t, mounting is not allowed: %t", o.Points, o.NoTrace, o.NoMount)
		}
	}
	if len(p) == 0 || o.World < 0 || o.World > len(p) {
		return nil, fmt.Errorf("a plan of %d kills has no world %d; the number of kills must be at least 1", o.Kills, o.World)
	}
	if o.World > 0 {
		p = p[o.World-1 : o.World]
	}
	return p, nil
}

func newWorldPlan(number, kind int, usable []serverproc.Point, kills int, seed uint64) World {
	random := rand.New(rand.NewPCG(seed, 1))
	w := kinds[kind].World
	w.Number, w.Seed = number, seed
	w.Callers = cmp.Or(w.Callers, 10+random.IntN(8))
	w.Workers = cmp.Or(w.Workers, 4+random.IntN(28))
	// A world too short for all points takes the first ones.
	points := slices.Clone(usable[:min(len(usable), kills)])
	for i := range kills {
		next := i % len(points)
		if next == 0 {
			random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
		}
		if create := slices.Index(points, serverproc.Create); create >= 0 && i == 0 {
			points[0], points[create] = points[create], points[0]
		}
		p := points[next]
		if p == serverproc.Create && i > 0 {
			p = serverproc.Open // the file exists already
		}
		w.Rounds = append(w.Rounds, newRound(w.Kind, p, random))
	}
	return w
}

func newRound(k serverproc.Kind, p serverproc.Point, random *rand.Rand) Round {
	ms := func(low, high int) time.Duration {
		return time.Duration(low+random.IntN(high-low+1)) * time.Millisecond
	}
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	r := Round{Kill: serverproc.Kill{Point: p, Nth: 1 + random.IntN(24)}, Life: 900 * time.Millisecond}
	switch p {
	case serverproc.Random, serverproc.Backup, serverproc.Slow, serverproc.Broken:
		r.Nth, r.Life = 0, ms(30, 600)
	case serverproc.Full:
		r.Nth, r.Life = 0, ms(500, 1100)
	case serverproc.Create, serverproc.Open:
		r.Nth, r.Delay = 1, upTo(40*time.Millisecond) // from the start of the process
	case serverproc.ExpireDuring, serverproc.CheckpointDuring:
		r.Nth, r.Delay, r.Life = 1+random.IntN(3), upTo(4*time.Millisecond), 2500*time.Millisecond
	case serverproc.CheckpointIdle:
		r.Nth, r.Delay, r.Life = 1, upTo(2*time.Millisecond), 4*time.Second
		r.Acts = append(r.Acts, Act{At: 300 * time.Millisecond, Verb: pause})
	case serverproc.Sync:
		r.Nth = 1 + random.IntN(8) // each thread counts for itself
	case "cancel.before", "cancel.after", "claim.before", "claim.after", "expire.before", "expire.after":
		r.Nth = 1 + random.IntN(4) // these come less often
	default:
	}
	for _, verb := range []Verb{killClient, cutAll} {
		if random.IntN(8) == 0 {
			r.Acts = append(r.Acts, Act{At: 1 + upTo(min(r.Life, time.Second)), Verb: verb})
		}
	}
	if k == serverproc.Clock {
		step := Act{Verb: stepClock, Hours: random.IntN(2*maxHours+1) - maxHours}
		if random.IntN(2) == 0 {
			step.At = 1 + upTo(r.Life)
		}
		r.Acts = append(r.Acts, step)
	}
	if k == serverproc.FullDisk {
		r.Acts = append(r.Acts, Act{At: r.Life / 10, Verb: fillDisk})
		// Otherwise it is full when the server is killed, and when the next starts.
		if random.IntN(2) == 0 {
			r.Acts = append(r.Acts, Act{At: r.Life * 2 / 3, Verb: emptyDisk})
		}
	}
	slices.SortStableFunc(r.Acts, func(a, b Act) int { return int(a.At - b.At) })
	return r
}
