package actions

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRegister(t *testing.T) {
	r := streamer.NewRouter(nil)
	Register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	for name, retries := range map[string]int{"fail": 0, "fail.often": 2, "flaky": 5, "stages": 20, "stages.once": 0, "wait": 0} {
		require.Contains(t, registry.Actions, name)
		assert.Equal(t, retries, registry.Actions[name].Retries, name)
	}
	const payload = `{ "n":1.0, "big":9007199254740993 ,"s":"<&>" }`
	echo := registry.Actions["echo"]
	in, err := echo.Decode([]byte(payload))
	require.NoError(t, err)
	out, err := echo.Run(t.Context(), in, nil)
	require.NoError(t, err)
	assert.Equal(t, payload, string(out), "echo returns its input byte for byte")
}

func TestWhoami(t *testing.T) {
	metadata := streamertest.Metadata(map[string]int{"n": 1})
	got := streamertest.Run(t, whoami, nil, streamertest.As("acme", "alice"), streamertest.Attempt(3), metadata)
	require.NoError(t, got.Err)
	assert.Equal(t, caller{"acme", "alice", 3, []byte(`{"n":1}`)}, got.Result)
}

// checkCode checks the code of an error, and returns it.
func checkCode(t *testing.T, err error, code string) *streamer.Error {
	t.Helper()
	var e *streamer.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, code, e.Code)
	return e
}

func TestStrict(t *testing.T) {
	good := strictInput{Name: "bolt", Count: 1, Color: "red", Lines: []strictLine{{1}}}
	require.NoError(t, streamertest.Run(t, strict, good).Err)
	for field, change := range map[string]func(*strictInput){
		"/name":          func(o *strictInput) { o.Name = "a name too long" },
		"/count":         func(o *strictInput) { o.Count = 101 },
		"/color":         func(o *strictInput) { o.Color = "mauve" },
		"/lines/1/price": func(o *strictInput) { o.Lines = []strictLine{{1}, {-1}} },
	} {
		bad := good
		change(&bad)
		e := checkCode(t, streamertest.Run(t, strict, bad).Err, "invalid_payload")
		assert.Equal(t, field, e.Field)
	}
}

func TestFail(t *testing.T) {
	got := streamertest.Run(t, fail, FailInput{Code: "no_stock", RetryAfterMs: 500}, streamertest.Attempt(2))
	assert.Equal(t, "attempt 2 failed as it was told to", checkCode(t, got.Err, "no_stock").Message)
	assert.False(t, got.Permanent)
	assert.Equal(t, 500*time.Millisecond, got.After)
	got = streamertest.Run(t, fail, FailInput{Permanent: true})
	assert.True(t, got.Permanent)
	require.EqualError(t, got.Err, Secret)
	assert.PanicsWithValue(t, Secret, func() { _, _ = panics(t.Context(), nil) })
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, streamertest.Run(t, slow, SlowInput{700}).Err)
		assert.Equal(t, 700*time.Millisecond, time.Since(start))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, streamer.ErrCancelled)
		defer cancel()
		require.ErrorIs(t, streamertest.Run(t, slow, SlowInput{7000}, streamertest.Context(ctx)).Err, streamer.ErrCancelled)
	})
}

func TestEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := streamertest.RunStream(t, emit, EmitInput{Chunks: 2, Size: 3, Progress: true, PauseMs: 50}, streamertest.Attempt(2))
		assert.Equal(t, 100*time.Millisecond, time.Since(start))
		assert.Equal(t, []Chunk{{1, 2, "xxx"}, {2, 2, "xxx"}}, got.Chunks)
		assert.Equal(t, Done{2, 2}, got.Result)
		assert.Equal(t, []streamertest.Progress{{Percent: 50, Text: "emitting"}, {Percent: 100, Text: "emitting"}}, got.Progress)
	})
}

func TestFlaky(t *testing.T) {
	in := FlakyInput{Failures: 1, Chunks: 2, FailInput: FailInput{Code: "busy"}}
	first := streamertest.RunStream(t, flaky, in)
	require.Error(t, first.Err)
	assert.Len(t, first.Chunks, 2)
	second := streamertest.RunStream(t, flaky, in, streamertest.Attempt(2))
	require.NoError(t, second.Err)
	assert.Equal(t, Done{2, 2}, second.Result)
}

func TestStages(t *testing.T) {
	in := StagesInput{Chunks: 3, Stage: 2, Extra: 1, Then: "continue", AfterMs: 20}
	first := streamertest.RunStream(t, stages, in)
	assert.True(t, first.Continued)
	assert.Equal(t, 20*time.Millisecond, first.After)
	assert.Equal(t, []Chunk{{I: 1, Attempt: 1}, {I: 2, Attempt: 1}, {I: 3, Attempt: 1}}, first.Chunks)
	require.Len(t, first.Checkpoints, 1)
	assert.Equal(t, 2, first.Checkpoints[0].Chunks)
	second := streamertest.RunStream(t, stages, in, streamertest.Resume(first.Checkpoints[0]))
	require.NoError(t, second.Err)
	assert.Equal(t, []Chunk{{I: 3, Attempt: 2}}, second.Chunks)
	assert.Equal(t, Done{3, 2}, second.Result)
	in.Then = ""
	failed := streamertest.RunStream(t, stages, in)
	require.Error(t, failed.Err)
	assert.False(t, failed.Continued)
	in.Then = "wait"
	require.ErrorIs(t, streamertest.RunStream(t, stages, in, streamertest.CancelAfter(3)).Err, streamer.ErrCancelled)
}

func TestWait(t *testing.T) {
	got := streamertest.RunStream(t, wait, WaitInput{}, streamertest.CancelAfter(1))
	require.ErrorIs(t, got.Err, streamer.ErrCancelled)
	assert.Len(t, got.Chunks, 1)
	got = streamertest.RunStream(t, wait, WaitInput{Succeed: true}, streamertest.CancelAfter(1))
	require.NoError(t, got.Err)
	assert.Equal(t, Done{1, 1}, got.Result)
	got = streamertest.RunStream(t, wait, WaitInput{Attempts: 1}, streamertest.Attempt(2))
	require.NoError(t, got.Err)
	assert.Equal(t, Done{1, 2}, got.Result)
	synctest.Test(t, func(t *testing.T) {
		got := streamertest.RunStream(t, wait, WaitInput{Silent: true})
		require.Error(t, got.Err, "it was left alone")
		assert.Empty(t, got.Chunks)
		assert.Len(t, got.Progress, 1)
	})
}

func TestIgnoreContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		require.NoError(t, streamertest.RunStream(t, ignoreContext, SlowInput{5000}, streamertest.Context(ctx)).Err)
		assert.Equal(t, 5*time.Second, time.Since(start))
	})
}

func TestStorm(t *testing.T) {
	got := streamertest.RunStream(t, storm, stormInput{1000})
	require.NoError(t, got.Err)
	require.Len(t, got.Progress, 1000)
	assert.InDelta(t, 100, got.Progress[999].Percent, 0)
}

func TestTooLarge(t *testing.T) {
	for what, size := range map[string]int{"chunk": 65534, "checkpoint": 8190, "result": 98302} {
		require.NoError(t, streamertest.RunStream(t, big, bigInput{what, size}).Err, what)
		checkCode(t, streamertest.RunStream(t, big, bigInput{what, size + 1}).Err, what+"_too_large")
	}
	for _, what := range []string{"chunk", "result"} {
		checkCode(t, streamertest.RunStream(t, unencodable, unencodableInput{what}).Err, "not_encodable")
	}
}
