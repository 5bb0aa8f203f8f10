package streamertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/pay-theory/streamer/backend/streamertest"
)

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
	if got.Err != nil || got.Result != 6 || !reflect.DeepEqual(got.Chunks, []int{1, 2, 3}) {
		t.Fatalf("got %+v", got)
	}
	if len(got.Progress) != 3 || got.Progress[2] != (streamertest.Progress{Percent: 100, Text: "counting"}) {
		t.Fatalf("progress %v", got.Progress)
	}
	if len(got.Checkpoints) != 3 || string(got.Checkpoints[0].Data) != `{"next":2,"sum":1}` || got.Checkpoints[1].Chunks != 2 {
		t.Fatalf("checkpoints %v", got.Checkpoints)
	}
}

func TestResumeGoesOn(t *testing.T) {
	whole := streamertest.RunStream(t, count, countParams{To: 5})
	for _, checkpoint := range whole.Checkpoints {
		got := streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume(checkpoint))
		chunks := append(whole.Chunks[:checkpoint.Chunks:checkpoint.Chunks], got.Chunks...)
		if got.Err != nil || got.Result != whole.Result || !reflect.DeepEqual(chunks, whole.Chunks) {
			t.Fatalf("from %s: %+v", checkpoint.Data, got)
		}
	}
	got := streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume(position{Next: 5, Sum: 10}))
	if got.Result != 15 || len(got.Chunks) != 1 {
		t.Fatalf("from a value: %+v", got)
	}
	got = streamertest.RunStream(t, count, countParams{To: 5}, streamertest.Resume("not a position"))
	if got.Err == nil || got.Permanent {
		t.Fatalf("a checkpoint that does not fit: %+v", got)
	}
}

func TestCancelAfterEndsTheContext(t *testing.T) {
	got := streamertest.RunStream(t, count, countParams{To: 50}, streamertest.CancelAfter(4))
	if !errors.Is(got.Err, streamer.ErrCancelled) || len(got.Chunks) != 4 || got.Result != 0 {
		t.Fatalf("got %+v", got)
	}
}

func TestParamsAreChecked(t *testing.T) {
	got := streamertest.RunStream(t, count, countParams{To: 101})
	var refused *streamer.Error
	if !errors.As(got.Err, &refused) || refused.Code != "invalid_payload" || refused.Field != "/to" || !got.Permanent {
		t.Fatalf("got %+v", got.Err)
	}
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
		var e *streamer.Error
		if !errors.As(got.Err, &e) || e.Code != code || !got.Permanent || len(got.Chunks) > 0 || got.Result != "" || !ended {
			t.Errorf("%s: %+v, the context ended: %v", code, got, ended)
		}
	}
	fits := func(_ context.Context, _ none, c *streamer.Call[string]) (string, error) {
		c.Emit(strings.Repeat("x", 64<<10-2))
		c.Checkpoint(strings.Repeat("x", 8<<10-2))
		return strings.Repeat("x", 96<<10-2), nil
	}
	if got := streamertest.RunStream(t, fits, none{}); got.Err != nil || len(got.Chunks) != 1 || len(got.Checkpoints) != 1 {
		t.Errorf("just within: %v", got.Err)
	}
	large := func(context.Context, none) (string, error) { return strings.Repeat("x", 96<<10-1), nil }
	var e *streamer.Error
	if got := streamertest.Run(t, large, none{}); !errors.As(got.Err, &e) || e.Code != "result_too_large" || !got.Permanent {
		t.Errorf("result: %+v", got.Err)
	}
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
	if want := `ts3idwho.am/i{"m":1} {"a" :1}`; got.Err != nil || strings.ReplaceAll(got.Result, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Fatalf("got %q %v", got.Result, got.Err)
	}
	if seen != "who.am/i" || len(got.Progress) != 1 || got.Progress[0].Percent != 100 {
		t.Fatalf("seen %q, progress %v", seen, got.Progress)
	}
}

func TestErrorsAreJudged(t *testing.T) {
	fails := func(err error) streamertest.Outcome[int] {
		return streamertest.Run(t, func(context.Context, struct{}) (int, error) { return 1, err }, struct{}{})
	}
	if got := fails(streamer.Permanent(errors.New("no"))); !got.Permanent || got.Result != 0 {
		t.Errorf("permanent: %+v", got)
	}
	if got := fails(streamer.Continue(time.Minute)); !got.Continued || got.After != time.Minute || got.Permanent {
		t.Errorf("continue: %+v", got)
	}
	if got := fails(streamer.RetryAfter(time.Second, errors.New("busy"))); got.Continued || got.After != time.Second {
		t.Errorf("retry after: %+v", got)
	}
}

func TestTimeoutOfTheAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := func(ctx context.Context, _ struct{}) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}
		got := streamertest.Run(t, waits, struct{}{}, streamertest.Action("waits", streamer.Timeout(time.Hour)))
		if !errors.Is(got.Err, streamer.ErrTimeout) {
			t.Fatalf("got %v", got.Err)
		}
	})
}
