package actions

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
	"github.com/stretchr/testify/require"
)

func TestRegister(t *testing.T) {
	r := streamer.NewRouter(nil)
	Register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	for name, want := range map[string]int{"fail": 0, "fail.often": 2, "flaky": 5, "stages": 20, "stages.once": 0, "wait": 0} {
		if a := registry.Actions[name]; a == nil || a.Retries != want {
			t.Errorf("%s does not have %d retries: %+v", name, want, a)
		}
	}
}

func TestEchoIsByteForByte(t *testing.T) {
	r := streamer.NewRouter(nil)
	Register(r)
	registry, err := r.Build()
	require.NoError(t, err)
	const payload = `{ "n":1.0, "big":9007199254740993 ,"s":"<&>" }`
	in, err := registry.Actions["echo"].Decode([]byte(payload))
	require.NoError(t, err)
	out, err := registry.Actions["echo"].Run(t.Context(), in, nil)
	if err != nil || string(out) != payload {
		t.Errorf("came back as %s, %v", out, err)
	}
}

func TestWhoami(t *testing.T) {
	got := streamertest.Run(t, whoami, nil, streamertest.As("acme", "alice"), streamertest.Attempt(3), streamertest.Metadata(map[string]int{"n": 1}))
	if c := got.Result; c.Tenant != "acme" || c.Subject != "alice" || c.Attempt != 3 || string(c.Metadata) != `{"n":1}` {
		t.Errorf("came to %+v", got)
	}
}

func TestStrict(t *testing.T) {
	good := strictInput{Name: "bolt", Count: 1, Color: "red", Lines: []strictLine{{1}}}
	if got := streamertest.Run(t, strict, good); got.Err != nil {
		t.Error(got.Err)
	}
	for field, change := range map[string]func(*strictInput){
		"/name":          func(o *strictInput) { o.Name = "a name too long" },
		"/count":         func(o *strictInput) { o.Count = 101 },
		"/color":         func(o *strictInput) { o.Color = "mauve" },
		"/lines/1/price": func(o *strictInput) { o.Lines = []strictLine{{1}, {-1}} },
	} {
		bad := good
		change(&bad)
		got := streamertest.Run(t, strict, bad)
		var e *streamer.Error
		if !errors.As(got.Err, &e) || e.Code != "invalid_payload" || e.Field != field {
			t.Errorf("%s: %v", field, got.Err)
		}
	}
}

func TestFail(t *testing.T) {
	got := streamertest.Run(t, fail, FailInput{Code: "no_stock", RetryAfterMs: 500}, streamertest.Attempt(2))
	var e *streamer.Error
	if !errors.As(got.Err, &e) || e.Code != "no_stock" || e.Message != "attempt 2 failed as it was told to" {
		t.Errorf("came to %v", got.Err)
	}
	if got.Permanent || got.After != 500*time.Millisecond {
		t.Errorf("came to %+v", got)
	}
	if got := streamertest.Run(t, fail, FailInput{Permanent: true}); !got.Permanent || got.Err.Error() != Secret {
		t.Errorf("came to %+v", got)
	}
	defer func() {
		if recover() != Secret {
			t.Error("panic does not panic with the secret")
		}
	}()
	_, _ = panics(t.Context(), nil)
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if got := streamertest.Run(t, slow, SlowInput{700}); got.Err != nil || time.Since(start) != 700*time.Millisecond {
			t.Errorf("after %v came %+v", time.Since(start), got)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, streamer.ErrCancelled)
		defer cancel()
		if got := streamertest.Run(t, slow, SlowInput{7000}, streamertest.Context(ctx)); !errors.Is(got.Err, streamer.ErrCancelled) {
			t.Errorf("came to %v", got.Err)
		}
	})
}

func TestEmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got := streamertest.RunStream(t, emit, EmitInput{Chunks: 2, Size: 3, Progress: true, PauseMs: 50}, streamertest.Attempt(2))
		if !slices.Equal(got.Chunks, []Chunk{{1, 2, "xxx"}, {2, 2, "xxx"}}) || got.Result != (Done{2, 2}) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("came to %+v", got)
		}
		if !slices.Equal(got.Progress, []streamertest.Progress{{Percent: 50, Text: "emitting"}, {Percent: 100, Text: "emitting"}}) {
			t.Errorf("reported %+v", got.Progress)
		}
	})
}

