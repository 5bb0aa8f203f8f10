// Package plan draws up what a chaos run does: which worlds there are, when a
// server is killed in each, and what else goes wrong. A plan is a pure function
// of its options. What comes of it is not: whose turn it is when the kill comes
// is decided by the machine.
package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Options are what a plan is made of.
type Options struct {
	Seed uint64
	// Kills is how often a server is killed, at least 1.
	Kills int
	// Points are the moments to choose from. Empty: all.
	Points []Point
	// Without are the parts that this machine lacks. What needs them is left
	// out, and its share goes to the rest.
	Without []Part
}

// Plan is what a run does, one world after the other.
type Plan struct {
	Seed   uint64  `json:"seed"`
	Worlds []World `json:"worlds"`
}

// Kind is what is special about a world.
type Kind string

// Kinds of worlds.
const (
	// Plain worlds have nothing but kills, cuts and dying clients.
	Plain Kind = "plain"
	// Clean worlds keep calls for 2 s after their end, and clean up all the time.
	Clean Kind = "clean-up"
	// Clock worlds have a clock that is stepped by hours.
	Clock Kind = "clock"
	// SlowDisk, BrokenDisk and FullDisk worlds have such a disk.
	SlowDisk   Kind = "slow disk"
	BrokenDisk Kind = "broken disk"
	FullDisk   Kind = "full disk"
	// Heavy worlds write so much that the log is copied in the midst of it.
	Heavy Kind = "heavy"
)

// World is one data file, from its making to the verdict.
type World struct {
	Number int    `json:"number"` // from 1
	Kind   Kind   `json:"kind"`
	Seed   uint64 `json:"seed"`
	// Retention is for how long calls are kept; 0: the server's default.
	Retention time.Duration `json:"retention,omitempty"`
	// Callers is how many calls are under way at a time.
	Callers int     `json:"callers"`
	Workers int     `json:"workers"`
	Rounds  []Round `json:"rounds"`
}

// Round is one life of the server.
type Round struct {
	Point Point `json:"point"`
	// Nth is at which time that the point is reached the server dies.
	Nth int `json:"nth,omitempty"`
	// Delay is how long after the point.
	Delay time.Duration `json:"delay,omitempty"`
	// Life is when it is killed from outside, if it still lives then. For
	// moments that are random it is the moment.
	Life time.Duration `json:"life"`
	Acts []Act         `json:"acts,omitempty"`
}

// Verb is what else happens in a round.
type Verb string

// Verbs.
const (
	// KillClient kills the client process; a new one takes over its ids.
	KillClient Verb = "kill client"
	// CutAll cuts all connections at once.
	CutAll Verb = "cut all"
	// StepClock sets the server's clock so many hours off the machine's.
	StepClock Verb = "step clock"
	// Fill fills the disk, Empty makes room again.
	Fill  Verb = "fill"
	Empty Verb = "empty"
	// Lull stops new calls until the round's end.
	Lull Verb = "lull"
)

// Act is something that happens at a moment of a round. Before the server
// starts: At is 0.
type Act struct {
	At    time.Duration `json:"at"`
	Verb  Verb          `json:"verb"`
	Hours int           `json:"hours,omitempty"`
}

// kind is what a world of a kind is made of.
type kind struct {
	kind Kind
	// weight is how many worlds of a long run are of the kind, kills how many
	// kills each of them has.
	weight, kills int
	points        []Point
	needs         []Part
}

var kinds = []kind{
	{Plain, 8, worldKills, []Point{
		Create, Random, Open, AcceptBefore, AcceptAfter, ClaimBefore, ClaimAfter, RecordBefore, RecordAfter, FinishBefore, FinishAfter,
		CancelBefore, CancelAfter, ToldAck, ToldChunk, ToldEnd, HeardAck, HeardChunk, HeardEnd, Backup,
	}, nil},
	{Clean, 4, worldKills, []Point{ExpireDuring, ExpireBefore, ExpireAfter, Random}, nil},
	{Heavy, 4, worldKills, []Point{CheckpointDuring, Sync, CheckpointIdle, Backup, Random}, nil},
	{FullDisk, 4, diskKills, []Point{Full, Full, Full}, []Part{Mount}},
	{Clock, 3, worldKills, []Point{Random, AcceptAfter, FinishAfter, Open}, nil},
	{SlowDisk, 2, worldKills, []Point{Slow, ToldAck}, []Part{Trace}},
	{BrokenDisk, 2, worldKills, []Point{Broken, Broken}, []Part{Trace}},
}

// Bounds of a plan.
const (
	// worldKills is how many kills a world of a long run has.
	worldKills = 40
	// diskKills is the same for a world whose disk is small.
	diskKills = 12
	// shortKills is up to how many kills there is one world of each kind.
	shortKills = 100
	// maxHours is how far a clock is stepped off the machine's.
	maxHours = 6
	// cleanRetention is the retention of clean worlds.
	cleanRetention = 2 * time.Second
)

// New draws up a plan. An error means that nothing is left to do.
func New(o Options) (Plan, error) {
	if o.Kills < 1 {
		return Plan{}, errors.New("there must be at least one kill")
	}
	var usable []kind
	for _, k := range kinds {
		k.points = slices.DeleteFunc(slices.Clone(k.points), func(p Point) bool {
			return p == Sync && slices.Contains(o.Without, Trace) || len(o.Points) > 0 && !slices.Contains(o.Points, p)
		})
		if len(k.points) > 0 && !slices.ContainsFunc(k.needs, func(p Part) bool { return slices.Contains(o.Without, p) }) {
			usable = append(usable, k)
		}
	}
	if len(usable) == 0 {
		return Plan{}, fmt.Errorf("no point is left: this machine lacks %v", o.Without)
	}
	p := Plan{Seed: o.Seed}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	for _, share := range shares(usable, o.Kills, random) {
		p.Worlds = append(p.Worlds, newWorld(len(p.Worlds)+1, share.kind, share.kills, random.Uint64()))
	}
	return p, nil
}

// share is how many kills a world gets.
type share struct {
	kind  kind
	kills int
}

// shares divides the kills: few into one world of each kind, so that each kind
// and then each point has its turn, many into worlds of a bounded size.
func shares(usable []kind, kills int, random *rand.Rand) []share {
	if kills <= shortKills {
		return fewShares(usable, kills)
	}
	var out []share
	var turn []kind
	for left := kills; left > 0; {
		if len(turn) == 0 {
			turn = cycle(usable, random)
		}
		n := min(turn[0].kills, left)
		out = append(out, share{turn[0], n})
		turn, left = turn[1:], left-n
	}
	return out
}

// fewShares gives each kind one kill, then as many as it has points, in the
// kinds' order, then in turn what is left.
func fewShares(usable []kind, kills int) []share {
	out := make([]share, min(len(usable), kills))
	for i := range out {
		out[i] = share{usable[i], 1}
	}
	left := kills - len(out)
	for i := range out {
		more := min(left, len(out[i].kind.points)-1)
		out[i].kills += more
		left -= more
	}
	for i := range left {
		out[i%len(out)].kills++
	}
	return out
}

// cycle returns each kind once, in their order, and then as often as its
// weight still says, shuffled.
func cycle(usable []kind, random *rand.Rand) []kind {
	out := slices.Clone(usable)
	for _, k := range usable {
		for range k.weight - 1 {
			out = append(out, k)
		}
	}
	rest := out[len(usable):]
	random.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return out
}
