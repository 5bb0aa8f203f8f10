package queues

import (
	"context"
	"encoding/json"

	"github.com/hibiken/asynq"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// Asynq is Asynq on Redis. A job is stored when Redis has answered, and counts
// as completed when its handler has returned: Asynq does not report when it has
// removed it, which comes after that.
type Asynq struct {
	client *asynq.Client
	server *asynq.Server
}

// Open implements Queue.
func (a *Asynq) Open(_ context.Context, server *servers.Server, w *Work) error {
	redis := asynq.RedisClientOpt{Addr: server.Address, Password: server.Password, PoolSize: 4 * poolSize}
	a.client = asynq.NewClient(redis)
	a.server = asynq.NewServer(redis, asynq.Config{
		Concurrency: max(w.inFlight, poolSize), TaskCheckInterval: pollInterval, LogLevel: asynq.FatalLevel, ShutdownTimeout: closeTimeout,
		ErrorHandler: asynq.ErrorHandlerFunc(func(_ context.Context, _ *asynq.Task, err error) { w.fail(err) }),
	})
	return a.server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		return w.HandleEncoded(t.Payload(), nil)
	}))
}

// Submit implements Queue.
func (a *Asynq) Submit(ctx context.Context, j *Job) error {
	payload, err := json.Marshal(j)
	if err != nil {
		return err
	}
	_, err = a.client.EnqueueContext(ctx, asynq.NewTask(kind, payload))
	return err
}

// Close implements Queue.
func (a *Asynq) Close() error {
	a.server.Shutdown()
	return a.client.Close()
}
