package load

import (
	"context"
	"errors"
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
		ended, err := a.IsLast()
		if err != nil {
			t.Fatal(err)
		}
		kind := string(a.Type)
		if (a.Slot == 7) != (kind != "pong") || (a.ID() == id) != (kind != "pong") || ended != (kind == "result") {
			t.Errorf("%s has id %s, slot %d, ends: %v", kind, a.ID(), a.Slot, ended)
		}
		if a.Number("message") == 123 || a.Number("payload") == 456 {
			kind += "+"
		}
		got = append(got, kind)
	}
	if s := strings.Join(got, " "); s != "ack progress+ result+ pong" {
		t.Errorf("found %s", s)
	}
	for a := range Answers([]byte(`{"type":"error","code":"overloaded","final":false}`)) {
		if _, err := a.IsLast(); err == nil || !strings.Contains(err.Error(), "overloaded") {
			t.Errorf("an error is reported as %v", err)
		}
	}
}

func template(t *testing.T, payload any) Template {
	t.Helper()
	template, err := NewTemplate("a", "async", payload)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// Ids are UUIDv7, and different for each connection and request.
func TestIDs(t *testing.T) {
	template := template(t, 1)
	seen := map[string]bool{}
	for number := uint32(4090); number < 4100; number++ {
		for count := range uint32(10) {
			b := template.append(nil, number, 513, count)
			id := string(requestID(b))
			if len(b) != template.Size() || seen[id] || id[14] != '7' || id[19] != '8' || strings.Count(id, "-") != 4 || slotOf(b) != 513 {
				t.Fatalf("%s is no new UUIDv7 of slot 513", b)
			}
			seen[id] = true
		}
	}
	if b := template.Request(); !strings.HasSuffix(string(b), `","action":"a","mode":"async","payload":1}`) {
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
				_ = ws.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Minute))
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

func driver(slots int) *Driver {
	return &Driver{Slots: slots, Warm: time.Millisecond, Measure: 30 * time.Millisecond, Meter: func() Used { return Used{} }}
}

// until runs a load for longer and longer until it has measured something: on a
// busy machine a short one may not.
func until(t *testing.T, d *Driver, run func(context.Context, *Driver) (*Result, error), enough func(*Result) bool) *Result {
	t.Helper()
	for {
		again := &Driver{Slots: d.Slots, Rate: d.Rate, SinceSent: d.SinceSent, Call: d.Call, Warm: d.Warm, Measure: d.Measure, Meter: d.Meter}
		m, err := run(t.Context(), again)
		if err != nil || !enough(m) && d.Measure > 10*time.Second {
			t.Fatalf("%v: %v calls in %v", err, m.Calls(), d.Measure)
		}
		if enough(m) {
			return m
		}
		d.Measure *= 4
	}
}

// Requests are measured in both loops, with frames of all lengths, and the
// connections can be used again.
func TestRequests(t *testing.T) {
	target := echo(t, func(s string) string {
		return "[" + strings.Replace(s, "request", "ack", 1) + "," + s + "," + strings.Replace(s, "request", "chunk", 1) + "]"
	})
	for _, payload := range []string{"", strings.Repeat("y", 1000), strings.Repeat("y", 30_000)} {
		ended := make(chan string, 1000)
		r := &Requests{Conns: dial(t, target, 3), Template: template(t, payload), Each: func(id string) { ended <- id }}
		closed := driver(12)
		closed.Calls = 100
		_, err := r.Run(t.Context(), closed)
		if err != nil || len(ended) != 100 {
			t.Errorf("%v: %d of 100 ended", err, len(ended))
		}
		r.Each = nil
		m := until(t, driver(12), r.Run, func(m *Result) bool { return m.Calls() > 0 && m.Ack.Count() > 0 })
		if m.Rate() <= 0 || m.During < 30*time.Millisecond {
			t.Errorf("%v per second within %v", m.Rate(), m.During)
		}
		open := driver(100)
		open.Rate, open.Warm = 1000, 0
		if m, err = r.Run(t.Context(), open); err != nil || m.Calls() != 30 {
			t.Errorf("%v: %v of 30 calls are measured", err, m.Calls())
		}
	}
}

// A driver without a connection makes calls, and measures until the time that
// they return.
func TestCalls(t *testing.T) {
	for _, rate := range []float64{0, 1000} {
		d := driver(8)
		d.Rate, d.SinceSent = rate, true
		d.Call = func(_ context.Context, _ int) (int64, error) { return time.Now().Add(time.Hour).UnixNano(), nil }
		run := func(ctx context.Context, d *Driver) (*Result, error) { return d.Run(ctx) }
		m := until(t, d, run, func(m *Result) bool { return m.Calls() > 0 })
		if m.Latency.Quantile(0) < maxLatency/2 {
			t.Errorf("a call took %v", m.Latency.Quantile(0))
		}
		d = driver(8)
		d.Rate, d.Measure = rate, time.Hour
		failed := errors.New("failed")
		d.Call = func(context.Context, int) (int64, error) { return 0, failed }
		if _, err := d.Run(t.Context()); !errors.Is(err, failed) {
			t.Errorf("a call that failed ends the run with %v", err)
		}
	}
	behind := driver(1)
	behind.Rate, behind.Measure = 1000, time.Hour
	behind.Call = func(ctx context.Context, _ int) (int64, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	if _, err := behind.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "behind") {
		t.Errorf("a server that answers nothing ends the run with %v", err)
	}
}

// What goes wrong is returned, and ends the load at once.
func TestRequestsEndWithErrors(t *testing.T) {
	servers := map[string]func(string) string{
		"closed":     func(string) string { return "" },
		"overloaded": func(string) string { return `{"type":"error","code":"overloaded"}` },
		"not asked":  func(string) string { return `{"type":"result","payload":1}` },
	}
	for want, answer := range servers {
		for _, rate := range []float64{0, 1000} {
			r := &Requests{Conns: dial(t, echo(t, answer), 2), Template: template(t, 1)}
			d := driver(1000)
			d.Rate, d.Measure = rate, time.Hour
			// Writing may fail before the reason is read.
			if _, err := r.Run(t.Context(), d); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "write") {
				t.Errorf("%s, rate %v: %v", want, rate, err)
			}
		}
	}
	failed := errors.New("failed")
	conns := dial(t, echo(t, func(s string) string { return s }), 2)
	err := ForEach(t.Context(), conns, func(i int, c *Conn) error {
		if i == 0 {
			return failed
		}
		return c.Exchange([]byte("{}"), func([]byte) (bool, error) { return false, nil })
	})
	if !errors.Is(err, failed) {
		t.Errorf("one of several connections failed with %v", err)
	}
}

func TestRecorder(t *testing.T) {
	r := NewRecorder()
	if r.Quantile(0.5) != 0 || r.Count() != 0 {
		t.Error("an empty recorder has quantiles")
	}
	for i := range 1000 {
		r.Record(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		if got := r.Quantile(q); got < want*999/1000 || got > want*1001/1000 {
			t.Errorf("quantile %v is %v, not %v", q, got, want)
		}
	}
	r.Record(-time.Second)
	r.Record(time.Hour)
	if r.Count() != 1002 || r.Quantile(0) != 0 || r.Quantile(1) < maxLatency {
		t.Errorf("%d durations from %v to %v", r.Count(), r.Quantile(0), r.Quantile(1))
	}
}
