package wire

import (
	"encoding/json"
	"slices"
	"testing"
)

// benchClient are the frames that a busy server reads most.
var benchClient = map[string][]byte{
	"ping":      []byte(`{"type":"ping"}`),
	"request":   []byte(`{"type":"request","id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","action":"report.generate","payload":{"quarter":"2026-q3","rows":[1,2,3,4,5,6,7,8],"text":"some words to skip over"},"mode":"async","timeoutMs":60000,"idempotencyKey":"2026-q3","metadata":{"trace":"abc"}}`),
	"batch":     []byte(`[{"type":"ping"},{"type":"cancel","ref":"1","id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"},{"type":"list","ref":"\u0032","status":"running","limit":50},{"type":"request","id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","action":"user.get","payload":{"id":17,"text":"gr\u00fcn","list":[{"a":null,"b":-1.5e3},true]}}]`),
	"subscribe": []byte(`{"type":"subscribe","ref":"17","id":"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b","after":12345,"epoch":1700000000000}`),
}

func BenchmarkDecodeClient(b *testing.B) {
	for name, data := range benchClient {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				items, _, err := DecodeClientFrame(data)
				if err != nil || items[0].Err != nil {
					b.Fatal(err, items)
				}
			}
		})
	}
}

func BenchmarkDecodeServer(b *testing.B) {
	for _, name := range []string{TypeProgress, TypeChunk, TypeResult, TypeError, TypeSnapshot} {
		b.Run(name, func(b *testing.B) {
			m := serverMessageOf(name)
			if name == TypeChunk {
				m.Data = json.RawMessage(`{"i":17,"attempt":1,"text":"some words to skip over"}`)
			}
			data := m.Append(nil)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var out []ServerMessage
			for b.Loop() {
				var err *Error
				if out, err = AppendServerFrame(out[:0], data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	m := serverMessageOf(TypeSnapshot)
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = m.Append(out[:0])
	}
}

func serverMessageOf(kind string) ServerMessage {
	return serverMessages[slices.IndexFunc(serverMessages, func(m ServerMessage) bool { return m.Type == kind })]
}
