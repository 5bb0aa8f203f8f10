package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/conformance/actions"
	"github.com/pay-theory/streamer/backend/servertest"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/require"
)

// seedVariable selects one seed: STREAMER_FAULT_SEED=17 go test -run
// TestClientFaults ./e2e. STREAMER_FAULT_SEEDS=500 runs 500 seeds.
const (
	seedVariable  = "STREAMER_FAULT_SEED"
	seedsVariable = "STREAMER_FAULT_SEEDS"
)

// maxCallTime is more than any call may take on the bubble's clock, with any rate
// of faults. The longest that was seen took three minutes.
const maxCallTime = 20 * time.Minute

// mayGiveUp is how many calls of a seed may end as unavailable because the gateway
// lost their request each time; it was never more than one. Calls of mode sync are
// not counted: the protocol has them sent once.
const mayGiveUp = 3

// callsPerSeed is how many calls are made for a seed, by eight callers.
const callsPerSeed = 80

// TestClientFaults runs the Go client against servertest with injected faults, in
// bubbles: every call comes to one end, an accepted one to the right end; chunks
// are delivered in order and once, except for those that are declared void; and
// nothing hangs.
func TestClientFaults(t *testing.T) {
	for _, seed := range faultSeeds(t) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("replay by %s=%d", seedVariable, seed)
				}
			}()
			synctest.Test(t, func(t *testing.T) { runFaults(t, seed) })
		})
	}
}

func faultSeeds(t *testing.T) (seeds []uint64) {
	t.Helper()
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(os.Getenv(name), 10, 64)
		require.NoError(t, err, name)
		return n
	}
	if os.Getenv(seedVariable) != "" {
		return []uint64{number(seedVariable)}
	}
	n := uint64(20)
	if os.Getenv(seedsVariable) != "" {
		n = number(seedsVariable)
	} else if testing.Short() {
		n = 10
	}
	// Some are always the same; the others are new each time.
	seeds = []uint64{1, 2, 3, 4, 5}
	for uint64(len(seeds)) < n {
		seeds = append(seeds, rand.Uint64())
	}
	return seeds
}

// observed is what one caller observed of its call.
type observed struct {
	kind     string
	id       string
	accepted bool
	chunks   []int
	result   int
	err      error
	took     time.Duration
	// want is what the chunks and the result are when all goes well.
	want []int
}

// runFaults makes calls while faults are injected, and checks their outcomes.
func runFaults(t *testing.T, seed uint64) {
	r := streamer.NewRouter(nil)
	actions.Register(r)
	s := servertest.New(t, r, &servertest.Options{Pipes: true, Seed: seed, Faults: faultRates(seed)})
	o := client.Options{
		Token:       func(context.Context) (string, error) { return s.Token("acme", "ann"), nil },
		DialContext: s.DialContext,
		Buffer:      1, // the least: streams are unsubscribed, and pulled
	}
	c, err := client.New(s.URL, &o)
	require.NoError(t, err)
	ctx := t.Context()
	over, end := context.WithCancel(ctx)
	var injector, callers sync.WaitGroup
	injector.Go(func() { disturbAll(over, s, rand.New(rand.NewPCG(seed, 99))) })
	observations := make([]observed, callsPerSeed)
	const each = callsPerSeed / 8
	for i := range 8 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		callers.Go(func() {
			for k := range each {
				begun := time.Now()
				enough, stop := context.WithTimeout(ctx, maxCallTime)
				got := makeCall(enough, c, random)
				stop()
				got.took = time.Since(begun)
				observations[i*each+k] = got
				// Some callers come back after a while.
				pause(ctx, time.Duration(random.IntN(100))*time.Duration(random.IntN(100))*100*time.Millisecond)
			}
		})
	}
	callers.Wait()
	end()
	injector.Wait()
	require.NoError(t, s.SetFaults(nil))
	ends := map[string]int{}
	givenUp := 0
	for _, got := range observations {
		end := checkOutcome(t, &got)
		ends[end]++
		if end != got.kind && got.kind != "sync" {
			givenUp++
		}
	}
	longest := slices.MaxFunc(observations, func(a, b observed) int { return cmp.Compare(a.took, b.took) })
	require.LessOrEqual(t, givenUp, mayGiveUp, "%v", ends)
	o.Buffer = 0
	checkAgain(ctx, t, s.URL, &o, observations)
	done, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	require.NoError(t, c.Close(done))
	conns, faults := 0, 0
	log := s.Log()
	for _, e := range log {
		conns = max(conns, e.Conn)
		if e.Fault != "" {
			faults++
		}
	}
	t.Logf("%d calls over %d connections, %d faults, in %v of the gateway's time; the longest (%s) took %v; %v",
		len(observations), conns, faults, log[len(log)-1].At.Round(time.Second), longest.kind, longest.took.Round(time.Second), ends)
}