func TestFlaky(t *testing.T) {
	in := FlakyInput{Failures: 1, Chunks: 2, FailInput: FailInput{Code: "busy"}}
	if got := streamertest.RunStream(t, flaky, in); got.Err == nil || len(got.Chunks) != 2 {
		t.Errorf("the first attempt came to %+v", got)
	}
	if got := streamertest.RunStream(t, flaky, in, streamertest.Attempt(2)); got.Err != nil || got.Result != (Done{2, 2}) {
		t.Errorf("the second attempt came to %+v", got)
	}
}

func TestStages(t *testing.T) {
	in := StagesInput{Chunks: 3, Stage: 2, Extra: 1, Then: "continue", AfterMs: 20}
	first := streamertest.RunStream(t, stages, in)
	if !first.Continued || first.After != 20*time.Millisecond || len(first.Checkpoints) != 1 || first.Checkpoints[0].Chunks != 2 {
		t.Fatalf("the first attempt came to %+v", first)
	}
	if !slices.Equal(first.Chunks, []Chunk{{I: 1, Attempt: 1}, {I: 2, Attempt: 1}, {I: 3, Attempt: 1}}) {
		t.Errorf("the first attempt emitted %+v", first.Chunks)
	}
	second := streamertest.RunStream(t, stages, in, streamertest.Resume(first.Checkpoints[0]))
	if second.Err != nil || !slices.Equal(second.Chunks, []Chunk{{I: 3, Attempt: 2}}) || second.Result != (Done{3, 2}) {
		t.Errorf("the second attempt came to %+v", second)
	}
	in.Then = ""
	if got := streamertest.RunStream(t, stages, in); got.Continued || got.Err == nil {
		t.Errorf("failing came to %+v", got)
	}
	in.Then = "wait"
	if got := streamertest.RunStream(t, stages, in, streamertest.CancelAfter(3)); !errors.Is(got.Err, streamer.ErrCancelled) {
		t.Errorf("waiting came to %+v", got)
	}
}

func TestWait(t *testing.T) {
	if got := streamertest.RunStream(t, wait, WaitInput{}, streamertest.CancelAfter(1)); !errors.Is(got.Err, streamer.ErrCancelled) || len(got.Chunks) != 1 {
		t.Errorf("came to %+v", got)
	}
	if got := streamertest.RunStream(t, wait, WaitInput{Succeed: true}, streamertest.CancelAfter(1)); got.Err != nil || got.Result != (Done{1, 1}) {
		t.Errorf("came to %+v", got)
	}
	if got := streamertest.RunStream(t, wait, WaitInput{Attempts: 1}, streamertest.Attempt(2)); got.Err != nil || got.Result != (Done{1, 2}) {
		t.Errorf("came to %+v", got)
	}
	synctest.Test(t, func(t *testing.T) {
		got := streamertest.RunStream(t, wait, WaitInput{Silent: true})
		if got.Err == nil || len(got.Chunks) != 0 || len(got.Progress) != 1 {
			t.Errorf("left alone, silent, it came to %+v", got)
		}
	})
}

func TestIgnoreContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		got := streamertest.RunStream(t, ignoreContext, SlowInput{5000}, streamertest.Context(ctx))
		if got.Err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("after %v came %+v", time.Since(start), got)
		}
	})
}

func TestStorm(t *testing.T) {
	got := streamertest.RunStream(t, storm, stormInput{1000})
	if len(got.Progress) != 1000 || got.Progress[999].Percent != 100 || got.Err != nil {
		t.Errorf("%d reports, %v", len(got.Progress), got.Err)
	}
}

func TestTooLarge(t *testing.T) {
	for _, c := range []struct {
		in   bigInput
		code string
	}{
		{bigInput{"chunk", 65534}, ""},
		{bigInput{"chunk", 65535}, "chunk_too_large"},
		{bigInput{"checkpoint", 8190}, ""},
		{bigInput{"checkpoint", 8191}, "checkpoint_too_large"},
		{bigInput{"result", 98302}, ""},
		{bigInput{"result", 98303}, "result_too_large"},
	} {
		checkCode(t, streamertest.RunStream(t, big, c.in).Err, c.code)
	}
	checkCode(t, streamertest.RunStream(t, unencodable, unencodableInput{"chunk"}).Err, "not_encodable")
	checkCode(t, streamertest.RunStream(t, unencodable, unencodableInput{"result"}).Err, "not_encodable")
}

func checkCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *streamer.Error
	switch {
	case code == "" && err != nil:
		t.Error(err)
	case code != "" && (!errors.As(err, &e) || e.Code != code):
		t.Errorf("expected %s, came %v", code, err)
	}
}
