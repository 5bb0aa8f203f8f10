package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Floods: much of what is allowed.
var floods = []attack{
	{"connections with a token", floodConnections},
	{"handshakes with wrong tokens", floodHandshakes},
	{"messages, answers unread", floodUnread},
	{"messages, answers read", floodRead},
	{"large answers, unread", floodAnswers},
	{"inline calls that never end", floodInline},
	{"calls that are stored, and followed", floodStreams},
	{"subscriptions to what is not there", floodSubscriptions},
	{"one id, a thousand times", floodOneID},
	{"cancels of ids that never come", floodCancels},
	{"lists and pages, unread", floodPages},
	{"tokens in band", floodAuth},
	{"batches: huge, deep, endless", floodBatches},
	{"payloads that decode badly", floodPayloads},
}

// everybody does something n times, w of them at a time.
func everybody(n, w int64, do func()) {
	var begun atomic.Int64
	var workers sync.WaitGroup
	for range w {
		workers.Go(func() {
			for begun.Add(1) <= n {
				do()
			}
		})
	}
	workers.Wait()
}

// A tenant gets four fifths of the places at most, and others the rest.
func floodConnections(a *assault) string {
	var got outcomeCounts
	sockets := make(chan *rawSocket, attackedConnections+100)
	everybody(attackedConnections+100, 32, func() {
		p, err := a.open(a.token)
		got.note(err)
		if err == nil {
			sockets <- p
		}
	})
	open := got.count("ok")
	require.LessOrEqual(a, open, attackedConnections*4/5)
	require.Greater(a, open, attackedConnections/2)
	require.Equal(a, attackedConnections+100, open+got.count("503 unavailable"), "%s", &got)
	a.dial(a.mint("acme", "bob"), "there is room for others")
	close(sockets)
	for p := range sockets {
		_ = p.Close()
	}
	return got.String()
}

func floodHandshakes(a *assault) string {
	var got outcomeCounts
	token := forged()
	everybody(1500, 16, func() {
		_, err := a.open(token)
		got.note(err)
	})
	require.Equal(a, 1500, got.count("401 unauthorized")+got.count("503 unavailable"), "%s", &got)
	return got.String()
}

// writeUnread writes the same frames again and again to sockets that are not
// read, until the server has taken none for a moment, or closes them. It
// returns how often they were taken. A server that reads on for ever is found by
// the time that has passed.
func (a *assault) writeUnread(frames []byte) int64 {
	var taken atomic.Int64
	a.withSockets(func(p *rawSocket) {
		for end := time.Now().Add(2 * waitFor); time.Now().Before(end); taken.Add(1) {
			_ = p.SetWriteDeadline(time.Now().Add(700 * time.Millisecond))
			if _, err := p.Write(frames); err != nil {
				return
			}
		}
		assert.Fail(a, "the server continues to read from a client that does not read")
	})
	return taken.Load()
}

func pings(n int) []byte {
	return bytes.Repeat(frame(finBit|opText, []byte(`{"type":"ping"}`)), n)
}

// The server stops reading from a client that does not read answers.
func floodUnread(a *assault) string {
	return fmt.Sprintf("%d taken, then not read", 500*a.writeUnread(pings(500)))
}

func floodRead(a *assault) string {
	var answered atomic.Int64
	a.withSockets(func(p *rawSocket) {
		frames := pings(100)
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); answered.Add(100) {
			_, err := p.Write(frames)
			for n := 0; n < 100 && err == nil; n++ {
				_, err = p.next()
			}
			if !assert.NoError(a, err) {
				return
			}
		}
	})
	return fmt.Sprintf("%d answered", answered.Load())
}

