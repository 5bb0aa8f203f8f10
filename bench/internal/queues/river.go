package queues

import (
	"context"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pay-theory/streamer/bench/internal/servers"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// River is River on PostgreSQL. A job is stored when its insertion is
// committed, and counts as completed when its handler has returned. That it is
// completed is committed after that, for many jobs together, every 50 to 250 ms.
type River struct {
	// Batches inserts jobs that wait at the same time together, by
	// InsertManyFast.
	Batches bool

	pool   *pgxpool.Pool
	client *river.Client[pgx.Tx]

	mu        sync.Mutex
	next      *batch // whose jobs wait
	inserting chan struct{}
}

// Open implements Queue. The first to open a database makes River's tables.
func (r *River) Open(ctx context.Context, server *servers.Server, w *Work) error {
	config, err := pgxpool.ParseConfig(server.PostgresURL())
	if err != nil {
		return err
	}
	config.MaxConns, config.MinConns = poolSize, poolSize
	if r.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return err
	}
	r.inserting = make(chan struct{}, batchesInFlight)
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
		return w.Handle(&j.Args, nil)
	}))
	r.client, err = river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: max(w.inFlight, 100)}},
		Workers:       workers,
		FetchCooldown: pollInterval, FetchPollInterval: pollInterval,
		Logger: logger,
	})
	if err != nil {
		return err
	}
	return r.client.Start(context.WithoutCancel(ctx))
}

// Submit implements Queue.
func (r *River) Submit(ctx context.Context, j *Job) error {
	if r.Batches {
		return r.submitInBatch(ctx, j)
	}
	_, err := r.client.Insert(ctx, *j, nil)
	return err
}

// What waits while batches are inserted goes in together.
const (
	maxBatch        = 1000
	batchesInFlight = 2
)

type batch struct {
	jobs []river.InsertManyParams
	done chan struct{}
	err  error
}

// submitInBatch inserts a job with others that wait. The first to wait inserts
// all of them.
func (r *River) submitInBatch(ctx context.Context, j *Job) error {
	r.mu.Lock()
	first := r.next == nil || len(r.next.jobs) == maxBatch
	if first {
		r.next = &batch{done: make(chan struct{})}
	}
	b := r.next
	b.jobs = append(b.jobs, river.InsertManyParams{Args: *j})
	r.mu.Unlock()
	if first {
		r.inserting <- struct{}{}
		r.mu.Lock()
		if r.next == b {
			r.next = nil
		}
		r.mu.Unlock()
		_, b.err = r.client.InsertManyFast(ctx, b.jobs)
		<-r.inserting
		close(b.done)
	}
	<-b.done
	return b.err
}

// Close implements Queue.
func (r *River) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var err error
	if r.client != nil {
		err = r.client.Stop(ctx)
	}
	if r.pool != nil {
		r.pool.Close()
	}
	return err
}
