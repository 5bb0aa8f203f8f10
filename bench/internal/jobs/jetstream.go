package jobs

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/pay-theory/streamer/bench/internal/peer"
)

// JetStream is a work queue on NATS JetStream, kept in files. A job is stored
// when the server has acknowledged it, and completed when the server has said
// that it has the worker's acknowledgement.
type JetStream struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	consume jetstream.ConsumeContext
	workers sync.WaitGroup
}

// streamName is the stream's, and its subject.
const streamName = "bench"

// Open plays Queue.
func (q *JetStream) Open(ctx context.Context, server *peer.Peer, o *Options) (err error) {
	q.conn, err = nats.Connect("nats://"+server.Address, nats.Token(server.Password), nats.SetCustomDialer(o.Traffic), nats.NoReconnect())
	if err != nil {
		return err
	}
	if err := q.start(ctx, o); err != nil {
		q.conn.Close()
		return err
	}
	return nil
}

func (q *JetStream) start(ctx context.Context, o *Options) (err error) {
	if q.js, err = jetstream.New(q.conn, jetstream.WithPublishAsyncMaxPending(max(o.InFlight, 256))); err != nil {
		return err
	}
	stream, err := q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: streamName, Subjects: []string{streamName}, Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil {
		return err
	}
	consumer, err := stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: streamName, AckPolicy: jetstream.AckExplicitPolicy, AckWait: time.Minute, MaxAckPending: -1,
	})
	if err != nil {
		return err
	}
	//nolint:contextcheck // work goes on when ctx, which is for the start, has ended
	q.consume, err = consumer.Consume(func(m jetstream.Msg) {
		q.workers.Go(func() {
			if err := q.work(m, o); err != nil {
				o.Failed(err)
			}
		})
	}, jetstream.PullMaxMessages(max(o.InFlight, 500)))
	return err
}

func (q *JetStream) work(m jetstream.Msg, o *Options) error {
	j, err := decode(m.Data())
	if err == nil {
		err = j.work(o)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		return err
	}
	o.Done(j.Slot)
	return nil
}

// Submit plays Queue.
func (q *JetStream) Submit(ctx context.Context, j *Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return err
	}
	future, err := q.js.PublishAsync(streamName, data)
	if err != nil {
		return err
	}
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close plays Queue.
func (q *JetStream) Close() error {
	q.consume.Stop()
	<-q.consume.Closed()
	q.workers.Wait()
	q.js.CleanupPublisher()
	q.conn.Close()
	return nil
}
