package client

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

type params struct {
	Name string `json:"name"`
}

type row struct {
	N int `json:"n"`
}

const (
	greet  Action[params, None, string] = "greet"
	report Action[params, row, string]  = "report.generate"
)

// greetInBackground calls greet.
func greetInBackground(t *testing.T, c *Client, name string) *background[string] {
	return inBackground(t, func() (string, error) { return greet.With(params{name}).Await(testContext(t), c) })
}

// startReport starts a call of report and returns it with its id.
func startReport(t *testing.T, c *Client, p *serverConn) (*Call[row, string], string) {
	t.Helper()
	call, err := report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	return call, p.expect(wire.TypeRequest).ID
}

// readEvents reads a call to its end.
func readEvents[C, R any](t *testing.T, call *Call[C, R]) (events []Event[C]) {
	t.Helper()
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		events = append(events, e)
	}
	return events
}

// requireResult waits for a call's result.
func requireResult[C, R any](t *testing.T, call *Call[C, R], want R) {
	t.Helper()
	got, err := call.Result(testContext(t))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestAwaitInline(t *testing.T) {
	c, p := connect(t, nil)
	greeting := greetInBackground(t, c, "Ada")
	m := p.expect(wire.TypeRequest)
	require.Equal(t, "greet", m.Action)
	require.JSONEq(t, `{"name":"Ada"}`, string(m.Payload))
	require.True(t, wire.ValidID(m.ID))
	p.send(resultMsg(m.ID, 0, `"hello Ada"`))
	greeting.requireResult("hello Ada")
}

func TestRequestFields(t *testing.T) {
	c, p := connect(t, nil)
	id := NewID()
	_, err := greet.With(params{"Ada"}).ID(id).IdempotencyKey("k").Async().Timeout(time.Second).Delay(2*time.Second).
		CancelAfter(0).Metadata(map[string]int{"a": 1}).Start(testContext(t), c)
	require.NoError(t, err)
	require.Equal(t, wire.ClientMessage{
		Type: wire.TypeRequest, ID: id, Action: "greet", Payload: json.RawMessage(`{"name":"Ada"}`), IdempotencyKey: "k",
		Mode: wire.ModeAsync, TimeoutMs: 1000, DelayMs: 2000, CancelAfterMs: new(int64(0)), Metadata: json.RawMessage(`{"a":1}`),
	}, p.expect(wire.TypeRequest))
}

// deepJSON is an array nested so deep.
func deepJSON(depth int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
}

func TestInvalidRequests(t *testing.T) {
	c, _ := connect(t, nil)
	raw := Action[json.RawMessage, None, None]("a")
	for name, tc := range map[string]struct {
		r     Request[None, None]
		field string
	}{
		"action":        {Action[params, None, None]("no blanks").With(params{}), "action"},
		"id":            {raw.With(nil).ID("1"), "id"},
		"no id":         {raw.With(nil).ID(""), "id"},
		"key":           {raw.With(nil).IdempotencyKey(strings.Repeat("k", 129)), "idempotencyKey"},
		"no key":        {raw.With(nil).IdempotencyKey(""), "idempotencyKey"},
		"key, no UTF-8": {raw.With(nil).IdempotencyKey("\xff"), "idempotencyKey"},
		"no UTF-8":      {raw.With(json.RawMessage("\"\xff\"")), "payload"},
		"deep":          {raw.With(deepJSON(63)), "payload"},
		"metadata deep": {raw.With(nil).Metadata(map[string]any{"a": deepJSON(62)}), "metadata"},
		"no UTF-8 meta": {raw.With(nil).Metadata(json.RawMessage("{\"a\":\"\xff\"}")), "metadata"},
		"no JSON":       {raw.With(json.RawMessage("{")), "payload"},
		"too large":     {raw.With(json.RawMessage(`"` + strings.Repeat("x", 32<<10) + `"`)), "payload"},
		"timeout":       {raw.With(nil).Timeout(0), "timeoutMs"},
		"long timeout":  {raw.With(nil).Timeout(31 * 24 * time.Hour), "timeoutMs"},
		"delay":         {raw.With(nil).Delay(-1), "delayMs"},
		"cancel after":  {raw.With(nil).CancelAfter(-1), "cancelAfterMs"},
		"metadata":      {raw.With(nil).Metadata([]int{1}), "metadata"},
		"long metadata": {raw.With(nil).Metadata(map[string]string{"a": strings.Repeat("x", 4<<10)}), "metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tc.r.Start(testContext(t), c)
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, CodeInvalidMessage, e.Code)
			require.Equal(t, tc.field, e.Field)
			require.True(t, e.Final)
		})
	}
	_, err := raw.With(deepJSON(62)).Start(testContext(t), c)
	require.NoError(t, err)
	_, err = raw.With(json.RawMessage(`"`+strings.Repeat("x", 32<<10)+`"`)).Await(testContext(t), c)
	require.ErrorContains(t, err, "32768 (32 KiB)")
	_, err = raw.With(nil).OnProgress(func(Progress) {}).Start(testContext(t), c)
	require.ErrorContains(t, err, "callbacks")
}

