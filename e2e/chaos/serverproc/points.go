package serverproc

// Point is a moment at which the server is killed.
type Point string

// Points that are treated specially. Points lists all of them.
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

// Points lists all points with what -help says of them. A write of the store
// has a point before it is requested and one after it is durable, when nobody
// has been told yet.
var Points = []struct {
	Point Point
	Text  string
}{
	{Random, "at a random moment"},
	{Create, "while the file is created and migrated"},
	{Open, "while an existing file is opened and its log recovered"},
	{"accept.before", "before a call is stored"},
	{"accept.after", "when a call is durable, before anybody is told"},
	{"claim.before", "before a queued call is claimed"},
	{"claim.after", "when the claim is durable, before the handler runs"},
	{"record.before", "before chunks, checkpoint and progress are stored"},
	{"record.after", "when they are durable, before anybody is told"},
	{"finish.before", "before an end or a retry is stored"},
	{"finish.after", "when it is durable, before anybody is told"},
	{"cancel.before", "before a cancel is stored"},
	{"cancel.after", "when it is durable, before anybody is told"},
	{"told.ack", "when an ack has left the server, and does not arrive"},
	{"told.chunk", "the same for a chunk"},
	{"told.end", "the same for an end"},
	{"heard.ack", "when an ack has arrived"},
	{"heard.chunk", "when a chunk has arrived"},
	{"heard.end", "when an end has arrived"},
	{"expire.before", "before clean-up deletes what has expired"},
	{ExpireDuring, "while it does"},
	{"expire.after", "when it has"},
	{CheckpointDuring, "while the write-ahead log is copied into the file"},
	{CheckpointIdle, "when the log is copied and truncated during a pause"},
	{Sync, "when the process calls fsync (needs strace)"},
	{Backup, "at a random moment; file and log are copied, and the run continues with the copy"},
	{Slow, "at a random moment, on a disk with slow writes and syncs (needs strace)"},
	{Broken, "at a random moment, on a disk whose writes and syncs sometimes fail (needs strace)"},
	{Full, "on a full disk, or soon after it has space again (needs the right to mount)"},
}

// Known tells whether it is one of Points.
func (p Point) Known() bool {
	for _, q := range Points {
		if p == q.Point {
			return true
		}
	}
	return false
}

// Kind is what is special about a world: one data file with the servers that
// use it one after the other. It decides on the faults, and on the calls that
// clients make.
type Kind string

// Kinds of worlds.
const (
	// Plain has nothing but kills, connection cuts and client kills.
	Plain Kind = "plain"
	// Clean keeps calls for 2 s after their end, and cleans up all the time.
	Clean Kind = "clean-up"
	// Clock has a clock that jumps by hours.
	Clock Kind = "clock"
	// SlowDisk, BrokenDisk and FullDisk have such a disk.
	SlowDisk   Kind = "slow disk"
	BrokenDisk Kind = "broken disk"
	FullDisk   Kind = "full disk"
	// Heavy writes so much that the log is copied while calls run.
	Heavy Kind = "heavy"
)
