package campaign

import (
	"errors"
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

// Plan is what a run does, one world after the other. It follows from its
// options alone. What happens in a run does not: which goroutine runs when a
// kill comes is decided by the machine.
type Plan struct {
	Seed   uint64
	Worlds []World
}

// World is one data file, from its creation to its verdict.
type World struct {
	Number int             `json:"number"` // from 1
	Kind   serverproc.Kind `json:"kind"`
	Seed   uint64          `json:"seed"`
	// Retention is for how long calls are kept; 0: the server's default.
	Retention time.Duration `json:"retention,omitempty"`
	// Callers is how many calls are under way at a time.
	Callers int     `json:"callers"`
	Workers int     `json:"workers"`
	Rounds  []Round `json:"rounds"`
}

// Round is one run of the server, until it is killed.
type Round struct {
	Point serverproc.Point `json:"point"`
	// Nth is at which time that the point is reached the server is killed, Delay
	// how long after that.
	Nth   int           `json:"nth,omitempty"`
	Delay time.Duration `json:"delay,omitempty"`
	// Life is after how long it is killed if it has not been by then. For random
	// moments it is the moment.
	Life time.Duration `json:"life"`
	Acts []Act         `json:"acts,omitempty"`
}

// Verb is what else happens in a round.
type Verb string

// Verbs.
const (
	// killClient kills the client process; a new one continues its calls.
	killClient Verb = "kill client"
	// cutAll cuts all connections at once.
	cutAll Verb = "cut all"
	// stepClock sets the server's clock so many hours off the machine's.
	stepClock Verb = "step clock"
	// fillDisk fills the disk, emptyDisk makes space again.
	fillDisk  Verb = "fill disk"
	emptyDisk Verb = "empty disk"
	// pause stops new calls until the round's end.
	pause Verb = "pause"
)

// Act is something that happens at a moment of a round; at 0 before the server
// starts.
type Act struct {
	At    time.Duration `json:"at"`
	Verb  Verb          `json:"verb"`
	Hours int           `json:"hours,omitempty"`
}

// kind is what a world of a kind is made of. Of the worlds of a long run,
// weight are of the kind in each cycle, and each of them has so many kills.
type kind struct {
	kind          serverproc.Kind
	weight, kills int
	points        string
}

var kinds = []kind{
	{serverproc.Plain, 8, 40, "create random open accept.before accept.after claim.before claim.after record.before record.after finish.before finish.after " +
		"cancel.before cancel.after told.ack told.chunk told.end heard.ack heard.chunk heard.end backup"},
	{serverproc.Clean, 4, 40, "expire.during expire.before expire.after random"},
	{serverproc.Heavy, 4, 40, "checkpoint.during sync checkpoint.idle backup random"},
	{serverproc.FullDisk, 4, 12, "full full full"},
	{serverproc.Clock, 3, 40, "random accept.after finish.after open"},
	{serverproc.SlowDisk, 2, 40, "slow told.ack"},
	{serverproc.BrokenDisk, 2, 40, "broken broken"},
}

// Bounds of a plan.
const (
	// oneEach is up to how many kills there is one world of each kind.
	oneEach = 100
	// maxHours is how far a clock is set off the machine's.
	maxHours = 6
	// cleanRetention is the retention of clean worlds.
	cleanRetention = 2 * time.Second
)

// share is a world to be made: its kind, the points it may have, its kills.
type share struct {
	kind
	points []serverproc.Point
	kills  int
}

// usable returns what this machine can do of what is asked for.
func usable(o *PlanOptions) (out []share) {
	for _, k := range kinds {
		s := share{kind: k}
		for name := range strings.FieldsSeq(k.points) {
			p := serverproc.Point(name)
			if (len(o.Points) == 0 || slices.Contains(o.Points, p)) && (p != serverproc.Sync || !o.NoTrace) {
				s.points = append(s.points, p)
			}
		}
		lacking := o.NoMount && k.kind == serverproc.FullDisk || o.NoTrace && (k.kind == serverproc.SlowDisk || k.kind == serverproc.BrokenDisk)
		if len(s.points) > 0 && !lacking {
			out = append(out, s)
		}
	}
	return out
}

// NewPlan makes a plan. An error means that nothing is left to do.
func NewPlan(o *PlanOptions) (Plan, error) {
	if o.Kills < 1 {
		return Plan{}, errors.New("there must be at least one kill")
	}
	shares := usable(o)
	if len(shares) == 0 {
		return Plan{}, fmt.Errorf("no point of %v is left: strace is missing: %t, mounting is not allowed: %t", o.Points, o.NoTrace, o.NoMount)
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	if o.Kills <= oneEach {
		shares = shareFew(shares, o.Kills)
	} else {
		shares = shareMany(shares, o.Kills, random)
	}
	p := Plan{Seed: o.Seed}
	for i, s := range shares {
		if seed := random.Uint64(); o.World == 0 || o.World == i+1 {
			p.Worlds = append(p.Worlds, newWorldPlan(i+1, s, seed))
		}
	}
	if len(p.Worlds) == 0 {
		return p, fmt.Errorf("the plan has no world %d", o.World)
	}
	return p, nil
}

// shareFew gives each kind one kill, then as many as it has points, in the
// kinds' order, and then deals out what is left.
func shareFew(shares []share, kills int) []share {
	shares = shares[:min(len(shares), kills)]
	left := kills - len(shares)
	for i := range shares {
		more := min(left, len(shares[i].points)-1)
		shares[i].kills = 1 + more
		left -= more
	}
	for i := range left {
		shares[i%len(shares)].kills++
	}
	return shares
}

// shareMany makes worlds of a bounded size: in each cycle one of each kind, in
// their order, and then as often as their weight still says, shuffled.
func shareMany(shares []share, kills int, random *rand.Rand) (out []share) {
	for kills > 0 {
		cycle := slices.Clone(shares)
		for _, s := range shares {
			cycle = append(cycle, slices.Repeat([]share{s}, s.weight-1)...)
		}
		rest := cycle[len(shares):]
		random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
		for _, s := range cycle {
			if kills > 0 {
				s.kills = min(s.kind.kills, kills)
				kills -= s.kills
				out = append(out, s)
			}
		}
	}
	return out
}

func newWorldPlan(number int, s share, seed uint64) World {
	random := rand.New(rand.NewPCG(seed, 1))
	w := World{Number: number, Kind: s.kind.kind, Seed: seed, Callers: 10 + random.IntN(8), Workers: 4 + random.IntN(28)}
	if w.Kind == serverproc.Clean {
		w.Retention = cleanRetention
	}
	if w.Kind == serverproc.Heavy {
		w.Callers, w.Workers = 24, 32
	}
	var points []serverproc.Point
	for range s.kills {
		if len(points) == 0 {
			// A world too short for all points takes the first ones.
			points = slices.Clone(s.points[:min(len(s.points), s.kills)])
			random.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
			if at := slices.Index(points, serverproc.Create); at >= 0 && len(w.Rounds) == 0 {
				points[0], points[at] = points[at], points[0]
			} else if at >= 0 && s.kills > len(s.points) {
				points[at] = serverproc.Open // the file exists already
			}
		}
		w.Rounds = append(w.Rounds, newRound(w.Kind, points[0], random))
		points = points[1:]
	}
	return w
}

func newRound(k serverproc.Kind, p serverproc.Point, random *rand.Rand) Round {
	ms := func(low, high int) time.Duration {
		return time.Duration(low+random.IntN(high-low+1)) * time.Millisecond
	}
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	r := Round{Point: p, Nth: 1 + random.IntN(24), Life: 900 * time.Millisecond}
	switch p {
	case serverproc.Random, serverproc.Backup, serverproc.Slow, serverproc.Broken:
		r.Nth, r.Life = 0, ms(30, 600)
	case serverproc.Full:
		r.Nth, r.Life = 0, ms(500, 1100)
	case serverproc.Create, serverproc.Open:
		r.Nth, r.Delay = 0, upTo(40*time.Millisecond) // from the start of the process
	case serverproc.ExpireDuring, serverproc.CheckpointDuring:
		r.Nth, r.Delay, r.Life = 1+random.IntN(3), upTo(4*time.Millisecond), 2500*time.Millisecond
	case serverproc.CheckpointIdle:
		r.Nth, r.Delay, r.Life = 1, upTo(2*time.Millisecond), 4*time.Second
		r.Acts = append(r.Acts, Act{At: 300 * time.Millisecond, Verb: pause})
	case serverproc.Sync:
		r.Nth = 1 + random.IntN(8) // each thread counts for itself
	default:
		if operation, _, _ := strings.Cut(string(p), "."); slices.Contains([]string{"cancel", "claim", "expire"}, operation) {
			r.Nth = 1 + random.IntN(4) // these come less often
		}
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
