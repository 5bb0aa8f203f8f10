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

func TestAwaitInline(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	wait := inBackground(t, func() (string, error) { return greet.With(params{"Ada"}).Await(testContext(t), c) })
	m := p.expect(wire.TypeRequest)
	require.Equal(t, "greet", m.Action)
	require.JSONEq(t, `{"name":"Ada"}`, string(m.Payload))
	require.True(t, wire.ValidID(m.ID))
	p.send(resultMsg(m.ID, 0, `"hello Ada"`))
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, "hello Ada", got)
}

func TestRequestFields(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	id := NewID()
	_, err := greet.With(params{"Ada"}).ID(id).IdempotencyKey("k").Async().Timeout(time.Second).Delay(2*time.Second).
		CancelAfter(0).Metadata(map[string]int{"a": 1}).Start(testContext(t), c)
	require.NoError(t, err)
	m := p.expect(wire.TypeRequest)
	require.Equal(t, id, m.ID)
	require.Equal(t, "k", m.IdempotencyKey)
	require.Equal(t, wire.ModeAsync, m.Mode)
	require.EqualValues(t, 1000, m.TimeoutMs)
	require.EqualValues(t, 2000, m.DelayMs)
	require.Zero(t, *m.CancelAfterMs)
	require.JSONEq(t, `{"a":1}`, string(m.Metadata))
}

func TestInvalidRequests(t *testing.T) {
	h := newServer(t)
	c, _ := h.connect(nil)
	raw := Action[json.RawMessage, None, None]("a")
	for name, tc := range map[string]struct {
		r     Request[None, None]
		field string
	}{
		"action":        {Action[params, None, None]("no blanks").With(params{}), "action"},
		"id":            {raw.With(nil).ID("1"), "id"},
		"key":           {raw.With(nil).IdempotencyKey(strings.Repeat("k", 129)), "idempotencyKey"},
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
	_, err := raw.With(json.RawMessage(`"`+strings.Repeat("x", 32<<10)+`"`)).Await(testContext(t), c)
	require.ErrorContains(t, err, "32768 (32 KiB)")
	_, err = raw.With(nil).OnProgress(func(Progress) {}).Start(testContext(t), c)
	require.ErrorContains(t, err, "callbacks")
}

func TestEvents(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	call, err := report.With(params{"q3"}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
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
	result, err := call.Result(testContext(t))
	require.NoError(t, err)
	require.Equal(t, "done", result)
	s := call.State()
	require.Equal(t, StatusSucceeded, s.Status)
	require.True(t, s.Status.Ended())
	require.EqualValues(t, 6, s.LastSeq)
	require.Equal(t, Progress{Attempt: 1, Percent: 10}, s.Progress)
	for e, err := range call.Events(testContext(t)) { // the end is returned again
		require.NoError(t, err)
		require.Equal(t, KindEnd, e.Kind)
	}
}

func TestCollectOmitsDiscardedChunks(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	var attempts []Attempt
	var seen []int
	type both struct {
		result string
		rows   []row
	}
	wait := inBackground(t, func() (both, error) {
		r, rows, err := report.With(params{}).OnAttempt(func(a Attempt) { attempts = append(attempts, a) }).
			OnChunk(func(r row) { seen = append(seen, r.N) }).Collect(testContext(t), c)
		return both{r, rows}, err
	})
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), chunkMsg(id, 2, `{"n":1}`), chunkMsg(id, 3, `{"n":2}`))
	p.send(wire.ServerMessage{Type: wire.TypeAttempt, ID: id, Seq: 4, Attempt: 2, Keep: 1, From: 2, Code: CodeWorkerLost})
	p.send(chunkMsg(id, 5, `{"n":3}`), resultMsg(id, 6, `"done"`))
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, both{"done", []row{{3}}}, got)
	require.Len(t, attempts, 1)
	require.Equal(t, attempts[0].Discarded+1, len(seen), "OnChunk got the discarded chunks or not, and Discarded counts them")
}

func TestCallErrors(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	wait := inBackground(t, func() (string, error) { return greet.With(params{}).Await(testContext(t), c) })
	id := p.expect(wire.TypeRequest).ID
	m := errorMsg(id, "", CodeInvalidPayload, true)
	m.Field, m.Details = "/name", json.RawMessage(`{"x":1}`)
	p.send(m)
	_, err := wait()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &Error{
		Code: CodeInvalidPayload, Message: "because", Final: true, Field: "/name", Hint: "Mend the payload.",
		Details: json.RawMessage(`{"x":1}`), CallID: id,
	}, e)
	require.ErrorIs(t, err, &Error{Code: CodeInvalidPayload})
	require.NotErrorIs(t, err, ErrClosed)

	// A stored call that fails: the events end with the error.
	call, err := report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id = p.expect(wire.TypeRequest).ID
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
	wait = inBackground(t, func() (string, error) { return greet.With(params{}).Await(testContext(t), c) })
	id = p.expect(wire.TypeRequest).ID
	p.send(resultMsg(id, 0, `5`))
	_, err = wait()
	require.ErrorContains(t, err, "is not of the expected type")
}

