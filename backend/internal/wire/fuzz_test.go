package wire

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// seeds are frames of all kinds, good and bad.
func seeds(f *testing.F) {
	for i := range clientMessages {
		f.Add(clientMessages[i].Append(nil))
	}
	for i := range serverMessages {
		f.Add(serverMessages[i].Append(nil))
	}
	for _, text := range []string{
		``, `[]`, `[{"type":"ping"},5]`, `{"type":"list","ref":"\ud800\u0041"}`, `{"\ud800":1}`, `{"message":"x"}`,
		`{"type":"request","payload":{"\ud800":[1e400,-0.5e-3,"\u00e9"]}}`, "{\"type\":\"\xff\"}", `{"type":"snapshot","events":[{"events":[{}]}]}`,
		`{"type":"request","timeoutMs":1.0}`, `[[{}]]`, `{"type":"ping"} x`,
	} {
		f.Add([]byte(text))
	}
}

// FuzzDecodeClientFrame: accepted frames are JSON within all limits, and can be
// written and read again.
func FuzzDecodeClientFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		items, batch, err := DecodeClientFrame(data)
		require.Equal(t, before, data, "the frame was changed")
		if err != nil {
			return
		}
		require.True(t, json.Valid(data), "accepted: %q", data)
		require.True(t, batch || len(items) == 1)
		require.NotEmpty(t, items)
		require.LessOrEqual(t, len(items), MaxBatch)
		for _, item := range items {
			if item.Err != nil {
				require.NotEqual(t, CodeMalformed, item.Err.Code, "a malformed frame was taken apart: %q", data)
				continue
			}
			again, _, err := DecodeClientFrame(item.Message.Append(nil))
			require.Nil(t, err)
			require.Equal(t, []ClientItem{item}, again, "as it is read again")
		}
	})
}

// FuzzDecodeServerFrame: exactly JSON of bounded depth is accepted, and reading the
// written messages again gives the same.
func FuzzDecodeServerFrame(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		msgs, err := DecodeServerFrame(data)
		if err != nil {
			shallow := bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) < MaxDepth
			require.False(t, json.Valid(data) && utf8.Valid(data) && shallow, "JSON, but refused: %q: %v", data, err)
			return
		}
		require.True(t, json.Valid(data), "accepted: %q", data)
		for i := range msgs {
			text := msgs[i].Append(nil)
			again, err := DecodeServerFrame(text)
			require.Nil(t, err, "%q is written as %q", data, text)
			require.Len(t, again, 1)
			require.Equal(t, string(text), string(again[0].Append(nil)), "as it is written again")
		}
	})
}
