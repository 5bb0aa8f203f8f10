package plan

import "fmt"

// Point is a moment at which a server is killed.
type Point string

// Points. Those before and after a write are about one write of the store's
// role: before it is asked for, and after it is durable, when nobody was told.
const (
	Random Point = "random"
	Create Point = "create"
	Open   Point = "open"

	AcceptBefore Point = "accept.before"
	AcceptAfter  Point = "accept.after"
	ClaimBefore  Point = "claim.before"
	ClaimAfter   Point = "claim.after"
	RecordBefore Point = "record.before"
	RecordAfter  Point = "record.after"
	FinishBefore Point = "finish.before"
	FinishAfter  Point = "finish.after"
	CancelBefore Point = "cancel.before"
	CancelAfter  Point = "cancel.after"

	ToldAck    Point = "told.ack"
	ToldChunk  Point = "told.chunk"
	ToldEnd    Point = "told.end"
	HeardAck   Point = "heard.ack"
	HeardChunk Point = "heard.chunk"
	HeardEnd   Point = "heard.end"

	ExpireBefore Point = "expire.before"
	ExpireDuring Point = "expire.during"
	ExpireAfter  Point = "expire.after"

	CheckpointDuring Point = "checkpoint.during"
	CheckpointIdle   Point = "checkpoint.idle"
	Sync             Point = "sync"
	Backup           Point = "backup"

	Slow   Point = "slow"
	Broken Point = "broken"
	Full   Point = "full"
)

// Part is something that not each machine has.
type Part string

// Parts.
const (
	// Trace is strace, allowed to trace.
	Trace Part = "strace"
	// Mount is the right to mount a small file system.
	Mount Part = "mount"
)

// Description is what --help says of a point.
type Description struct {
	Point Point
	Text  string
}

// Describe lists all points.
func Describe() []Description {
	return []Description{
		{Random, "at a random moment"},
		{Create, "while the file is created and brought to its version"},
		{Open, "while an existing file is opened and its log recovered"},
		{AcceptBefore, "before a call is stored"},
		{AcceptAfter, "when a call is durable, before anybody is told"},
		{ClaimBefore, "before a queued call is claimed"},
		{ClaimAfter, "when the claim is durable, before the handler runs"},
		{RecordBefore, "before chunks, checkpoint and progress are stored"},
		{RecordAfter, "when they are durable, before anybody is told"},
		{FinishBefore, "before an end or a retry is stored"},
		{FinishAfter, "when it is durable, before anybody is told"},
		{CancelBefore, "before a cancel is stored"},
		{CancelAfter, "when it is durable, before anybody is told"},
		{ToldAck, "when an ack has left the server, and does not arrive"},
		{ToldChunk, "the same for a chunk"},
		{ToldEnd, "the same for an end"},
		{HeardAck, "when an ack has arrived"},
		{HeardChunk, "when a chunk has arrived"},
		{HeardEnd, "when an end has arrived"},
		{ExpireBefore, "before clean-up deletes what has expired"},
		{ExpireDuring, "while it does"},
		{ExpireAfter, "when it has"},
		{CheckpointDuring, "while the write-ahead log is copied into the file"},
		{CheckpointIdle, "when a lull has the log copied and cut"},
		{Sync, "at the moment at which the process asks for an fsync (needs strace)"},
		{Backup, "at a random moment; file and log are copied elsewhere, and the copy goes on"},
		{Slow, "at a random moment, on a disk that takes long to write and sync (needs strace)"},
		{Broken, "at a random moment, on a disk that fails to write and sync now and then (needs strace)"},
		{Full, "on a full disk, or soon after it has room again (needs the right to mount)"},
	}
}

// Parse returns the point with that name.
func Parse(name string) (Point, error) {
	for _, d := range Describe() {
		if string(d.Point) == name {
			return d.Point, nil
		}
	}
	return "", fmt.Errorf("there is no point %q; --help lists them", name)
}