// Answers of 95 KB, 200 MB in all, and none is read for a while: refused as
// soon as it is known how large they are; and if too many were made all the
// same, the connection is closed.
func floodAnswers(a *assault) string {
	p := a.dial(a.token)
	sent := 0
	for range 2048 {
		_ = p.SetWriteDeadline(time.Now().Add(2 * time.Second))
		if p.writeText(`{"type":"request","id":"%s","action":"big","payload":97000}`, client.NewID()) != nil {
			break
		}
		sent++
	}
	a.othersCall()
	var got outcomeCounts
	end := false
	for {
		m, err := p.next()
		if err != nil {
			got.note(err)
			end = true
			break
		}
		got.add(strings.TrimSpace(m.kind() + " " + m.Reason))
		if got.count("result")+got.count("error overloaded") == sent { // all answered
			break
		}
	}
	require.True(a, got.count("error overloaded") > 0 || end || sent < 2048, "all are taken, and answered: %s", &got)
	return fmt.Sprintf("of %d: %s", sent, &got)
}

// One tenant's calls leave places for others', also when it comes back.
func floodInline(a *assault) string {
	var got outcomeCounts
	var ids []string
	for _, refused := range []int{attackedInline / 5, attackedInline} {
		p := a.dial(a.token)
		for range attackedInline {
			id := client.NewID()
			ids = append(ids, id)
			a.send(p, `{"type":"request","id":"%s","action":"wait"}`, id)
		}
		for range refused {
			m := a.next(p)
			require.Equal(a, "overloaded", m.Code)
			require.Positive(a, m.RetryAfterMs)
			got.add(m.Code)
		}
		_ = p.Close()
	}
	a.othersCall()
	// They would be there for the attacks to come, too.
	p := a.dial(a.token)
	for _, id := range ids {
		require.Equal(a, "ok", a.roundTrip(p, `{"type":"cancel","ref":"c","id":"%s"}`, id).Type)
	}
	return fmt.Sprintf("of %d: %s", len(ids), &got)
}

// One connection follows so many streams and no more; what was stored for
// later is its tenant's own.
func floodStreams(a *assault) string {
	p := a.dial(a.token)
	var got outcomeCounts
	for range attackedStreams + 200 {
		m := a.roundTrip(p, `{"type":"request","id":"%s","action":"later","delayMs":3600000}`, client.NewID())
		got.add(m.kind())
	}
	require.LessOrEqual(a, got.count("ack"), attackedStreams+1)
	require.Equal(a, attackedStreams+200, got.count("ack")+got.count("error overloaded"), "%s", &got)
	return got.String()
}

func batch(messages ...string) string { return "[" + strings.Join(messages, ",") + "]" }

func floodSubscriptions(a *assault) string {
	a.withSockets(func(p *rawSocket) {
		one := fmt.Sprintf(`{"type":"subscribe","ref":"s","id":"%s"}`, client.NewID())
		for range 30 {
			err := p.writeText("%s", batch(slices.Repeat([]string{one}, 64)...))
			for n := 0; n < 64 && err == nil; n++ {
				var m reply
				m, err = p.next()
				assert.Equal(a, "not_found", m.Code)
			}
			if !assert.NoError(a, err) {
				return
			}
		}
	})
	return "7680 × not_found"
}

// One id is one call, and each of the thousand is answered.
func floodOneID(a *assault) string {
	p := a.dial(a.token)
	var got outcomeCounts
	for _, mode := range []string{"auto", "async"} {
		one := fmt.Sprintf(`{"type":"request","id":"%s","action":"echo","payload":1,"mode":"%s"}`, client.NewID(), mode)
		for range 500 {
			a.send(p, "%s", one)
		}
		a.send(p, `{"type":"list","ref":"l"}`)
	}
	for got.count("calls") < 2 || got.count("result")+got.count("snapshot")+got.count("ack") < 1000 {
		m := a.next(p)
		got.add(m.Type)
		require.NotEqual(a, "error", m.Type, m.raw)
	}
	m := a.roundTrip(p, `{"type":"list","ref":"m"}`)
	for m.Ref != "m" {
		m = a.next(p)
	}
	require.Len(a, m.Calls, 1, "one was stored, once")
	return got.String()
}

// Cancels are remembered, so many, and answered like any others.
func floodCancels(a *assault) string {
	p := a.dial(a.token)
	var got outcomeCounts
	for range 20 {
		var cancels []string
		for range 64 {
			cancels = append(cancels, fmt.Sprintf(`{"type":"cancel","ref":"c","id":"%s"}`, client.NewID()))
		}
		a.send(p, "%s", batch(cancels...))
		a.countReplies(p, 64, &got)
	}
	require.Equal(a, 1280, got.count("ok"), "%s", &got)
	return got.String()
}