// faultRates returns rates that differ by seed: for some seeds one fault is
// frequent, for some all are.
func faultRates(seed uint64) servertest.Faults {
	random := rand.New(rand.NewPCG(seed, 77))
	rates := servertest.Rough()
	worse := 3 * random.Float64()
	for _, fault := range slices.Sorted(maps.Keys(rates)) {
		rates[fault] *= worse * random.Float64()
		if random.IntN(8) == 0 {
			rates[fault] *= 3
		}
	}
	for _, most := range []struct {
		rate   float64
		faults []servertest.Fault
	}{
		{0.7, []servertest.Fault{servertest.Throttle, servertest.Stillborn, servertest.NotYet}},
		{1, []servertest.Fault{servertest.LateClose, servertest.LoseClose}},
	} {
		sum := 0.0
		for _, fault := range most.faults {
			sum += rates[fault]
		}
		for _, fault := range most.faults {
			rates[fault] *= most.rate / max(sum, most.rate)
		}
	}
	return rates
}

// disturbAll does something to all connections at once, every few minutes, or moves
// the gateway's clock, until ctx ends.
func disturbAll(ctx context.Context, s *servertest.Server, random *rand.Rand) {
	disturbances := []func(){s.CutAll, s.GoAwayAll, s.HalfOpenAll, func() { s.Advance(10 * time.Minute) }}
	for pause(ctx, time.Duration(1+random.IntN(600))*time.Second) {
		disturbances[random.IntN(len(disturbances))]()
	}
}

// pause waits, and reports whether ctx has not ended before.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

const (
	emit     client.Action[actions.EmitInput, actions.Chunk, actions.Done]    = "emit"
	flaky    client.Action[actions.FlakyInput, actions.Chunk, actions.Done]   = "flaky"
	stages   client.Action[actions.StagesInput, actions.Chunk, actions.Done]  = "stages"
	wait     client.Action[actions.WaitInput, actions.Chunk, actions.Done]    = "wait"
	echoing  client.Action[int, client.None, int]                             = "echo"
	queued   client.Action[int, client.None, int]                             = "echo.async"
	slowness client.Action[actions.SlowInput, client.None, actions.SlowInput] = "slow"
)

// makeCall makes one call of a random kind, and waits for its end.
func makeCall(ctx context.Context, c *client.Client, random *rand.Rand) observed {
	n := 1 + random.IntN(60)
	switch random.IntN(10) {
	case 0:
		return awaitNumber(ctx, c, "inline", n, echoing.With(n))
	case 1:
		return awaitNumber(ctx, c, "sync", n, echoing.With(n).Sync())
	case 2:
		return awaitNumber(ctx, c, "stored", n, queued.With(n).IdempotencyKey(client.NewID()))
	case 3:
		id := client.NewID()
		_, err := slowness.With(actions.SlowInput{Ms: int64(n) * 500}).ID(id).Await(ctx, c)
		return observed{kind: "promoted", id: id, err: err}
	case 4, 5:
		in := actions.EmitInput{Chunks: n, Size: random.IntN(4000), Progress: true, PauseMs: int64(random.IntN(1000))}
		return follow(ctx, c, "emit", n, emit.With(in), random)
	case 6:
		in := actions.FlakyInput{Failures: random.IntN(4), Chunks: n}
		return follow(ctx, c, "flaky", n, flaky.With(in), random)
	case 7:
		in := actions.StagesInput{Chunks: n, Stage: 1 + n/3, Extra: random.IntN(4)}
		if random.IntN(2) == 0 {
			in.Then, in.AfterMs = "continue", 2000
		}
		return follow(ctx, c, "stages", n, stages.With(in), random)
	case 8:
		return stopped(ctx, c, random)
	}
	return observed{kind: "list", err: listed(ctx, c)}
}

// awaitNumber makes a call that returns what it takes.
func awaitNumber(ctx context.Context, c *client.Client, kind string, n int, r client.Request[client.None, int]) observed {
	id := client.NewID()
	result, err := r.ID(id).Await(ctx, c)
	return observed{kind: kind, id: id, result: result - n, err: err}
}

// listed lists all calls, and checks their order.
func listed(ctx context.Context, c *client.Client) error {
	seen, last := map[string]bool{}, time.Time{}
	for call, err := range client.List(ctx, c, client.ListFilter{PageSize: 7}) {
		switch {
		case err != nil:
			return err
		case seen[call.ID]:
			return fmt.Errorf("%s is listed twice", call.ID)
		case len(seen) > 0 && call.CreatedAt.After(last):
			return fmt.Errorf("%s is listed behind an older one", call.ID)
		}
		seen[call.ID], last = true, call.CreatedAt
	}
	return nil
}

// stopped starts a call that never ends by itself, and cancels it.
func stopped(ctx context.Context, c *client.Client, random *rand.Rand) observed {
	call, err := wait.With(actions.WaitInput{}).Start(ctx, c)
	if err != nil {
		return observed{kind: "cancelled", err: err}
	}
	pause(ctx, time.Duration(random.IntN(3000))*time.Millisecond)
	for try := 0; call.Cancel(ctx) != nil && try < 5; {
		try++
	}
	_, err = call.Result(ctx)
	if errors.Is(err, &client.Error{Code: client.CodeCancelled}) {
		err = nil
	}
	return observed{kind: "cancelled", id: call.ID(), err: err}
}

