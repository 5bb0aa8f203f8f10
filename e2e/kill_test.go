package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/require"
)

const job client.Action[jobParams, int, int] = "job"

// kills is how often the server is killed in TestKill.
const kills = 25

// outcome is what one call has come to, as its caller sees it.
type outcome struct {
	id       string
	params   jobParams
	accepted bool
	result   int
	chunks   []int
	voids    int
	err      error
}

// A real server is killed with SIGKILL at random moments, and started again,
// while a real client submits calls with chunks, checkpoints and retries
// through a proxy that cuts connections at random bytes. Afterwards each
// acknowledged call has come to exactly one end, each event was seen once and
// in order, the list of chunks equals that of an undisturbed run, and no two
// attempts have overlapped: judged from outside, by what the client saw, what
// the server has stored, and the journal that the handlers wrote.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	o := victimSettings{
		Data: filepath.Join(dir, "streamer.db"), Address: freeAddress(t), Journal: filepath.Join(dir, "journal"), Workers: 24,
	}
	server := startVictim(t, o)
	p := startProxy(t, o.Address, seed)
	bearer := token(t, "acme", "ann")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	c, err := client.New(p.url(), &client.Options{
		Token:   func(context.Context) (string, error) { return bearer, nil },
		Backoff: client.Backoff{Base: 10 * time.Millisecond, Max: 200 * time.Millisecond},
	})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(context.Background())) }()

	submitting, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var outcomes []outcome
	var callers sync.WaitGroup
	for i := range 16 {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		callers.Add(1)
		go func() {
			defer callers.Done()
			for n := 0; submitting.Err() == nil; n++ {
				params := jobParams{Chunks: 1 + random.IntN(40), PaceMicros: random.IntN(15_000), FailAt: -1}
				if random.IntN(2) == 0 {
					params.CheckpointEvery = 1 + random.IntN(8)
				}
				if random.IntN(3) == 0 {
					params.FailAt = random.IntN(params.Chunks)
				}
				got := makeCall(ctx, c, params, n%2 == 0)
				mu.Lock()
				outcomes = append(outcomes, got)
				mu.Unlock()
			}
		}()
	}
	random := rand.New(rand.NewPCG(seed, 99))
	for range kills {
		<-time.After(time.Duration(50+random.IntN(500)) * time.Millisecond)
		server.kill()
		server = startVictim(t, o)
	}
	stop()
	callers.Wait()
	p.calm.Store(true)

	attempts := judgeJournal(t, o.Journal)
	acknowledged, chunks, voids := 0, 0, 0
	for _, got := range outcomes {
		require.NoError(t, got.err, "call %s %+v", got.id, got.params)
		require.Equal(t, undisturbed(got.params), got.chunks, "call %s %+v", got.id, got.params)
		require.Equal(t, got.params.Chunks, got.result)
		if got.accepted {
			acknowledged++
		}
		chunks += len(got.chunks)
		voids += got.voids
	}
	judgeStored(t, o.Address, outcomes)
	require.NotZero(t, p.cuts.Load())
	t.Logf("kills %d, cuts %d, calls %d, acknowledged %d, attempts %d, chunks %d, void chunks seen %d: each call one end, 0 gaps, 0 doubles, 0 lost, 0 overlaps",
		kills, p.cuts.Load(), len(outcomes), acknowledged, attempts, chunks, voids)
}

// undisturbed is what the chunks of a call are when nothing goes wrong.
func undisturbed(p jobParams) []int {
	out := make([]int, p.Chunks)
	for i := range out {
		out[i] = i
	}
	return out
}

// makeCall makes a call and sees it through; with collect the SDK holds the
// chunks, else the events are read one by one.
func makeCall(ctx context.Context, c *client.Client, params jobParams, collect bool) (got outcome) {
	got.params = params
	request := job.With(params).ID(client.NewID())
	if collect {
		got.result, got.chunks, got.err = request.Collect(ctx, c)
		got.accepted = got.err == nil
		return got
	}
	call, err := request.Start(ctx, c)
	if err != nil {
		got.err = err
		return got
	}
	if got.err = call.Accepted(ctx); got.err != nil {
		return got
	}
	got.id, got.accepted = call.ID(), true
	got.err = got.read(ctx, call)
	return got
}