func TestEvents(t *testing.T) {
	c, p := connect(t, nil)
	call, id := startReport(t, c, p)
	require.Equal(t, id, call.ID())
	require.Equal(t, StatusUnknown, call.State().Status)
	p.send(ackMsg(id))
	require.NoError(t, call.Accepted(testContext(t)))
	require.Equal(t, StatusQueued, call.State().Status)
	p.send(progressMsg(id, 1, 1, 10))
	p.send(chunkMsg(id, 2, `{"n":1}`), chunkMsg(id, 3, `{"n":2}`))
	mark := wire.ServerMessage{Type: wire.TypeAttempt, ID: id, Seq: 4, Attempt: 2, Keep: 2, From: 3, Code: CodeWorkerLost}

	var got []Event[row]
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		got = append(got, e)
		if e.Kind == KindChunk && e.Chunk.N == 2 {
			p.send(mark)
			p.send(chunkMsg(id, 5, `{"n":3}`), resultMsg(id, 6, `"done"`))
		}
	}
	require.Equal(t, []Event[row]{
		{Kind: KindProgress, Progress: Progress{Attempt: 1, Percent: 10}},
		{Kind: KindChunk, Seq: 2, Chunk: row{1}},
		{Kind: KindChunk, Seq: 3, Chunk: row{2}},
		{Kind: KindAttempt, Seq: 4, Attempt: Attempt{Number: 2, Discarded: 1, Code: CodeWorkerLost}},
		{Kind: KindChunk, Seq: 5, Chunk: row{3}},
		{Kind: KindEnd, Seq: 6},
	}, got)
	requireResult(t, call, "done")
	s := call.State()
	require.Equal(t, StatusSucceeded, s.Status)
	require.True(t, s.Status.Ended())
	require.EqualValues(t, 6, s.LastSeq)
	require.Equal(t, Progress{Attempt: 1, Percent: 10}, s.Progress)
	require.Equal(t, []Event[row]{{Kind: KindEnd, Seq: 6}}, readEvents(t, call), "the end is returned again")
}

func TestCollectOmitsDiscardedChunks(t *testing.T) {
	c, p := connect(t, nil)
	var attempts []Attempt
	var seen []int
	type both struct {
		result string
		rows   []row
	}
	collected := inBackground(t, func() (both, error) {
		r, rows, err := report.With(params{}).OnAttempt(func(a Attempt) { attempts = append(attempts, a) }).
			OnChunk(func(r row) { seen = append(seen, r.N) }).Collect(testContext(t), c)
		return both{r, rows}, err
	})
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), chunkMsg(id, 2, `{"n":1}`), chunkMsg(id, 3, `{"n":2}`))
	p.send(wire.ServerMessage{Type: wire.TypeAttempt, ID: id, Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: CodeWorkerLost})
	p.send(chunkMsg(id, 5, `{"n":3}`), resultMsg(id, 6, `"done"`))
	collected.requireResult(both{"done", []row{{3}}})
	require.Len(t, attempts, 1)
	require.Equal(t, attempts[0].Discarded+1, len(seen), "OnChunk got the discarded chunks or not, and Discarded counts them")
}

func TestCallErrors(t *testing.T) {
	c, p := connect(t, nil)
	greeting := greetInBackground(t, c, "")
	id := p.expect(wire.TypeRequest).ID
	m := errorMsg(id, "", CodeInvalidPayload, true)
	m.Field, m.Details = "/name", json.RawMessage(`{"x":1}`)
	p.send(m)
	_, err := greeting.wait()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &Error{
		Code: CodeInvalidPayload, Message: "because", Final: true, Field: "/name", Hint: "Mend the payload.",
		Details: json.RawMessage(`{"x":1}`), CallID: id,
	}, e)
	require.ErrorIs(t, err, &Error{Code: CodeInvalidPayload})
	require.NotErrorIs(t, err, ErrClosed)

	// A stored call that fails: the events end with the error.
	call, id := startReport(t, c, p)
	end := errorMsg(id, "", "out_of_paper", true)
	end.Seq = 2
	p.send(ackMsg(id), end)
	n := 0
	for ev, err := range call.Events(testContext(t)) {
		n++
		require.Equal(t, KindEnd, ev.Kind)
		require.ErrorIs(t, err, &Error{Code: "out_of_paper"})
	}
	require.Equal(t, 1, n)
	require.Equal(t, StatusFailed, call.State().Status)
	_, err = call.Result(testContext(t))
	require.ErrorIs(t, err, &Error{Code: "out_of_paper"})

	// A result of another type than expected.
	greeting = greetInBackground(t, c, "")
	p.send(resultMsg(p.expect(wire.TypeRequest).ID, 0, `5`))
	_, err = greeting.wait()
	require.ErrorContains(t, err, "is not of the expected type")
}

