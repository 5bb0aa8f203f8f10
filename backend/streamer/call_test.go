package streamer_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/streamer"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// streamed runs a body as a stream handler.
func streamed(t *testing.T, checkpoint string, body func(context.Context, *streamer.Call[any]) (any, error)) (*sink, string, error) {
	t.Helper()
	r := streamer.NewRouter(nil)
	streamer.HandleStream(r, "a", func(ctx context.Context, _ struct{}, call *streamer.Call[any]) (any, error) { return body(ctx, call) })
	a := build(t, r).Actions["a"]
	v, err := a.Decode(nil)
	require.NoError(t, err)
	s := &sink{}
	call := &core.Call{Info: core.Info{ID: "the id", Attempt: 2, Report: s.Progress}, Sink: s}
	if checkpoint != "" {
		call.Checkpoint = json.RawMessage(checkpoint)
	}
	data, err := a.Run(core.WithInfo(t.Context(), &call.Info), v, call)
	return s, string(data), err
}

// reported returns what a stream handler reports that does nothing else.
func reported(t *testing.T, report func(*streamer.Call[any])) *sink {
	t.Helper()
	s, _, _ := streamed(t, "", func(_ context.Context, call *streamer.Call[any]) (any, error) {
		report(call)
		return nil, nil
	})
	return s
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
	require.NoError(t, err)
	require.NoError(t, s.failed)
	require.Equal(t, " [1 , 2]", result)
	require.Equal(t, want, s.events)
	require.Equal(t, ` {"raw" : 1}`, string(s.chunks[1]), "the chunk does not change with its author's array")
}

func TestProgressIsBounded(t *testing.T) {
	_, cut, _ := core.CleanProgress(0, "a"+strings.Repeat("é", 200))
	require.Equal(t, "a"+strings.Repeat("é", 127), cut, "it is cut at a character")
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
		s := reported(t, report)
		requireCode(t, code, s.failed)
		require.Empty(t, s.events)
	}
	s := reported(t, func(c *streamer.Call[any]) { c.Checkpoint(json.RawMessage("{")) })
	require.Error(t, s.failed, "broken JSON as a checkpoint")
}

func TestResultsThatDoNotFitArePermanent(t *testing.T) {
	for code, result := range map[string]any{
		"not_encodable":    math.NaN(),
		"result_too_large": strings.Repeat("x", 96<<10-1),
	} {
		_, data, err := streamed(t, "", func(context.Context, *streamer.Call[any]) (any, error) { return result, nil })
		require.Empty(t, data)
		requireCode(t, code, err)
		var permanent *core.PermanentError
		require.ErrorAs(t, err, &permanent)
	}
	_, data, err := streamed(t, "", func(context.Context, *streamer.Call[any]) (any, error) { return strings.Repeat("x", 96<<10-2), nil })
	require.NoError(t, err)
	require.Len(t, data, 96<<10, "just within")
}

func TestResume(t *testing.T) {
	for _, c := range []struct {
		checkpoint string
		resumed    bool
		want       any
	}{
		{"", false, nil},
		{`{"n":12345678901234567890}`, true, map[string]any{"n": json.Number("12345678901234567890")}},
		{"null", true, nil},
	} {
		_, _, err := streamed(t, c.checkpoint, func(_ context.Context, call *streamer.Call[any]) (any, error) {
			var into any
			resumed, err := call.Resume(&into)
			assert.Equal(t, c.resumed, resumed, c.checkpoint)
			assert.Equal(t, c.want, into, c.checkpoint)
			return nil, err
		})
		require.NoError(t, err)
	}
	_, _, err := streamed(t, `"text"`, func(_ context.Context, call *streamer.Call[any]) (any, error) {
		var into int
		resumed, err := call.Resume(&into)
		assert.False(t, resumed)
		return nil, err
	})
	require.ErrorContains(t, err, "does not fit a *int")
}

func TestInfo(t *testing.T) {
	s, _, _ := streamed(t, "", func(ctx context.Context, call *streamer.Call[any]) (any, error) {
		i := streamer.Info(ctx)
		assert.Equal(t, "the id", i.ID)
		assert.Equal(t, 2, i.Attempt)
		assert.Equal(t, "the id", call.Info().ID)
		i.Progress(101, strings.Repeat("é", 200))
		i.Progress(math.NaN(), "")
		return nil, nil
	})
	require.Equal(t, []string{"progress 100 " + strings.Repeat("é", 128)}, s.events)
	outside := streamer.Info(t.Context())
	outside.Progress(1, "without a call")
	require.Empty(t, outside.ID)
}

func TestErrors(t *testing.T) {
	cause := errors.New("disk")
	e := streamer.Errorf("out_of_stock", "%d left: %w", 3, cause)
	require.Equal(t, "out_of_stock", e.Code)
	require.Equal(t, "3 left: disk", e.Message)
	require.ErrorIs(t, e, cause)
	for _, code := range []string{"", "Bad", "1st", "with space", strings.Repeat("x", 65), "é"} {
		e := streamer.Errorf(code, "secret")
		require.Equal(t, "internal", e.Code, "%q", code)
		require.NotContains(t, e.Message, "secret")
		require.ErrorContains(t, e, "secret")
	}
	var none *streamer.Error
	for _, err := range []error{nil, none} {
		require.NoError(t, streamer.Permanent(err))
		require.NoError(t, streamer.RetryAfter(time.Second, err))
	}
	require.ErrorIs(t, streamer.Permanent(cause), cause)
	require.Equal(t, &core.RetryAfterError{Err: cause}, streamer.RetryAfter(-1, cause))
	require.ErrorIs(t, streamer.RetryAfter(-1, cause), cause)
	require.Equal(t, &core.ContinueError{}, streamer.Continue(-1))
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
			s := reported(t, func(c *streamer.Call[any]) { c.Emit(value) })
			if fits {
				require.NoError(t, s.failed, "%s %.20q", how, text)
				require.Len(t, s.events, 1)
				continue
			}
			requireCode(t, "not_encodable", s.failed)
			require.Empty(t, s.events, "%s %.20q", how, text)
		}
	}
}
