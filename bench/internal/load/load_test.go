package load

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Messages are found one by one, alone and in a batch, with their slots.
func TestAnswers(t *testing.T) {
	const id = `0190d5a2-7b3c-7d4e-8f01-00070000002a`
	frame := `[{"type":"ack","id":"` + id + `","seq":1,"epoch":5},{"type":"progress","id":"` + id + `","message":"123"},` +
		`{"type":"result","id":"` + id + `","seq":2,"payload":456},{"type":"pong"}]`
	var got []string
	for a := range Answers([]byte(frame)) {
		ended, err := a.end()
		if err != nil {
			t.Fatal(err)
		}
		if want := string(a.Type) != "pong"; (a.Slot == 7) != want {
			t.Errorf("%s has slot %d", a.Type, a.Slot)
		}
		if ended != (string(a.Type) == "result") {
			t.Errorf("%s ends: %v", a.Type, ended)
		}
		got = append(got, string(a.Type)+string(a.Field("message"))+string(a.Field("payload")))
	}
	if s := strings.Join(got, " "); s != "ack progress123 result456 pong" {
		t.Errorf("found %s", s)
	}
	for a := range Answers([]byte(`{"type":"error","code":"overloaded","final":false}`)) {
		if _, err := a.end(); err == nil || !strings.Contains(err.Error(), "overloaded") {
			t.Errorf("an error is reported as %v", err)
		}
	}
}

// Ids are UUIDv7, and different for each connection and request.
func TestIDs(t *testing.T) {
	template := NewTemplate("a", "async", []byte(`1`))
	seen := map[string]bool{}
	for number := uint32(4090); number < 4100; number++ {
		for count := range uint32(10) {
			b := template.append(nil, number, 513, count)
			if len(b) != template.Size() {
				t.Fatalf("%d bytes, not %d", len(b), template.Size())
			}
			id := string(b[len(template.head):][:idSize])
			if seen[id] || id[14] != '7' || id[19] != '8' || strings.Count(id, "-") != 4 {
				t.Fatalf("%s is no new UUIDv7", id)
			}
			if slot := slotOf(b); slot != 513 {
				t.Fatalf("slot 513 is read as %d", slot)
			}
			seen[id] = true
		}
	}
	want := `","action":"a","mode":"async","payload":1}`
	if b := template.append(nil, 1, 1, 1); !strings.HasSuffix(string(b), want) {
		t.Errorf("a request is %s", b)
	}
}

// echo is a real server, of which answer makes what it answers; empty: it
// closes.
func echo(t *testing.T, answer func(string) string) Target {
	t.Helper()
	upgrader := websocket.Upgrader{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = ws.Close() }()
		for {
			_, data, err := ws.ReadMessage()
			if err != nil {
				return
			}
			text := answer(string(data))
			if text == "" {
				_ = ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
				return
			}
			if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(s.Close)
	return Target{URL: "ws" + strings.TrimPrefix(s.URL, "http")}
}

func dial(t *testing.T, target Target, n int) []*Conn {
	t.Helper()
	conns, err := DialAll(t.Context(), target, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseAll(conns) })
	return conns
}

var short = NewTemplate("a", "", []byte(`1`))

// long makes frames whose lengths take 16 and, of answers, 64 bits.
var long = NewTemplate("a", "", []byte(`"`+strings.Repeat("y", 30_000)+`"`))

func TestLoops(t *testing.T) {
	target := echo(t, func(s string) string { return s })
	batches := echo(t, func(s string) string {
		return "[" + strings.Replace(s, "request", "ack", 1) + "," + s + "," + strings.Replace(s, "request", "chunk", 1) + "]"
	})
	for _, template := range []Template{short, long} {
		c := Closed{Conns: dial(t, target, 3), Template: template, Window: 4, Warm: time.Millisecond, Measure: 30 * time.Millisecond}
		for range 2 { // connections can be used again
			m, err := c.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if m.Calls == 0 || m.Latency.Count() != m.Calls || m.During < c.Measure || m.Rate() <= 0 || m.Ack.Count() != 0 ||
				m.WirePerCall() < float64(template.Size()) {
				t.Errorf("%d calls, %d latencies, %d acks in %v", m.Calls, m.Latency.Count(), m.Ack.Count(), m.During)
			}
		}
		c.Conns = dial(t, batches, 2)
		if m, err := c.Run(t.Context()); err != nil || m.Ack.Count() == 0 {
			t.Errorf("%v; no acks are measured", err)
		}
		o := Open{Conns: dial(t, target, 3), Template: template, Rate: 1000, Measure: 50 * time.Millisecond, Took: SinceDue}
		h, err := o.Run(t.Context())
		if err != nil || h.Count() != 50 {
			t.Errorf("%v; %d of 50 are measured", err, h.Count())
		}
	}
}

// What goes wrong is said, and ends the load at once.
func TestLoopsEndWithErrors(t *testing.T) {
	servers := map[string]func(string) string{
		"closed":     func(string) string { return "" },
		"overloaded": func(string) string { return `{"type":"error","code":"overloaded"}` },
		"not asked":  func(string) string { return `{"type":"result","payload":1}` },
	}
	for want, answer := range servers {
		target := echo(t, answer)
		c := Closed{Conns: dial(t, target, 2), Template: short, Window: 1, Measure: time.Hour}
		if _, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: a closed loop says %v", want, err)
		}
		if want == "not asked" {
			continue // nobody waits for an answer in an open loop
		}
		o := Open{Conns: dial(t, target, 2), Template: short, Rate: 1000, Measure: 10 * time.Millisecond, Took: SinceDue}
		if _, err := o.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "pipe") {
			t.Errorf("%s: an open loop says %v", want, err)
		}
		if err := Follow(t.Context(), dial(t, target, 2), short, func(int, int64, *Answer) {}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: following says %v", want, err)
		}
	}
}
