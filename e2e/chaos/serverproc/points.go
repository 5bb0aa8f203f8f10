package serverproc

import "time"

// Point is a moment at which the server is killed. README.md of e2e/chaos
// describes them all.
type Point string

// Points that are treated specially. The others are named by an operation, and
// by before or after for writes of the store, sent or received for messages.
const (
	Random           Point = "random"
	Create           Point = "create"
	Open             Point = "open"
	ExpireDuring     Point = "expire.during"
	CheckpointDuring Point = "checkpoint.during"
	CheckpointIdle   Point = "checkpoint.idle"
	Sync             Point = "sync"
	Backup           Point = "backup"
	Slow             Point = "slow"
	Broken           Point = "broken"
	Full             Point = "full"
)

// Kill is when a server is killed: when the point is reached for the Nth time, and
// after Delay.
type Kill struct {
	Point Point
	Nth   int // 0: the point is a moment, not a place in the code
	Delay time.Duration
}

// Kind is what is special about a world: one data file with the servers that
// use it one after the other. It decides on the faults, and on the calls.
type Kind string

// Kinds of worlds.
const (
	Plain      Kind = "plain"    // nothing but kills and cuts
	Clean      Kind = "clean-up" // calls are kept for 2 s, and cleaned up all the time
	Clock      Kind = "clock"    // the clock jumps by hours
	Heavy      Kind = "heavy"    // the log is copied while calls run
	SlowDisk   Kind = "slow disk"
	BrokenDisk Kind = "broken disk"
	FullDisk   Kind = "full disk"
)