func TestAwaitDetachesWhenContextEnds(t *testing.T) {
	c, p := connect(t, nil)
	ctx, cancel := context.WithCancel(testContext(t))
	result := inBackground(t, func() (string, error) { return report.With(params{}).Await(ctx, c) })
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), progressMsg(id, 1, 1, 1))
	cancel()
	_, err := result.wait()
	var detached *DetachedError
	require.ErrorAs(t, err, &detached)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, id, detached.CallID)
	require.True(t, detached.Sent)
	m := p.expect(wire.TypeUnsubscribe) // the call is detached, not cancelled
	require.Equal(t, id, m.ID)
	p.send(okMsg(m.Ref))

	// Another Call attaches to it.
	call, err := report.Attach(c, id)
	require.NoError(t, err)
	m = p.expect(wire.TypeSubscribe)
	require.Zero(t, m.After)
	p.send(snapshotMsg(m.Ref, id, 2, false, ackMsg(id), resultMsg(id, 2, `"after all"`)))
	requireResult(t, call, "after all")
}

func TestIdempotencyHit(t *testing.T) {
	c, p := connect(t, nil)
	call, err := report.With(params{}).IdempotencyKey("k").Start(testContext(t), c)
	require.NoError(t, err)
	x := p.expect(wire.TypeRequest).ID
	y := NewID()
	hit := snapshotMsg("", y, 2, false, ackMsg(y), chunkMsg(y, 2, `{"n":1}`))
	hit.For = x
	p.send(hit)
	require.NoError(t, call.Accepted(testContext(t)))
	require.Equal(t, y, call.ID())
	p.send(resultMsg(y, 3, `"done"`))
	requireResult(t, call, "done")
	require.Equal(t, []Event[row]{{Kind: KindChunk, Seq: 2, Chunk: row{1}}, {Kind: KindEnd, Seq: 3}}, readEvents(t, call))
}

func TestCancelAndList(t *testing.T) {
	c, p := connect(t, nil)
	call, id := startReport(t, c, p)
	cancelled := inBackground(t, func() (None, error) { return None{}, call.Cancel(testContext(t)) })
	m := p.expect(wire.TypeCancel) // it is sent before the ack
	require.Equal(t, id, m.ID)
	end := errorMsg(id, "", CodeCancelled, true)
	end.Seq = 2
	p.send(okMsg(m.Ref), ackMsg(id), end)
	cancelled.requireResult(None{})
	_, err := call.Result(testContext(t))
	require.ErrorIs(t, err, &Error{Code: CodeCancelled})
	require.Equal(t, StatusCancelled, call.State().Status)
	require.NoError(t, call.Cancel(testContext(t)), "cancelling an ended call has no effect")

	list := func(filter ListFilter) *background[[]CallInfo] {
		return inBackground(t, func() (infos []CallInfo, err error) {
			for info, err := range List(testContext(t), c, filter) {
				if err != nil {
					return infos, err
				}
				infos = append(infos, info)
			}
			return infos, nil
		})
	}
	listed := list(ListFilter{Status: StatusCancelled, PageSize: 1})
	first := p.expect(wire.TypeList)
	p.send(wire.ServerMessage{Type: wire.TypeCalls, Ref: first.Ref, Cursor: "more", Calls: []wire.Summary{
		{ID: id, Action: "a", Status: "cancelled", Attempt: 1, CreatedAt: 1000, LastSeq: 2, EndedAt: 2000, Code: "cancelled"},
	}})
	second := p.expect(wire.TypeList)
	require.Equal(t, wire.ClientMessage{Type: wire.TypeList, Ref: second.Ref, Cursor: "more", Status: "cancelled", Limit: 1}, second)
	p.send(wire.ServerMessage{Type: wire.TypeCalls, Ref: second.Ref, Calls: []wire.Summary{{ID: "another"}}})
	listed.requireResult([]CallInfo{
		{
			ID: id, Action: "a", Status: StatusCancelled, Attempt: 1, CreatedAt: time.UnixMilli(1000), LastSeq: 2,
			EndedAt: time.UnixMilli(2000), Code: "cancelled",
		},
		{ID: "another"},
	})
	refused := list(ListFilter{})
	p.send(errorMsg("", p.expect(wire.TypeList).Ref, CodeInvalidCursor, true))
	_, err = refused.wait()
	require.ErrorIs(t, err, &Error{Code: CodeInvalidCursor})
	_, err = list(ListFilter{PageSize: 101}).wait()
	require.ErrorIs(t, err, &Error{Code: CodeInvalidMessage})
}

func TestDo(t *testing.T) {
	c, p := connect(t, nil)
	_, err := Do[json.RawMessage](testContext(t), c, "any.action", json.RawMessage(`{"b":1, "a":<>}`))
	require.Error(t, err, "invalid JSON")
	result := inBackground(t, func() (json.RawMessage, error) {
		return Do[json.RawMessage](testContext(t), c, "any.action", json.RawMessage(`{"b":1, "a":2}`))
	})
	m := p.expect(wire.TypeRequest)
	require.Equal(t, `{"b":1, "a":2}`, string(m.Payload), "raw JSON is sent byte for byte")
	p.send(resultMsg(m.ID, 0, `{"x" : 9007199254740993}`))
	result.requireResult(json.RawMessage(`{"x" : 9007199254740993}`))
}
