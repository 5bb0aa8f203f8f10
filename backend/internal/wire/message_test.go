package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testID = "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"

// clientMessages holds every type of message with every field that it has.
var clientMessages = []ClientMessage{
	{Type: TypeRequest, ID: testID, Action: "a"},
	{
		Type: TypeRequest, ID: testID, Action: "report/v1:a.b_c-D", Payload: json.RawMessage(`{"x" : [1e400,"\ud800"]}`), Mode: ModeAsync,
		TimeoutMs: MaxDurationMs, IdempotencyKey: "key \"\\\n\u0001é😀", Group: "g", DelayMs: 1, CancelAfterMs: new(int64(0)),
		Metadata: json.RawMessage(`{"a":1}`),
	},
	{Type: TypeRequest, ID: testID, Action: "a", Payload: json.RawMessage(`null`), Mode: ModeSync, CancelAfterMs: new(int64(5))},
	{Type: TypeCancel, Ref: "1", ID: testID},
	{Type: TypeSubscribe, Ref: strings.Repeat("r", MaxRef), ID: testID, After: MaxSafeInteger, Epoch: 1},
	{Type: TypeSubscribe, Ref: "1", ID: testID},
	{Type: TypeUnsubscribe, Ref: "1", ID: testID},
	{Type: TypeList, Ref: "1"},
	{Type: TypeList, Ref: "1", Status: "failed", Action: "a", Cursor: "c", Limit: 100},
	{Type: TypeSeal, Ref: "1", ID: testID, Size: 3},
	{Type: TypeSeal, Ref: "1", ID: testID},
	{Type: TypeAuth, Ref: "1", Token: "t"},
	{Type: TypePing},
}

var serverMessages = []ServerMessage{
	{Type: TypeAck, ID: testID, Seq: 1, Epoch: 1_700_000_000_000},
	{Type: TypeProgress, ID: testID, Attempt: 1, Rev: 2, Percent: new(12.5), Message: "half \u2028"},
	{Type: TypeChunk, ID: testID, Seq: 2, Attempt: 1, Data: json.RawMessage(`[ 9007199254740993 ]`)},
	{Type: TypeAttempt, ID: testID, Seq: 5, Attempt: 2, Keep: 2, From: 3, Code: CodeWorkerLost},
	{Type: TypeResult, ID: testID, Seq: 6, Payload: json.RawMessage(`null`)},
	{
		Type: TypeError, ID: testID, Ref: "1", Index: new(0), Seq: 6, Code: CodeInternal, Message: "m", Final: new(true), Retryable: new(false),
		Field: "/a", Hint: "h", RetryAfterMs: 5, Details: json.RawMessage(`{}`),
	},
	{
		Type: TypeSnapshot, Ref: "1", ID: testID, For: testID, Epoch: 1, Recovered: new(false), Action: "a", Status: "running", Attempt: 2,
		Keep: 1, LastSeq: 9, Progress: &Progress{Attempt: 2, Rev: 1, Percent: new(0.0), Message: "x"}, Due: 4, CancelRequested: true,
		Events: []ServerMessage{{Type: TypeAck, Seq: 1, Epoch: 1}, {Type: TypeChunk, Seq: 2, Attempt: 1, Data: json.RawMessage(`"x"`)}},
		More:   new(true),
	},
	{Type: TypeLag, ID: testID, LastSeq: 3},
	{Type: TypeOK, Ref: "1"},
	{Type: TypeCalls, Ref: "1", Cursor: "c", Calls: []Summary{
		{ID: testID, Action: "a", Status: "failed", Attempt: 1, CreatedAt: 1, LastSeq: 2, EndedAt: 3, Due: 4, Code: "c", Percent: new(1.0), CancelRequested: true},
		{},
	}},
	{Type: TypeClosing, Reason: "shutdown", Reconnect: new(true), AfterMs: 5},
	{Type: TypeClosing, Reason: "idle", Reconnect: new(false)},
	{Type: TypeSnapshot, ID: testID, Epoch: 1, Action: "a", Status: "queued", Keep: 1, LastSeq: 1, More: new(false)},
	{Type: TypeCalls, Ref: "1"},
	{Type: TypePong},
}

