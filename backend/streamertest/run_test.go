package streamertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type countParams struct {
	To int `json:"to" jsonschema:"minimum=1,maximum=100"`
}

type position struct {
	Next int `json:"next"`
	Sum  int `json:"sum"`
}

// count emits the numbers up to a bound, makes a checkpoint after each, and
// returns their sum.
func count(ctx context.Context, in countParams, call *streamer.Call[int]) (int, error) {
	pos := position{Next: 1}
	if _, err := call.Resume(&pos); err != nil {
		return 0, err
	}
	for ; pos.Next <= in.To; pos.Next++ {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		pos.Sum += pos.Next
		call.Emit(pos.Next)
		call.Progress(float64(pos.Next)*100/float64(in.To), "counting")
		call.Checkpoint(position{Next: pos.Next + 1, Sum: pos.Sum})
	}
	return pos.Sum, nil
}

func TestRunStreamRecordsEverything(t *testing.T) {
	got := streamertest.RunStream(t, count, countParams{To: 3})
	require.NoError(t, got.Err)
	require.Equal(t, 6, got.Result)
	require.Equal(t, []int{1, 2, 3}, got.Chunks)
	require.Len(t, got.Progress, 3)
	require.Equal(t, streamertest.Progress{Percent: 100, Text: "counting"}, got.Progress[2])
	require.Len(t, got.Checkpoints, 3)
	require.Equal(t, `{"next":2,"sum":1}`, string(got.Checkpoints[0].Data))
	require.Equal(t, 2, got.Checkpoints[1].Chunks)
}

func TestResumeGoesOn(t *testing.T) {
	whole := streamertest.RunStream(t, count, countParams{To: 5})
	for _, checkpoint := range whole.Checkpoints {
		got := streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume(checkpoint))
		require.NoError(t, got.Err, "from %s", checkpoint.Data)
		require.Equal(t, whole.Result, got.Result)
		require.Equal(t, whole.Chunks, slices.Concat(whole.Chunks[:checkpoint.Chunks], got.Chunks))
	}
	got := streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume(position{Next: 5, Sum: 10}))
	require.Equal(t, 15, got.Result)
	require.Len(t, got.Chunks, 1)
	got = streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume("not a position"))
	require.Error(t, got.Err)
	require.False(t, got.Permanent)
}

func TestCancelAfterEndsTheContext(t *testing.T) {
	got := streamertest.RunStream(t, count, countParams{To: 50}, streamertest.CancelAfter(4))
	require.ErrorIs(t, got.Err, streamer.ErrCancelled)
	require.Len(t, got.Chunks, 4)
	require.Zero(t, got.Result)
}

func TestParamsAreChecked(t *testing.T) {
	got := streamertest.RunStream(t, count, countParams{To: 101})
	require.Equal(t, "/to", requireCode(t, "invalid_payload", got.Err).Field)
	require.True(t, got.Permanent)
}

// requireCode returns the error for the caller, which must have this code.
func requireCode(t *testing.T, code string, err error) *streamer.Error {
	t.Helper()
	var e *streamer.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code)
	return e
}

func TestLimitsEndTheAttempt(t *testing.T) {
	type none struct{}
	ended := false
	stream := func(report func(*streamer.Call[any])) func(context.Context, none, *streamer.Call[any]) (string, error) {
		return func(ctx context.Context, _ none, call *streamer.Call[any]) (string, error) {
			report(call)
			call.Emit("too late")
			ended = ctx.Err() != nil
			return "ignored", nil
		}
	}
	for code, report := range map[string]func(*streamer.Call[any]){
		"chunk_too_large":      func(c *streamer.Call[any]) { c.Emit(strings.Repeat("x", 64<<10-1)) },
		"checkpoint_too_large": func(c *streamer.Call[any]) { c.Checkpoint(strings.Repeat("x", 8<<10-1)) },
		"not_encodable":        func(c *streamer.Call[any]) { c.Emit(math.NaN()) },
	} {
		got := streamertest.RunStream(t, stream(report), none{})
		requireCode(t, code, got.Err)
		require.True(t, got.Permanent)
		require.Empty(t, got.Chunks)
		require.Empty(t, got.Result)
		require.True(t, ended, "the context has ended")
	}
	fits := func(_ context.Context, _ none, c *streamer.Call[string]) (string, error) {
		c.Emit(strings.Repeat("x", 64<<10-2))
		c.Checkpoint(strings.Repeat("x", 8<<10-2))
		return strings.Repeat("x", 96<<10-2), nil
	}
	within := streamertest.RunStream(t, fits, none{})
	require.NoError(t, within.Err)
	require.Len(t, within.Chunks, 1)
	require.Len(t, within.Checkpoints, 1)
	large := func(context.Context, none) (string, error) { return strings.Repeat("x", 96<<10-1), nil }
	got := streamertest.Run(t, large, none{})
	requireCode(t, "result_too_large", got.Err)
	require.True(t, got.Permanent)
}

func TestInfoAndMiddleware(t *testing.T) {
	who := func(ctx context.Context, in json.RawMessage) (string, error) {
		i := streamer.Info(ctx)
		i.Progress(150, "done")
		return fmt.Sprint(i.Tenant, i.Subject, i.Attempt, i.ID, i.Action, string(i.Metadata), string(in)), nil
	}
	var seen string
	got := streamertest.Run(t, who, json.RawMessage(` {"a" :1}`),
		streamertest.As("t", "s"), streamertest.Attempt(3), streamertest.ID("id"), streamertest.Action("who.am/i"),
		streamertest.Metadata(map[string]int{"m": 1}),
		streamertest.Use(func(next streamer.HandlerFunc) streamer.HandlerFunc {
			return func(ctx context.Context, in any) (any, error) {
				seen = streamer.Info(ctx).Action
				return next(ctx, in)
			}
		}))
	require.NoError(t, got.Err)
	require.Equal(t, `ts3idwho.am/i{"m":1}{"a":1}`, strings.ReplaceAll(got.Result, " ", ""))
	require.Equal(t, "who.am/i", seen)
	require.Equal(t, []streamertest.Progress{{Percent: 100, Text: "done"}}, got.Progress)
}

func TestErrorsAreJudged(t *testing.T) {
	fails := func(err error) streamertest.Outcome[int] {
		return streamertest.Run(t, func(context.Context, struct{}) (int, error) { return 1, err }, struct{}{})
	}
	for _, want := range []streamertest.Outcome[int]{
		{Err: streamer.Permanent(errors.New("no")), Permanent: true},
		{Err: streamer.Continue(time.Minute), Continued: true, After: time.Minute},
		{Err: streamer.RetryAfter(time.Second, errors.New("busy")), After: time.Second},
	} {
		require.Equal(t, want, fails(want.Err))
	}
}

func TestTimeoutOfTheAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := func(ctx context.Context, _ struct{}) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		got := streamertest.Run(t, waits, struct{}{}, streamertest.Action("waits", streamer.Timeout(time.Hour)))
		require.ErrorIs(t, got.Err, streamer.ErrTimeout)
	})
}
