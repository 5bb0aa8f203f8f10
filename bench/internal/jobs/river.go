package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pay-theory/streamer/bench/internal/peer"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// River is River on PostgreSQL. A job is stored when its insertion is
// committed, and is taken for completed when its handler has returned. That it
// is completed is committed after that, for many jobs together, every 50 to
// 250 ms.
type River struct {
	// Told has jobs taken for completed when River's subscription says so,
	// which is when that is committed.
	Told bool
	// Batches has jobs that wait inserted together, by InsertManyFast.
	Batches bool

	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]
	heard  sync.WaitGroup
	batch  *batcher
}

// riverFetch is River's least: it fetches at most, and polls at least, so often.
const riverFetch = time.Millisecond

// Open plays Queue. The first to open a database makes River's tables.
func (r *River) Open(ctx context.Context, server *peer.Peer, o *Options) error {
	config, err := pgxpool.ParseConfig(peer.PostgresURL(server.Address, server.Password))
	if err != nil {
		return err
	}
	config.MaxConns, config.MinConns = connections, connections
	config.ConnConfig.DialFunc = o.Traffic.DialContext
	if r.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	if err := r.start(ctx, o); err != nil {
		r.pool.Close()
		return err
	}
	if r.Batches {
		r.batch = newBatcher(r.insert)
	}
	return nil
}

func (r *River) start(ctx context.Context, o *Options) error {
	driver := riverpgxv5.New(r.pool)
	logger := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, j *river.Job[Job]) error {
		err := j.Args.work(o)
		if err == nil && !r.Told {
			o.Done(j.Args.Slot)
		}
		return err
	}))
	r.client, err = river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: max(o.InFlight, 100)}},
		Workers:       workers,
		FetchCooldown: riverFetch, FetchPollInterval: riverFetch,
		Logger: logger,
	})
	if err != nil {
		return err
	}
	// Events that find the channel full would be lost.
	events, _ := r.client.SubscribeConfig(&river.SubscribeConfig{
		Kinds: r.events(), ChanSize: 2*o.InFlight + 1000,
	})
	r.heard.Go(func() { hear(events, o) })
	return r.client.Start(context.WithoutCancel(ctx))
}

func (r *River) events() []river.EventKind {
	kinds := []river.EventKind{river.EventKindJobFailed}
	if r.Told {
		kinds = append(kinds, river.EventKindJobCompleted)
	}
	return kinds
}

// hear says which jobs are done, until the client has stopped.
func hear(events <-chan *river.Event, o *Options) {
	for e := range events {
		if e.Kind != river.EventKindJobCompleted {
			o.Failed(fmt.Errorf("river: job %d: %s", e.Job.ID, e.Kind))
			continue
		}
		slot, err := slotOf(e.Job.EncodedArgs)
		if err != nil {
			o.Failed(err)
			continue
		}
		o.Done(slot)
	}
}

// Submit plays Queue.
func (r *River) Submit(ctx context.Context, j *Job) error {
	if r.batch != nil {
		return r.batch.submit(ctx, j)
	}
	_, err := r.client.Insert(ctx, *j, nil)
	return err
}

func (r *River) insert(ctx context.Context, jobs []*Job) error {
	params := make([]river.InsertManyParams, len(jobs))
	for i, j := range jobs {
		params[i].Args = *j
	}
	_, err := r.client.InsertManyFast(ctx, params)
	return err
}

// Close plays Queue.
func (r *River) Close() error {
	if r.batch != nil {
		r.batch.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := r.client.Stop(ctx)
	r.heard.Wait()
	r.pool.Close()
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("river: jobs did not end")
	}
	return err
}

// closeTimeout is for how long the last jobs may run.
const closeTimeout = 15 * time.Second