func TestAwaitDetachesWhenContextEnds(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	ctx, cancel := context.WithCancel(testContext(t))
	wait := inBackground(t, func() (string, error) { return report.With(params{}).Await(ctx, c) })
	id := p.expect(wire.TypeRequest).ID
	p.send(ackMsg(id), progressMsg(id, 1, 1, 1))
	cancel()
	_, err := wait()
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
	got, err := call.Result(testContext(t))
	require.NoError(t, err)
	require.Equal(t, "after all", got)
}

func TestIdempotencyHit(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
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
	got, err := call.Result(testContext(t))
	require.NoError(t, err)
	require.Equal(t, "done", got)
	kinds := []Kind{}
	for e, err := range call.Events(testContext(t)) {
		require.NoError(t, err)
		kinds = append(kinds, e.Kind)
	}
	require.Equal(t, []Kind{KindChunk, KindEnd}, kinds)
}

func TestCancelAndList(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	call, err := report.With(params{}).Start(testContext(t), c)
	require.NoError(t, err)
	id := p.expect(wire.TypeRequest).ID
	done := inBackground(t, func() (None, error) { return None{}, call.Cancel(testContext(t)) })
	m := p.expect(wire.TypeCancel) // it is sent before the ack
	require.Equal(t, id, m.ID)
	end := errorMsg(id, "", CodeCancelled, true)
	end.Seq = 2
	p.send(okMsg(m.Ref), ackMsg(id), end)
	_, err = done()
	require.NoError(t, err)
	_, err = call.Result(testContext(t))
	require.ErrorIs(t, err, &Error{Code: CodeCancelled})
	require.Equal(t, StatusCancelled, call.State().Status)
	require.NoError(t, call.Cancel(testContext(t)), "cancelling an ended call has no effect")

	go func() {
		first := p.expect(wire.TypeList)
		p.send(wire.ServerMessage{Type: wire.TypeCalls, Ref: first.Ref, Cursor: "more", Calls: []wire.Summary{
			{ID: id, Action: "a", Status: "cancelled", Attempt: 1, CreatedAt: 1000, LastSeq: 2, EndedAt: 2000, Code: "cancelled"},
		}})
		second := p.expect(wire.TypeList)
		if second.Cursor != "more" || second.Status != "cancelled" || second.Limit != 1 {
			t.Errorf("the second page is requested with %+v", second)
		}
		p.send(wire.ServerMessage{Type: wire.TypeCalls, Ref: second.Ref, Calls: []wire.Summary{{ID: NewID()}}})
		third := p.expect(wire.TypeList)
		p.send(errorMsg("", third.Ref, CodeInvalidCursor, true))
	}()
	var infos []CallInfo
	for info, err := range List(testContext(t), c, ListFilter{Status: StatusCancelled, PageSize: 1}) {
		require.NoError(t, err)
		infos = append(infos, info)
	}
	require.Len(t, infos, 2)
	require.Equal(t, CallInfo{
		ID: id, Action: "a", Status: StatusCancelled, Attempt: 1, CreatedAt: time.UnixMilli(1000), LastSeq: 2,
		EndedAt: time.UnixMilli(2000), Code: "cancelled",
	}, infos[0])
	for _, err := range List(testContext(t), c, ListFilter{}) {
		require.ErrorIs(t, err, &Error{Code: CodeInvalidCursor})
	}
	for _, err := range List(testContext(t), c, ListFilter{PageSize: 101}) {
		require.ErrorIs(t, err, &Error{Code: CodeInvalidMessage})
	}
}

func TestDo(t *testing.T) {
	h := newServer(t)
	c, p := h.connect(nil)
	wait := inBackground(t, func() (json.RawMessage, error) {
		return Do[json.RawMessage](testContext(t), c, "any.action", json.RawMessage(`{"b":1, "a":<>}`))
	})
	_, err := wait()
	require.Error(t, err, "invalid JSON")
	wait = inBackground(t, func() (json.RawMessage, error) {
		return Do[json.RawMessage](testContext(t), c, "any.action", json.RawMessage(`{"b":1, "a":2}`))
	})
	m := p.expect(wire.TypeRequest)
	require.Equal(t, `{"b":1, "a":2}`, string(m.Payload), "raw JSON is sent byte for byte")
	p.send(resultMsg(m.ID, 0, `{"x" : 9007199254740993}`))
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, `{"x" : 9007199254740993}`, string(got))
}
