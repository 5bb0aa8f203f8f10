package core_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLimitsAreTheProtocols: core may not import wire, so the limits are declared
// in both packages.
func TestLimitsAreTheProtocols(t *testing.T) {
	assert.Equal(t, wire.MaxChunk, core.MaxChunk)
	assert.Equal(t, wire.MaxResult, core.MaxResult)
	assert.Equal(t, wire.MaxCheckpoint, core.MaxCheckpoint)
	assert.Equal(t, wire.MaxProgressText, core.MaxProgressText)
	assert.Equal(t, wire.MaxName, core.MaxName)
}

// TestDeepOutputsCanBeRead: a client accepts an output of the maximum depth in the
// deepest message.
func TestDeepOutputsCanBeRead(t *testing.T) {
	output := strings.Repeat("[", core.MaxOutputDepth) + strings.Repeat("]", core.MaxOutputDepth)
	id := wire.NewID()
	frame := `[{"type":"snapshot","id":"` + id + `","epoch":1,"action":"a","status":"running","attempt":1,"keep":1,"lastSeq":2,"events":[` +
		`{"type":"chunk","seq":2,"attempt":1,"data":` + output + `}],"more":false}]`
	items, err := wire.DecodeServerFrame([]byte(frame))
	require.Nil(t, err)
	require.Len(t, items, 1)
	assert.Equal(t, output, string(items[0].Events[0].Data))
}

func TestCodesOfTheProtocolAreCodes(t *testing.T) {
	for code := range wire.Codes {
		assert.True(t, core.ValidCode(code), code)
	}
	assert.True(t, core.ValidCode(strings.Repeat("a", 64)))
	for _, code := range []string{"", "_a", "1a", "A", "a b", "a-b", "a\n", strings.Repeat("a", 65)} {
		assert.False(t, core.ValidCode(code), code)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "A.b_c:d/e-9", strings.Repeat("x", 128)} {
		assert.True(t, core.ValidName(name), name)
	}
	for _, name := range []string{"", "a b", "é", "a\x00", "a\n", "a@b", strings.Repeat("x", 129)} {
		assert.False(t, core.ValidName(name), name)
	}
}

func TestBackoffIsFullJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "base"))
		limit := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "max"))
		failures := rapid.IntRange(-1, 1000).Draw(t, "failures")
		interval, most := base, limit
		if interval == 0 {
			interval = time.Second
		}
		if most == 0 {
			most = time.Minute
		}
		for i := 1; i < failures && interval < most; i++ {
			interval *= 2
		}
		d := (core.Backoff{Base: base, Max: limit}).Delay(failures)
		require.GreaterOrEqual(t, d, time.Duration(0))
		require.Less(t, d, max(1, min(interval, most)))
	})
}

// Delays fill the whole interval, which doubles up to Max.
func TestBackoffUsesItsInterval(t *testing.T) {
	b := core.Backoff{Base: 100 * time.Millisecond, Max: time.Second}
	for failures, interval := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 4: 800 * time.Millisecond, 5: time.Second, 5000: time.Second,
	} {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := b.Delay(failures)
			low, high = min(low, d), max(high, d)
		}
		assert.Less(t, low, interval/10)
		assert.Greater(t, high, interval*9/10)
		assert.Less(t, high, interval)
		assert.GreaterOrEqual(t, low, time.Duration(0))
	}
}

func TestInfoTravelsInContexts(t *testing.T) {
	_, ok := core.InfoFrom(context.Background())
	assert.False(t, ok)
	info := &core.Info{ID: "x"}
	got, ok := core.InfoFrom(core.WithInfo(t.Context(), info))
	assert.True(t, ok)
	assert.Same(t, info, got)
}

func TestErrorsUnwrap(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{
		&core.Error{Code: "a", Message: "b", Cause: cause}, &core.PermanentError{Err: cause}, &core.RetryAfterError{Err: cause},
	} {
		assert.ErrorIs(t, err, cause)
		assert.ErrorContains(t, err, "cause")
	}
	assert.EqualError(t, &core.Error{Code: "a", Message: "b"}, "a: b")
	assert.EqualError(t, &core.ContinueError{After: time.Second}, "continue after 1s")
}