// follow makes a call that emits, and keeps its chunks as a user would: those
// that are void are cut. Now and then it is detached, and attached to again.
func follow(
	ctx context.Context, c *client.Client, kind string, n int, r client.Request[actions.Chunk, actions.Done], random *rand.Rand,
) (got observed) {
	got = observed{kind: kind}
	for i := range n {
		got.want = append(got.want, i+1)
	}
	var call *client.Call[actions.Chunk, actions.Done]
	if call, got.err = r.Start(ctx, c); got.err != nil {
		return got
	}
	got.id = call.ID()
	if got.err = call.Accepted(ctx); got.err != nil {
		return got
	}
	got.accepted = true
	if random.IntN(3) == 0 {
		pause(ctx, time.Duration(random.IntN(3000))*time.Millisecond)
		call.Detach()
		if call, got.err = emit.Attach(c, got.id); got.err != nil { // whatever its action: the id counts
			return got
		}
	}
	got.err = got.read(ctx, call)
	return got
}

// read takes a call's events, and checks their order.
func (got *observed) read(ctx context.Context, call *client.Call[actions.Chunk, actions.Done]) error {
	seq, attempt, ended := uint64(0), 1, false
	for event, err := range call.Events(ctx) {
		if err != nil {
			return err
		}
		switch {
		case ended:
			return errors.New("an event behind the end")
		case event.Seq != 0 && event.Seq <= seq:
			return fmt.Errorf("seq %d after %d", event.Seq, seq)
		}
		seq = max(seq, event.Seq)
		switch event.Kind {
		case client.KindChunk:
			got.chunks = append(got.chunks, event.Chunk.I)
		case client.KindAttempt:
			if event.Attempt.Number <= attempt || event.Attempt.Restarted || event.Attempt.Discarded > len(got.chunks) {
				return fmt.Errorf("attempt %+v after %d with %d chunks", event.Attempt, attempt, len(got.chunks))
			}
			got.chunks = got.chunks[:len(got.chunks)-event.Attempt.Discarded]
			attempt = event.Attempt.Number
		case client.KindProgress:
		case client.KindEnd:
			ended = true
		}
	}
	if !ended {
		return errors.New("the events have ended without an end")
	}
	done, err := call.Result(ctx)
	got.result = done.Chunks - len(got.want)
	return err
}

// checkOutcome says how a call has ended. One that was not accepted may be given up
// as unavailable, when the gateway lost it each time; an accepted one
// may not.
func checkOutcome(t *testing.T, got *observed) string {
	t.Helper()
	if errors.Is(got.err, &client.Error{Code: client.CodeUnavailable}) && !got.accepted {
		return got.kind + " given up"
	}
	require.NoError(t, got.err, "%s %s, accepted: %v", got.kind, got.id, got.accepted)
	require.Zero(t, got.result, "the result of %s %s", got.kind, got.id)
	require.True(t, slices.Equal(got.want, got.chunks), "the chunks of %s %s: %v", got.kind, got.id, got.chunks)
	return got.kind
}

// checkAgain asks for each call again, without faults: a new client sees the same
// end.
func checkAgain(ctx context.Context, t *testing.T, url string, o *client.Options, observations []observed) {
	t.Helper()
	c, err := client.Dial(ctx, url, o)
	require.NoError(t, err)
	for _, got := range observations {
		if !got.accepted {
			continue
		}
		call, err := emit.Attach(c, got.id)
		require.NoError(t, err)
		again := observed{kind: got.kind, id: got.id, accepted: true, want: got.want}
		again.err = again.read(ctx, call)
		checkOutcome(t, &again)
	}
	require.NoError(t, c.Close(ctx))
}

// Does my client code survive? A user's test says so: a call that streams, while
// the gateway doubles, overtakes and loses what is sent, and cuts the connection.
func TestOneOfEachFault(t *testing.T) {
	r := streamer.NewRouter(nil)
	streamer.HandleStream(r, "count", func(_ context.Context, to int, call *streamer.Call[int]) (string, error) {
		for i := range to {
			call.Emit(i + 1)
		}
		return "done", nil
	})
	s := servertest.New(t, r, nil)
	s.Next(servertest.Throttle)
	s.Next(servertest.Double, servertest.Type("request"))
	s.Next(servertest.Overtake, servertest.Type("ack"))
	s.Next(servertest.Cut, servertest.Type("result"))

	c, err := client.New(s.URL, &client.Options{
		Token: func(context.Context) (string, error) { return s.Token("acme", "ann"), nil },
	})
	require.NoError(t, err)
	const count client.Action[int, int, string] = "count"
	done, chunks, err := count.With(5).Collect(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "done", done)
	require.Equal(t, []int{1, 2, 3, 4, 5}, chunks)
	require.NoError(t, c.Close(t.Context()))
}
