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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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
		require.NoError(t, err)
		kind := string(a.Type)
		assert.Equal(t, kind != "pong", a.Slot == 7, "%s has slot %d", kind, a.Slot)
		assert.Equal(t, kind != "pong", a.ID() == id, "%s has id %s", kind, a.ID())
		assert.Equal(t, kind == "result", ended, kind)
		if a.Number("message") == 123 || a.Number("payload") == 456 {
			kind += "+"
		}
		got = append(got, kind)
	}
	assert.Equal(t, []string{"ack", "progress+", "result+", "pong"}, got)
	for a := range Answers([]byte(`{"type":"error","code":"overloaded","final":false}`)) {
		_, err := a.IsLast()
		assert.ErrorContains(t, err, "overloaded")
	}
}

func template(t *testing.T, payload any) Template {
	t.Helper()
	template, err := NewTemplate("a", "async", payload)
	require.NoError(t, err)
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
			require.Len(t, b, template.Size())
			require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$`, id)
			require.EqualValues(t, 513, slotOf(b))
			require.False(t, seen[id], "%s comes twice", id)
			seen[id] = true
		}
	}
	assert.Regexp(t, `","action":"a","mode":"async","payload":1}$`, string(template.Request()))
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
	require.NoError(t, err)
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
		require.NoError(t, err)
		if enough(m) {
			return m
		}
		require.LessOrEqual(t, d.Measure, 10*time.Second, "%v calls", m.Calls())
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
		require.NoError(t, err)
		assert.Len(t, ended, 100)
		r.Each = nil
		m := until(t, driver(12), r.Run, func(m *Result) bool { return m.Calls() > 0 && m.Ack.Count() > 0 })
		assert.Positive(t, m.Rate())
		assert.GreaterOrEqual(t, m.During, 30*time.Millisecond)
		open := driver(100)
		open.Rate, open.Warm = 1000, 0
		m, err = r.Run(t.Context(), open)
		require.NoError(t, err)
		assert.Equal(t, 30, m.Latency.Count())
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
		assert.GreaterOrEqual(t, m.Latency.Quantile(0), maxLatency/2)
		d = driver(8)
		d.Rate, d.Measure = rate, time.Hour
		failed := errors.New("failed")
		d.Call = func(context.Context, int) (int64, error) { return 0, failed }
		_, err := d.Run(t.Context())
		assert.ErrorIs(t, err, failed)
	}
	behind := driver(1)
	behind.Rate, behind.Measure = 1000, time.Hour
	behind.Call = func(ctx context.Context, _ int) (int64, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	_, err := behind.Run(t.Context())
	assert.ErrorContains(t, err, "behind")
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
			_, err := r.Run(t.Context(), d)
			require.Error(t, err)
			assert.Regexp(t, want+"|write", err.Error(), "rate %v", rate)
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
	assert.ErrorIs(t, err, failed)
}

func TestRecorder(t *testing.T) {
	r := NewRecorder()
	assert.Zero(t, r.Quantile(0.5))
	assert.Zero(t, r.Count())
	for i := range 1000 {
		r.Record(time.Duration(i+1) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second} {
		assert.InEpsilon(t, want, r.Quantile(q), 0.001, "quantile %v", q)
	}
	r.Record(-time.Second)
	r.Record(time.Hour)
	assert.Equal(t, 1002, r.Count())
	assert.Zero(t, r.Quantile(0))
	assert.GreaterOrEqual(t, r.Quantile(1), maxLatency)
}