func TestClientMessagesRoundTrip(t *testing.T) {
	for _, m := range clientMessages {
		text := m.Append(nil)
		require.True(t, json.Valid(text), "%s", text)
		items, batch, err := DecodeClientFrame(text)
		require.Nil(t, err, "%s", text)
		require.False(t, batch)
		require.Equal(t, []ClientItem{{Message: m}}, items)
	}
}

func TestServerMessagesRoundTrip(t *testing.T) {
	frame := []byte{'['}
	for i, m := range serverMessages {
		text := m.Append(nil)
		require.True(t, json.Valid(text), "%s", text)
		got, err := DecodeServerFrame(text)
		require.Nil(t, err, "%s", text)
		require.Equal(t, []ServerMessage{m}, got)
		if i > 0 {
			frame = append(frame, ',')
		}
		frame = append(frame, text...)
	}
	got, err := DecodeServerFrame(append(frame, ']'))
	require.Nil(t, err)
	require.Equal(t, serverMessages, got)
	again, err := AppendServerFrame(got[:0], []byte(`{"type":"pong"}`))
	require.Nil(t, err)
	require.Equal(t, []ServerMessage{{Type: TypePong}}, again, "memory that is used again holds nothing of before")
}

func TestPayloadsPassByteForByte(t *testing.T) {
	for _, payload := range []string{
		`null`, `"\ud800 é \u00e9"`, `{"b":1,"b":2,"a":1e400}`, `[ 1 , 2.50 ]`, `123456789012345678901234567890`, `{"\ud800":1}`,
	} {
		text := `{"type":"request","id":"` + testID + `","action":"a","payload": ` + payload + ` }`
		items, _, err := DecodeClientFrame([]byte(text))
		require.Nil(t, err)
		require.Nil(t, items[0].Err, payload)
		require.Equal(t, payload, string(items[0].Message.Payload))
		got, err := DecodeServerFrame([]byte(`{"type":"result","payload": ` + payload + ` }`))
		require.Nil(t, err)
		require.Equal(t, payload, string(got[0].Payload))
	}
}

// request returns a request with a field added.
func request(field string) string {
	return `{"type":"request","id":"` + testID + `","action":"a",` + field + `}`
}

