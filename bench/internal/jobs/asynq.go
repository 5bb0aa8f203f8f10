package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibiken/asynq"
	"github.com/pay-theory/streamer/bench/internal/peer"
	"github.com/redis/go-redis/v9"
)

// Asynq is Asynq on Redis. A job is stored when Redis has answered, and is
// taken for completed when its handler has returned: nobody is told when Asynq
// has removed it, which comes after that.
type Asynq struct {
	client *asynq.Client
	server *asynq.Server
}

// asynqCheck is how often an empty queue is looked into; Asynq's default is a
// second.
const asynqCheck = time.Millisecond

// Open plays Queue.
func (a *Asynq) Open(_ context.Context, server *peer.Peer, o *Options) error {
	to := asynqRedis{server, o}
	a.client = asynq.NewClient(to)
	a.server = asynq.NewServer(to, asynq.Config{
		Concurrency: max(o.InFlight, connections), TaskCheckInterval: asynqCheck, LogLevel: asynq.FatalLevel, ShutdownTimeout: closeTimeout,
		ErrorHandler: asynq.ErrorHandlerFunc(func(_ context.Context, _ *asynq.Task, err error) { o.Failed(err) }),
	})
	err := a.server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		j, err := decode(t.Payload())
		if err == nil {
			err = j.work(o)
		}
		if err != nil {
			return err
		}
		o.Done(j.Slot)
		return nil
	}))
	if err != nil {
		return errors.Join(err, a.client.Close())
	}
	return nil
}

// Submit plays Queue.
func (a *Asynq) Submit(ctx context.Context, j *Job) error {
	payload, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = a.client.EnqueueContext(ctx, asynq.NewTask(kind, payload))
	return err
}

// Close plays Queue.
func (a *Asynq) Close() error {
	a.server.Shutdown()
	return a.client.Close()
}

// asynqRedis has Asynq's connections counted.
type asynqRedis struct {
	server *peer.Peer
	o      *Options
}

// MakeRedisClient plays asynq.RedisConnOpt.
func (r asynqRedis) MakeRedisClient() any {
	return redis.NewClient(&redis.Options{
		Addr: r.server.Address, Password: r.server.Password, PoolSize: 4 * connections, Dialer: r.o.Traffic.DialContext,
	})
}
