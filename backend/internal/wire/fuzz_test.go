package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
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
		if !bytes.Equal(before, data) {
			t.Fatal("the frame was changed")
		}
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON, but accepted: %q", data)
		}
		if len(items) == 0 || len(items) > MaxBatch || !batch && len(items) != 1 {
			t.Fatalf("%d items", len(items))
		}
		for _, item := range items {
			if item.Err != nil {
				if item.Err.Code == CodeMalformed {
					t.Fatalf("a malformed frame was taken apart: %q", data)
				}
				continue
			}
			m := item.Message
			again, _, err := DecodeClientFrame(m.Append(nil))
			if err != nil || again[0].Err != nil {
				t.Fatalf("%q is written as %q", data, m.Append(nil))
			}
			if !reflect.DeepEqual(again[0].Message, m) {
				t.Fatalf("%+v is read again as %+v", m, again[0].Message)
			}
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
			if json.Valid(data) && bytes.IndexByte(data, 0xff) < 0 && bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) < MaxDepth && bytes.Equal(bytes.ToValidUTF8(data, nil), data) {
				t.Fatalf("JSON, but refused: %q: %v", data, err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("not JSON, but accepted: %q", data)
		}
		for i := range msgs {
			text := msgs[i].Append(nil)
			again, err := DecodeServerFrame(text)
			if err != nil || len(again) != 1 {
				t.Fatalf("%q is written as %q: %v", data, text, err)
			}
			if second := again[0].Append(nil); !bytes.Equal(text, second) {
				t.Fatalf("%q is written again as %q", text, second)
			}
		}
	})
}