func floodPages(a *assault) string {
	p := a.dial(a.token)
	id := client.NewID()
	require.Equal(a, "ack", a.roundTrip(p, `{"type":"request","id":"%s","action":"big","payload":97000,"mode":"async"}`, id).Type)
	require.Equal(a, "result", a.next(p).Type)
	both := fmt.Sprintf(`[{"type":"list","ref":"l","limit":100},{"type":"subscribe","ref":"s","id":"%s"}]`, id)
	const n = 300
	for range n {
		_ = p.SetWriteDeadline(time.Now().Add(waitFor))
		a.send(p, "%s", both)
	}
	a.othersCall()
	var got outcomeCounts
	a.countReplies(p, 2*n, &got)
	return "read in the end: " + got.String()
}

func floodAuth(a *assault) string {
	p := a.dial(a.token)
	wrong := forged()
	for range 500 {
		a.send(p, `{"type":"auth","ref":"a","token":"%s"}`, wrong)
	}
	var got outcomeCounts
	a.countReplies(p, 500, &got)
	require.Equal(a, 500, got.count("error unauthorized"), "%s", &got)
	require.Equal(a, "reconnect_required", a.roundTrip(p, `{"type":"auth","ref":"a","token":"%s"}`, a.mint("acme", "ann")).Code)
	return got.String()
}

func floodBatches(a *assault) string {
	p := a.dial(a.token)
	var got outcomeCounts
	ping := `{"type":"ping"}`
	for _, send := range []string{
		batch(slices.Repeat([]string{ping}, 65)...), // one too many
		batch(slices.Repeat([]string{ping}, 2001)...),
		batch(), batch(batch(ping)), batch(ping, batch()),
		strings.Repeat("[", 30_000), strings.Repeat("[", 100) + strings.Repeat("]", 100),
		`{"type":` + strings.Repeat(`{"a":`, 5000),
		"[" + strings.Repeat(ping+",", 63), "[" + strings.Repeat(",", 30_000),
		strings.Repeat(ping, 2000), "[" + ping + "]]", strings.Repeat(" ", 32_000),
	} {
		m := a.roundTrip(p, "%s", send)
		require.Equal(a, "error", m.Type, m.raw)
		got.add(m.Code)
	}
	// Sixty-four bad ones are sixty-four errors, each with its place.
	a.send(p, "%s", batch(slices.Repeat([]string{`{"type":"x"}`}, 64)...))
	for i := range 64 {
		m := a.next(p)
		require.Equal(a, i, *m.Index)
		got.add(m.Code)
	}
	// A batch without end.
	q := a.dial(a.token)
	a.write(q, frame(opText, []byte("[")))
	for err := error(nil); err == nil; {
		_, err = q.Write(frame(opContinue, bytes.Repeat([]byte(ping+","), 50)))
	}
	got.note(q.end())
	return got.String()
}

func floodPayloads(a *assault) string {
	p := a.dial(a.token)
	var got outcomeCounts
	for _, payload := range []string{
		strings.Repeat("[", 62) + strings.Repeat("]", 62), // as deep as it may be
		strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
		"[" + strings.Repeat("0,", 15_000) + "0]",
		"{" + strings.Repeat(`"a":0,`, 5000) + `"a":0}`,
		"1" + strings.Repeat("0", 30_000), "1e999999999", "-0.0e-999999999",
		`"` + strings.Repeat(`\u0000`, 5000) + `"`,
		`"` + strings.Repeat(`\ud800`, 5000) + `"`,
	} {
		for _, action := range []string{"echo", "typed"} {
			m := a.roundTrip(p, `{"type":"request","id":"%s","action":"%s","payload":%s}`, client.NewID(), action, payload)
			got.add(m.kind())
			if m.Type == "result" {
				require.Equal(a, payload, string(m.Payload), "byte for byte")
			}
			if action == "typed" {
				require.Equal(a, "error", m.Type)
			}
		}
	}
	return got.String()
}
