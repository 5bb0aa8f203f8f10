package streamer_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
	"pgregory.net/rapid"
)

// streamed runs a body as a stream handler.
func streamed(t *testing.T, checkpoint string, body func(context.Context, *streamer.Call[any]) (any, error)) (*sink, string, error) {
	t.Helper()
	r := streamer.NewRouter(nil)
	streamer.HandleStream(r, "a", func(ctx context.Context, _ struct{}, call *streamer.Call[any]) (any, error) { return body(ctx, call) })
	a := build(t, r).Actions["a"]
	v, err := a.Decode(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	call := &core.Call{Info: core.Info{ID: "the id", Attempt: 2, Report: s.Progress}, Sink: s}
	if checkpoint != "" {
		call.Checkpoint = json.RawMessage(checkpoint)
	}
	data, err := a.Run(core.WithInfo(t.Context(), &call.Info), v, call)
	return s, string(data), err
}

func TestCallReports(t *testing.T) {
	raw := json.RawMessage(` {"raw" : 1}`)
	s, result, err := streamed(t, "", func(_ context.Context, call *streamer.Call[any]) (any, error) {
		call.Emit(map[string]string{"html": "<a&b>"})
		call.Emit(raw)
		raw[2] = 'X' // the array may be used again
		call.Progress(-5, "")
		call.Progress(math.Inf(1), "a\xffb")
		call.Progress(math.NaN(), "ignored")
		call.Checkpoint(7)
		return json.RawMessage(` [1 , 2]`), nil
	})
	want := []string{`chunk {"html":"<a&b>"}`, `chunk  {"raw" : 1}`, "progress 0 ", "progress 100 a\ufffdb", "checkpoint 7"}
	if err != nil || result != " [1 , 2]" || !reflect.DeepEqual(s.events, want) || s.failed != nil {
		t.Errorf("%q %q %v %v", s.events, result, err, s.failed)
	}
	if string(s.chunks[1]) != ` {"raw" : 1}` {
		t.Errorf("the chunk changed with its author's array: %s", s.chunks[1])
	}
}

func TestProgressIsBounded(t *testing.T) {
	if _, cut, _ := core.CleanProgress(0, "a"+strings.Repeat("é", 200)); cut != "a"+strings.Repeat("é", 127) {
		t.Errorf("not cut at a character: %q", cut)
	}
	rapid.Check(t, func(t *rapid.T) {
		percent, text := rapid.Float64().Draw(t, "percent"), rapid.StringN(0, 400, 2000).Draw(t, "text")
		if rapid.Bool().Draw(t, "bytes") {
			text = string(rapid.SliceOfN(rapid.Byte(), 0, 600).Draw(t, "bytes"))
		}
		p, cut, ok := core.CleanProgress(percent, text)
		if !ok || p < 0 || p > 100 || len(cut) > 256 || !utf8.ValidString(cut) {
			t.Fatalf("%v %q", p, cut)
		}
		if utf8.ValidString(text) && (!strings.HasPrefix(text, cut) || len(text) > 256 && len(cut) < 253) {
			t.Fatalf("%q was cut to %q", text, cut)
		}
	})
}

func TestWhatCannotBeReportedFailsTheAttempt(t *testing.T) {
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	for code, report := range map[string]func(*streamer.Call[any]){
		"not_encodable":        func(c *streamer.Call[any]) { c.Emit(cyclic) },
		"chunk_too_large":      func(c *streamer.Call[any]) { c.Emit(make([]byte, 64<<10)) },
		"checkpoint_too_large": func(c *streamer.Call[any]) { c.Checkpoint(json.RawMessage(`"` + strings.Repeat("x", 8<<10) + `"`)) },
	} {
		s, _, _ := streamed(t, "", func(_ context.Context, call *streamer.Call[any]) (any, error) {
			report(call)
			return nil, nil
		})
		var e *streamer.Error
		if !errors.As(s.failed, &e) || e.Code != code || len(s.events) > 0 {
			t.Errorf("%s: %v %v", code, s.failed, s.events)
		}
	}
	s, _, _ := streamed(t, "", func(_ context.Context, call *streamer.Call[any]) (any, error) {
		call.Checkpoint(json.RawMessage("{"))
		return nil, nil
	})
	if s.failed == nil {
		t.Error("broken JSON passed as a checkpoint")
	}
}

func TestResultsThatDoNotFitArePermanent(t *testing.T) {
	for code, result := range map[string]any{
		"not_encodable":    math.NaN(),
		"result_too_large": strings.Repeat("x", 96<<10-1),
	} {
		_, data, err := streamed(t, "", func(context.Context, *streamer.Call[any]) (any, error) { return result, nil })
		var e *streamer.Error
		var permanent *core.PermanentError
		if data != "" || !errors.As(err, &e) || e.Code != code || !errors.As(err, &permanent) {
			t.Errorf("%s: %v", code, err)
		}
	}
	_, data, err := streamed(t, "", func(context.Context, *streamer.Call[any]) (any, error) { return strings.Repeat("x", 96<<10-2), nil })
	if len(data) != 96<<10 || err != nil {
		t.Errorf("just within: %d %v", len(data), err)
	}
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		checkpoint string
		resumed    bool
		fails      bool
		want       any
	}{
		{"", false, false, nil},
		{`{"n":12345678901234567890}`, true, false, map[string]any{"n": json.Number("12345678901234567890")}},
		{"null", true, false, nil},
	} {
		_, _, err := streamed(t, c.checkpoint, func(_ context.Context, call *streamer.Call[any]) (any, error) {
			var into any
			resumed, err := call.Resume(&into)
			if resumed != c.resumed || (err != nil) != c.fails || !reflect.DeepEqual(into, c.want) {
				t.Errorf("%q: %v %v %v", c.checkpoint, resumed, err, into)
			}
			return nil, nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	_, _, _ = streamed(t, `"text"`, func(_ context.Context, call *streamer.Call[any]) (any, error) {
		var into int
		if resumed, err := call.Resume(&into); resumed || err == nil || !strings.Contains(err.Error(), "does not fit a *int") {
			t.Errorf("%v %v", resumed, err)
		}
		return nil, nil
	})
}

func TestInfo(t *testing.T) {
	s, _, _ := streamed(t, "", func(ctx context.Context, call *streamer.Call[any]) (any, error) {
		i := streamer.Info(ctx)
		if i.ID != "the id" || i.Attempt != 2 || call.Info().ID != "the id" {
			t.Errorf("%+v", i)
		}
		i.Progress(101, strings.Repeat("é", 200))
		i.Progress(math.NaN(), "")
		return nil, nil
	})
	if len(s.events) != 1 || s.events[0] != "progress 100 "+strings.Repeat("é", 128) {
		t.Errorf("%q", s.events)
	}
	outside := streamer.Info(t.Context())
	outside.Progress(1, "without a call")
	if outside.ID != "" {
		t.Errorf("%+v", outside)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk")
	e := streamer.Errorf("out_of_stock", "%d left: %w", 3, cause)
	if e.Code != "out_of_stock" || e.Message != "3 left: disk" || !errors.Is(e, cause) {
		t.Errorf("%+v", e)
	}
	for _, code := range []string{"", "Bad", "1st", "with space", strings.Repeat("x", 65), "é"} {
		if e := streamer.Errorf(code, "secret"); e.Code != "internal" || strings.Contains(e.Message, "secret") || !strings.Contains(e.Error(), "secret") {
			t.Errorf("%q: %+v", code, e)
		}
	}
	if streamer.Permanent(nil) != nil || streamer.RetryAfter(time.Second, nil) != nil {
		t.Error("nil does not stay nil")
	}
	var later *core.RetryAfterError
	if err := streamer.RetryAfter(-1, cause); !errors.As(err, &later) || later.After != 0 || !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
	var again *core.ContinueError
	if err := streamer.Continue(-1); !errors.As(err, &again) || again.After != 0 {
		t.Errorf("%v", err)
	}
	if err := streamer.Permanent(cause); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

// encoding/json writes these values, but no client could read them.
func TestUnreadableJSONIsNotEncodable(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`[{"a":`, n/2) + `"[[[["` + strings.Repeat("}]", n/2) }
	for text, fits := range map[string]bool{
		"\"\xff\"":                  false,
		nested(core.MaxOutputDepth): true, nested(core.MaxOutputDepth + 2): false,
		`["` + strings.Repeat(`[{\"`, 100) + `"]`:       true,
		`[` + strings.Repeat(`[],`, 100) + `{"\\":[]}]`: true,
	} {
		for how, value := range map[string]any{"raw": json.RawMessage(text), "inside": &[]json.RawMessage{json.RawMessage(text)}[0]} {
			s, _, _ := streamed(t, "", func(_ context.Context, call *streamer.Call[any]) (any, error) {
				call.Emit(value)
				return nil, nil
			})
			var e *streamer.Error
			if failed := errors.As(s.failed, &e) && e.Code == "not_encodable"; failed == fits || len(s.events) == 1 != fits {
				t.Errorf("%s %.20q: %v", how, text, s.failed)
			}
		}
	}
}
