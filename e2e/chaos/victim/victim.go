package victim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/backend/store/embedded"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/e2e/chaos/job"
	"github.com/pay-theory/streamer/e2e/chaos/journal"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// Ready begins the line that a victim writes to its standard output when it
// serves; its address follows.
const Ready = "ready "

// poison is how many deaths make a dead letter. In a run servers die for
// reasons that no call has brought about, so there is none.
const poison = 1 << 20

// Serve serves until the process is killed, or gets SIGTERM: then it shuts down
// in good order.
func Serve(text string) error {
	var s Settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	t := newTrigger(&s)
	switch s.Point {
	case plan.Create, plan.Open:
		time.AfterFunc(s.Delay, die)
	case plan.CheckpointDuring, plan.CheckpointIdle:
		go watchFile(s.Data, func() { t.at(s.Point) })
	default:
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	notes, err := journal.Open(s.Journal, s.Run)
	if err != nil {
		return err
	}
	queue, err := embedded.Open(s.Data, &embedded.Options{Retention: s.Retention, Logger: log})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err = serve(ctx, &s, &mortal{queue, t}, notes, log)
	return errors.Join(err, queue.Close(), notes.Close())
}

func serve(ctx context.Context, s *Settings, queue *mortal, notes *journal.Writer, log *slog.Logger) error {
	jwt, err := auth.NewJWT(&auth.JWTOptions{Keys: []auth.Key{{Key: []byte(secret)}}})
	if err != nil {
		return err
	}
	srv, err := server.New(router(s.Run, notes), &server.Options{ //nolint:contextcheck // the store writes for itself, too, and nobody waits for that
		Auth: jwt, Queue: queue, Workers: s.Workers, Retention: s.Retention, MaxQuarantineCrashes: poison,
		ReconnectWithin: 50 * time.Millisecond, Grace: 5 * time.Second, Logger: log,
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cleaned := make(chan struct{})
	go func() {
		defer close(cleaned)
		clean(ctx, queue, s.Expire)
	}()
	fmt.Println(Ready + l.Addr().String())
	err = srv.Serve(ctx, l)
	<-cleaned
	return err
}

// clean does what the server's own sweeper does, more often.
func clean(ctx context.Context, queue *mortal, every time.Duration) {
	if every <= 0 {
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if _, err := queue.Expire(ctx, 200); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "victim: clean-up:", err)
		}
	}
}

// router serves jobs, and has what their handlers do written down.
func router(run int, notes *journal.Writer) *streamer.Router {
	write := func(e journal.Entry) {
		if err := notes.Write(&e); err != nil {
			fmt.Fprintln(os.Stderr, "victim: the journal cannot be written:", err)
			os.Exit(3)
		}
	}
	w := job.Worker{
		Run: run,
		Begun: func(info streamer.CallInfo, from int) {
			write(journal.Entry{What: journal.Begin, ID: info.ID, Action: info.Action, Attempt: info.Attempt, From: from})
		},
		Returned: func(info streamer.CallInfo, err error) {
			e := journal.Entry{What: journal.Return, ID: info.ID, Action: info.Action, Attempt: info.Attempt}
			if err != nil {
				e.Code, e.Text = "failed", err.Error()
			}
			write(e)
		},
	}
	r := streamer.NewRouter(nil)
	retry := streamer.Retry(3, streamer.Backoff{Base: 5 * time.Millisecond, Max: 20 * time.Millisecond})
	streamer.HandleStream(r, job.Stored, w.Do, streamer.Async(), retry)
	streamer.HandleStream(r, job.Grown, w.Do, retry)
	streamer.Handle(r, job.Echo, func(_ context.Context, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	return r
}