// Refusals that the contract's vectors do not hold.
func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct{ text, code, field string }{
		"unknown type":      {`{"type":"result"}`, CodeInvalidMessage, "type"},
		"unknown field":     {`{"type":"ping","x":{"y":[1]}}`, CodeInvalidMessage, "x"},
		"wrong case":        {`{"type":"ping","Ref":"1"}`, CodeInvalidMessage, "Ref"},
		"number for text":   {`{"type":"list","ref":1}`, CodeInvalidMessage, "ref"},
		"lone surrogate":    {`{"type":"list","ref":"\ud800x"}`, CodeInvalidMessage, "ref"},
		"UUIDv4":            {`{"type":"cancel","ref":"1","id":"0190a1b2-c3d4-4e5f-8a6b-7c8d9e0f1a2b"}`, CodeInvalidMessage, "id"},
		"long metadata":     {request(`"metadata":{"a":"` + strings.Repeat("x", 4<<10) + `"}`), CodeInvalidMessage, "metadata"},
		"after far away":    {`{"type":"subscribe","ref":"1","id":"` + testID + `","after":99999999999999999999}`, CodeInvalidMessage, "after"},
		"not UTF-8":         {"{\"type\":\"ping\"}\xff", CodeMalformed, ""},
		"control character": {"{\"type\":\"pi\nng\"}", CodeMalformed, ""},
		"bad escape":        {`{"type":"\x"}`, CodeMalformed, ""},
		"short escape":      {`{"type":"\u12`, CodeMalformed, ""},
		"escape at the end": {`{"type":"\`, CodeMalformed, ""},
		"bad low surrogate": {`{"type":"\ud800\uzzzz"}`, CodeMalformed, ""},
		"something follows": {`{"type":"ping"} {}`, CodeMalformed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			items, _, err := DecodeClientFrame([]byte(tc.text))
			if err == nil {
				require.Len(t, items, 1)
				err = items[0].Err
			}
			require.NotNil(t, err)
			require.Equal(t, tc.code, err.Code, err.Message)
			require.Equal(t, tc.field, err.Field, err.Message)
			require.NotEmpty(t, err.Error())
		})
	}
}

// Messages at limits that the contract's vectors do not hold.
func TestLimitsAreReached(t *testing.T) {
	for _, text := range []string{
		request(`"timeoutMs":2592000000,"delayMs":0,"cancelAfterMs":0`),
		request(`"timeoutMs":1.0,"delayMs":1e2`),
		"\t{ \"type\" :\r\n \"ping\" } ",
		`{"type":"list","ref":"\ud83d\ude00\b\f\n\r\t\/\"\\"}`,
	} {
		items, _, err := DecodeClientFrame([]byte(text))
		require.Nil(t, err, text)
		require.Nil(t, items[0].Err, text)
	}
}

func TestBatches(t *testing.T) {
	ping := `{"type":"ping"}`
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(ping+",", n), ",") + "]" }
	items, batch, err := DecodeClientFrame([]byte(many(MaxBatch)))
	require.Nil(t, err)
	require.True(t, batch)
	require.Len(t, items, MaxBatch)
	for _, text := range []string{many(MaxBatch + 1), `[]`, `[[` + ping + `]]`} {
		_, batch, err = DecodeClientFrame([]byte(text))
		require.True(t, batch)
		require.Equal(t, CodeInvalidBatch, err.Code)
	}
	for _, text := range []string{`[` + ping, `[` + ping + `,]`, `[` + ping + `]x`, `[` + ping + `,{"type":}]`} {
		_, _, err = DecodeClientFrame([]byte(text))
		require.Equal(t, CodeMalformed, err.Code, text)
	}
	// A bad element does not affect the others, and its error has its id and ref.
	items, _, err = DecodeClientFrame([]byte(`[` + ping + `,5,{"type":"list","ref":"\ud800"},{"x":1,"ref":"7","id":"` + testID + `","type":"cancel"},{"\ud800":1},` + ping + `]`))
	require.Nil(t, err)
	require.Len(t, items, 6)
	for i, bad := range []bool{false, true, true, true, true, false} {
		require.Equal(t, bad, items[i].Err != nil, i)
	}
	require.Equal(t, "7", items[3].Message.Ref)
	require.Equal(t, testID, items[3].Message.ID)
	require.Equal(t, TypeCancel, items[3].Message.Type)
}

func TestClientsAreLenient(t *testing.T) {
	got, err := DecodeServerFrame([]byte(`[
		{"type":"chunk","id":"x","seq":2,"new":{"a":[1,{}]},"data":1},
		{"type":"tomorrow","seq":"two","events":5,"calls":null,"progress":[],"final":1,"percent":"x"},
		{"type":"chunk","seq":-1},
		{"type":"progress","\ud800":1,"message":"\ud800"},
		{"type":"chunk","seq":2,"message":5,"more":null,"events":{"a":[{}]},"progress":[]},
		{"message":"Internal server error","connectionId":"c"},
		{"type":"calls","calls":["",{"id":5}],"ref":"1"},
		{"type":"snapshot","events":["",{"seq":"x"}],"ref":"1"},
		5, [1], null,
		{"type":"pong","type":"pong"}
	]`))
	require.Nil(t, err)
	types := make([]string, len(got))
	for i := range got {
		types[i] = got[i].Type
	}
	require.Equal(t, []string{TypeChunk, TypeUnreadable, TypeUnreadable, TypeUnreadable, TypeChunk, "", TypeUnreadable, TypeUnreadable, "", "", "", TypePong}, types)
	require.EqualValues(t, 2, got[0].Seq)
	require.EqualValues(t, 2, got[4].Seq, "fields of other types are not known, whatever is in them")
	for _, text := range []string{``, `{`, `[1`, `x`, "\xff", `{"type":"pong"}}`, `{"type":"progress","percent":1e}`, `{"events":[{]}`, `{"calls":[""}`, `{"events":[5}`} {
		_, err := DecodeServerFrame([]byte(text))
		require.NotNil(t, err, text)
		require.Equal(t, CodeMalformed, err.Code)
	}
	got, err = DecodeServerFrame([]byte(`{"type":"snapshot","events":[{"type":"snapshot","events":[{"type":"ack"}],"progress":{"x":1,"rev":2},"calls":[{"x":1}]}]}`))
	require.Nil(t, err)
	require.Len(t, got[0].Events, 1)
	require.Empty(t, got[0].Events[0].Events, "events hold no events")
}
