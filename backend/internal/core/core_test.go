package core_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"pgregory.net/rapid"
)

// TestLimitsAreTheProtocols: core may not import wire, so the limits are declared
// in both packages.
func TestLimitsAreTheProtocols(t *testing.T) {
	for name, pair := range map[string][2]int{
		"chunk":      {core.MaxChunk, wire.MaxChunk},
		"result":     {core.MaxResult, wire.MaxResult},
		"checkpoint": {core.MaxCheckpoint, wire.MaxCheckpoint},
		"progress":   {core.MaxProgressText, wire.MaxProgressText},
		"name":       {core.MaxName, wire.MaxName},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %d here, %d on the wire", name, pair[0], pair[1])
		}
	}
}

// TestDeepOutputsCanBeRead: a client accepts an output of the maximum depth in the
// deepest message.
func TestDeepOutputsCanBeRead(t *testing.T) {
	output := strings.Repeat("[", core.MaxOutputDepth) + strings.Repeat("]", core.MaxOutputDepth)
	id := wire.NewID()
	frame := `[{"type":"snapshot","id":"` + id + `","epoch":1,"action":"a","status":"running","attempt":1,"keep":1,"lastSeq":2,"events":[` +
		`{"type":"chunk","seq":2,"attempt":1,"data":` + output + `}],"more":false}]`
	items, err := wire.DecodeServerFrame([]byte(frame))
	if err != nil || len(items) != 1 || string(items[0].Events[0].Data) != output {
		t.Errorf("%v %v", items, err)
	}
}

func TestCodesOfTheProtocolAreCodes(t *testing.T) {
	for code := range wire.Codes {
		if !core.ValidCode(code) {
			t.Errorf("%q", code)
		}
	}
	for _, code := range []string{"", "_a", "1a", "A", "a b", "a-b", strings.Repeat("a", 65)} {
		if core.ValidCode(code) {
			t.Errorf("%q passes", code)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"a", "A.b_c:d/e-9", strings.Repeat("x", 128)} {
		if !core.ValidName(name) {
			t.Errorf("%q does not pass", name)
		}
	}
	for _, name := range []string{"", "a b", "é", "a\x00", "a@b", strings.Repeat("x", 129)} {
		if core.ValidName(name) {
			t.Errorf("%q passes", name)
		}
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
		if d := (core.Backoff{Base: base, Max: limit}).Delay(failures); d < 0 || d >= max(1, min(interval, most)) {
			t.Fatalf("%v is not within [0, min(%v, %v))", d, most, interval)
		}
	})
}

func TestInfoTravelsInContexts(t *testing.T) {
	if _, ok := core.InfoFrom(context.Background()); ok {
		t.Error("an info in an empty context")
	}
	info := &core.Info{ID: "x"}
	if got, ok := core.InfoFrom(core.WithInfo(t.Context(), info)); !ok || got != info {
		t.Errorf("%v %v", got, ok)
	}
}

func TestErrorsUnwrap(t *testing.T) {
	cause := errors.New("cause")
	for _, err := range []error{
		&core.Error{Code: "a", Message: "b", Cause: cause}, &core.PermanentError{Err: cause}, &core.RetryAfterError{Err: cause},
	} {
		if !errors.Is(err, cause) || !strings.Contains(err.Error(), "cause") {
			t.Errorf("%T: %v", err, err)
		}
	}
	if got := (&core.Error{Code: "a", Message: "b"}).Error(); got != "a: b" {
		t.Error(got)
	}
	if got := (&core.ContinueError{After: time.Second}).Error(); got != "continue after 1s" {
		t.Error(got)
	}
}