// read takes a call's events, and holds them to their law: seqs rise, nothing
// follows the end, percent does not fall within an attempt.
func (got *outcome) read(ctx context.Context, call *client.Call[int, int]) error {
	seq, percent, attempt, ended := uint64(0), 0.0, 1, false
	for event, err := range call.Events(ctx) {
		if err != nil {
			return err
		}
		if ended {
			return errors.New("an event behind the end")
		}
		if event.Seq != 0 && event.Seq <= seq {
			return fmt.Errorf("seq %d after %d", event.Seq, seq)
		}
		seq = max(seq, event.Seq)
		switch event.Kind {
		case client.KindChunk:
			got.chunks = append(got.chunks, event.Chunk)
		case client.KindAttempt:
			if event.Attempt.Number <= attempt || event.Attempt.Void > len(got.chunks) {
				return fmt.Errorf("attempt %+v after %d with %d chunks", event.Attempt, attempt, len(got.chunks))
			}
			got.chunks = got.chunks[:len(got.chunks)-event.Attempt.Void]
			got.voids += event.Attempt.Void
			attempt, percent = event.Attempt.Number, 0
		case client.KindProgress:
			if event.Progress.Attempt == attempt {
				if event.Progress.Percent < percent {
					return fmt.Errorf("percent %v after %v in attempt %d", event.Progress.Percent, percent, attempt)
				}
				percent = event.Progress.Percent
			}
		case client.KindEnd:
			ended = true
		}
	}
	var err error
	got.result, err = call.Result(ctx)
	return err
}

// judgeJournal reads what the handlers wrote: no attempt began twice, none
// while another of the same call ran, and no process outlived its successor's
// birth. It returns how many attempts there were.
func judgeJournal(t *testing.T, name string) int {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	type run struct {
		id      string
		attempt int
	}
	begun, running := map[run]bool{}, map[string]int{}
	var pids []int
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e entry
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if len(pids) == 0 || pids[len(pids)-1] != e.PID {
			require.NotContains(t, pids, e.PID, "two processes have run at once")
			pids = append(pids, e.PID)
			clear(running) // they died with their process
		}
		switch e.What {
		case "begin":
			require.False(t, begun[run{e.ID, e.Attempt}], "attempt %d of %s began twice", e.Attempt, e.ID)
			begun[run{e.ID, e.Attempt}] = true
			require.Zero(t, running[e.ID], "two attempts of %s overlap", e.ID)
			running[e.ID] = e.Attempt
		case "return":
			require.Equal(t, e.Attempt, running[e.ID])
			delete(running, e.ID)
		}
	}
	require.NoError(t, lines.Err())
	require.Greater(t, len(pids), kills/2, "most processes have run something")
	return len(begun)
}

// judgeStored asks the server, without proxy and SDK, for what it has stored
// of each call: a history without a gap, with one end, whose chunks are right
// once what is void is left out.
func judgeStored(t *testing.T, address string, outcomes []outcome) {
	t.Helper()
	ws := dialRaw(t, address)
	for _, got := range outcomes {
		if got.id == "" {
			continue
		}
		position, ends := uint64(0), 0
		type held struct {
			seq  uint64
			data int
		}
		var chunks []held
		for more := true; more; {
			require.NoError(t, ws.WriteJSON(map[string]any{"type": "subscribe", "ref": "r", "id": got.id, "after": position}))
			var page struct {
				Type   string
				More   bool
				Events []struct {
					Type            string
					Seq, From, Keep uint64
					Data            int
				}
			}
			require.NoError(t, ws.ReadJSON(&page))
			require.Equal(t, "snapshot", page.Type)
			more = page.More
			for _, e := range page.Events {
				first := e.Seq
				if e.Type == "attempt" {
					first = e.From
					chunks = slices.DeleteFunc(chunks, func(h held) bool { return h.seq > e.Keep })
				}
				require.LessOrEqual(t, first, position+1, "a gap in what is stored of %s", got.id)
				require.Greater(t, e.Seq, position)
				position = e.Seq
				switch e.Type {
				case "chunk":
					chunks = append(chunks, held{e.Seq, e.Data})
				case "result", "error":
					ends++
				}
			}
		}
		require.Equal(t, 1, ends, "ends of %s", got.id)
		stored := []int{}
		for _, h := range chunks {
			stored = append(stored, h.data)
		}
		require.Equal(t, undisturbed(got.params), stored, "what is stored of %s", got.id)
	}
}
