package queues

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pay-theory/streamer/bench/internal/servers"
)

// JetStream is a work queue on NATS JetStream, kept in files. A job is stored
// when the server has acknowledged it, and completed when the server has
// confirmed the worker's acknowledgement.
type JetStream struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	consume jetstream.ConsumeContext
	workers sync.WaitGroup
}

// Open implements Queue.
func (q *JetStream) Open(ctx context.Context, server *servers.Server, w *Work) (err error) {
	if q.conn, err = nats.Connect("nats://"+server.Address, nats.Token(server.Password), nats.NoReconnect()); err != nil {
		return err
	}
	if q.js, err = jetstream.New(q.conn, jetstream.WithPublishAsyncMaxPending(max(w.inFlight, 256))); err != nil {
		return err
	}
	stream, err := q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: kind, Subjects: []string{kind}, Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: kind, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	//nolint:contextcheck // work goes on when ctx, which is for the start, has ended
	q.consume, err = consumer.Consume(func(m jetstream.Msg) {
		q.workers.Go(func() {
			err := w.HandleEncoded(m.Data(), func() error {
				ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
				defer cancel()
				return m.DoubleAck(ctx)
			})
			if err != nil {
				w.fail(err)
			}
		})
	}, jetstream.PullMaxMessages(max(w.inFlight, 500)))
	return err
}

// Submit implements Queue.
func (q *JetStream) Submit(ctx context.Context, j *Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	future, err := q.js.PublishAsync(kind, data)
	if err != nil {
		return err
	}
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close implements Queue.
func (q *JetStream) Close() error {
	if q.consume != nil {
		q.consume.Stop()
		<-q.consume.Closed()
	}
	q.workers.Wait()
	if q.conn != nil {
		q.conn.Close()
	}
	return nil
}
