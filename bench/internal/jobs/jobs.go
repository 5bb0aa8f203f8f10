// Package jobs makes load on the job queues that people use today: each behind
// one interface, set up as its own documentation advises for speed. Producers
// and workers live in this process, as they do in an application that embeds
// such a queue.
package jobs

import (
	"context"
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/bench/internal/peer"
	"github.com/pay-theory/streamer/bench/internal/traffic"
)

// Queue is a job queue. Between Open and Close its workers run.
type Queue interface {
	// Open connects to the server, and begins to work off jobs.
	Open(ctx context.Context, server *peer.Peer, o *Options) error
	// Submit returns when the queue says that the job is stored. It is safe
	// for concurrent use.
	Submit(ctx context.Context, j *Job) error
	// Close waits until no job runs, and disconnects.
	Close() error
}

// Options are what a load tells a queue.
type Options struct {
	// InFlight is how many jobs there are at a time, at most.
	InFlight int
	// Begun is called with a job's slot at its handler's first line, Done when
	// the queue says that it is completed. Neither blocks.
	Begun func(slot int, at time.Time)
	Done  func(slot int)
	// Failed is called when the queue says that it cannot go on.
	Failed func(error)
	// Traffic counts the bytes that go to the server and come from it.
	Traffic *traffic.Counter
}

// Job is what is worked off: the order that Streamer's echoes carry.
type Job struct {
	Slot  int        `json:"slot"`
	Order peer.Order `json:"order"`
}

// Kind names the job's kind for River.
func (Job) Kind() string { return kind }

const kind = "echo"

// connections is how many connections a pool has: four a core of a small
// machine, as the pools' documentation advises.
const connections = 16

// work is what a worker does: as Streamer's echo it decodes the order, which is
// done already, and encodes it.
func (j *Job) work(o *Options) error {
	o.Begun(j.Slot, time.Now())
	_, err := json.Marshal(&j.Order)
	return err
}

// decode reads a job.
func decode(data []byte) (*Job, error) {
	j := new(Job)
	return j, json.Unmarshal(data, j)
}
