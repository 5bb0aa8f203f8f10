package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go/internal/wire"
	"github.com/stretchr/testify/require"
)

const (
	inline Action[int, None, int] = "inline"
	stream Action[int, int, int]  = "stream"
)

// TestManyCallsOverABadNetwork runs many calls at a time while connections are
// cut and frames are doubled, overtaken and held back.
func TestManyCallsOverABadNetwork(t *testing.T) {
	h := newHost(t)
	r := newRobot(h, true)
	timing := quick
	timing.Foreign = time.Millisecond
	c := h.client(&Options{timing: timing})
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			n, err := inline.With(i).Await(within(t), c)
			if err != nil || n != i {
				t.Errorf("inline %d: %d, %v", i, n, err)
			}
		})
		wg.Go(func() {
			n, chunks, err := stream.With(i%40).Collect(within(t), c)
			if err != nil || n != i%40 || len(chunks) != n {
				t.Errorf("stream of %d: %d with %v, %v", i%40, n, chunks, err)
				return
			}
			for k, v := range chunks {
				if k != v {
					t.Errorf("stream of %d: %v", n, chunks)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d cuts", r.cuts.Load())
}

func TestSlowReader(t *testing.T) {
	h := newHost(t)
	c, p := h.open(&Options{Buffer: 1, timing: quick}) // that is 16 KiB
	type big = string
	call, err := Action[params, big, string]("big").With(params{}).Start(within(t), c)
	require.NoError(t, err)
	id := p.next(wire.TypeRequest).ID
	data := `"` + strings.Repeat("x", 4<<10) + `"`
	p.send(ackOf(id))
	for seq := uint64(2); seq < 12; seq++ {
		p.send(chunkOf(id, seq, data))
	}
	stop := p.next(wire.TypeUnsubscribe) // nobody reads, and it is full: it asks for silence
	p.send(okOf(stop.Ref))
	p.send(progressMsg(id, 1, 1, 50))
	served := make(chan struct{})
	go func() {
		defer close(served)
		for after := uint64(0); after < 9; {
			m := p.next(wire.TypeSubscribe)
			after = m.After
			var events []wire.ServerMessage
			for seq := after + 1; seq < min(after+3, 12); seq++ {
				events = append(events, chunkOf(id, seq, data))
			}
			if after >= 9 {
				events = append(events, resultMsg(id, 12, `"done"`))
			}
			p.send(pageOf(m.Ref, id, 12, after < 9, events...))
		}
	}()
	var seqs []uint64
	for e, err := range call.Events(within(t)) {
		require.NoError(t, err)
		if e.Kind == KindChunk {
			seqs = append(seqs, e.Seq)
			c.mu.Lock()
			cost := call.f.call.Reader.BufferSize()
			c.mu.Unlock()
			require.Less(t, cost, 16<<10+3*(5<<10))
		}
	}
	require.Equal(t, []uint64{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, seqs)
	<-served
}

func TestResultWithoutReading(t *testing.T) {
	h := newHost(t)
	c, p := h.open(&Options{Buffer: 1, timing: quick})
	call, err := Action[params, string, string]("big").With(params{}).Start(within(t), c)
	require.NoError(t, err)
	id := p.next(wire.TypeRequest).ID
	data := `"` + strings.Repeat("x", 4<<10) + `"`
	wait := later(t, func() (string, error) { return call.Result(within(t)) })
	p.send(ackOf(id))
	for seq := uint64(2); seq < 12; seq++ {
		p.send(chunkOf(id, seq, data))
	}
	p.send(resultMsg(id, 12, `"done"`))
	go func() { // it may have stopped listening before anybody waited
		for m := range p.in {
			switch m.Type {
			case wire.TypeUnsubscribe:
				p.send(okOf(m.Ref))
			case wire.TypeSubscribe:
				events := []wire.ServerMessage{ackOf(id)}
				for seq := max(2, m.After+1); seq < 12; seq++ {
					events = append(events, chunkOf(id, seq, data))
				}
				p.send(pageOf(m.Ref, id, 12, false, append(events, resultMsg(id, 12, `"done"`))...))
			}
		}
	}()
	got, err := wait()
	require.NoError(t, err)
	require.Equal(t, "done", got)
	// A reader that comes now has all the events, pulled again.
	n := 0
	for e, err := range call.Events(within(t)) {
		require.NoError(t, err)
		if e.Kind == KindChunk {
			n++
		}
	}
	require.Equal(t, 10, n)
	p.cut()
	<-p.gone
	close(p.in)
	h.accept()
}

func TestLagIsPulled(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	wait := later(t, func() ([]row, error) {
		_, rows, err := report.With(params{}).Collect(within(t), c)
		return rows, err
	})
	id := p.next(wire.TypeRequest).ID
	p.send(ackOf(id), chunkOf(id, 2, `{"n":1}`), wire.ServerMessage{Type: wire.TypeLag, ID: id, LastSeq: 4})
	m := p.next(wire.TypeSubscribe)
	require.EqualValues(t, 2, m.After)
	p.send(pageOf(m.Ref, id, 4, true, chunkOf(id, 3, `{"n":2}`)))
	m = p.next(wire.TypeSubscribe)
	require.EqualValues(t, 3, m.After)
	p.send(pageOf(m.Ref, id, 5, false, chunkOf(id, 4, `{"n":3}`), resultMsg(id, 5, `"x"`)))
	rows, err := wait()
	require.NoError(t, err)
	require.Equal(t, []row{{1}, {2}, {3}}, rows)
}

func TestTwoReadersAndBreaks(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	call, err := report.With(params{}).Start(within(t), c)
	require.NoError(t, err)
	id := p.next(wire.TypeRequest).ID
	p.send(ackOf(id), chunkOf(id, 2, `{"n":1}`), chunkOf(id, 3, `"no row"`), chunkOf(id, 4, `{"n":3}`), resultMsg(id, 5, `"x"`))
	var got []string
	for e := range call.Events(within(t)) {
		got = append(got, fmt.Sprint(e.Seq))
		for _, err := range call.Events(within(t)) {
			require.ErrorContains(t, err, "one reader at a time")
		}
		break
	}
	for e, err := range call.Events(within(t)) { // goes on behind the first
		got = append(got, fmt.Sprint(e.Seq, err != nil))
	}
	require.Equal(t, []string{"2", "3 true", "4 false", "5 false"}, got)

	call, err = report.With(params{}).Start(within(t), c)
	require.NoError(t, err)
	p.next(wire.TypeRequest)
	call.Detach()
	call.Detach()
	_, err = call.Result(within(t))
	require.ErrorIs(t, err, ErrDetached)
}

func TestAttachedIsNotFound(t *testing.T) {
	h := newHost(t)
	c, p := h.open(nil)
	_, err := report.Attach(c, "x")
	require.ErrorIs(t, err, &Error{Code: CodeInvalidMessage})
	id := NewID()
	call, err := report.Attach(c, id)
	require.NoError(t, err)
	m := p.next(wire.TypeSubscribe)
	p.send(errorMsg("", m.Ref, CodeNotFound, true))
	require.ErrorIs(t, call.Accepted(within(t)), &Error{Code: CodeNotFound})
	_, err = call.Result(within(t))
	require.ErrorIs(t, err, &Error{Code: CodeNotFound})
}

func TestTooManyCalls(t *testing.T) {
	h := newHost(t)
	c, p := h.open(&Options{MaxCalls: 1, timing: quick})
	_, err := report.With(params{}).Start(within(t), c)
	require.NoError(t, err)
	p.next(wire.TypeRequest)
	_, err = report.With(params{}).Start(within(t), c)
	require.ErrorIs(t, err, &Error{Code: CodeOverloaded})
}

func TestPack(t *testing.T) {
	small := []byte(`{"type":"ping"}`)
	frame, n := pack(nil, [][]byte{small})
	require.Equal(t, 1, n)
	require.Equal(t, small, frame)

	queue := make([][]byte, 100)
	for i := range queue {
		queue[i] = small
	}
	frame, n = pack(nil, queue)
	require.Equal(t, wire.MaxBatch, n)
	var batch []json.RawMessage
	require.NoError(t, json.Unmarshal(frame, &batch))
	require.Len(t, batch, n)

	for size := 16<<10 - 4; size < 16<<10+4; size++ { // two that just fit, or just do not
		big := bytes.Repeat([]byte{'1'}, size)
		frame, n = pack(nil, [][]byte{big, big, big})
		require.LessOrEqual(t, len(frame), wire.MaxClientMessage)
		require.Equal(t, 2*size+3 <= wire.MaxClientMessage, n == 2)
	}
	whole := bytes.Repeat([]byte{'1'}, wire.MaxClientMessage)
	frame, n = pack(nil, [][]byte{whole, small})
	require.Equal(t, 1, n)
	require.Len(t, frame, wire.MaxClientMessage)
}

func BenchmarkInline(b *testing.B) {
	for _, flight := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint(flight), func(b *testing.B) {
			c := echo(b)
			b.ReportAllocs()
			b.ResetTimer()
			work := make(chan struct{}, flight)
			var wg sync.WaitGroup
			for range flight {
				wg.Go(func() {
					for range work {
						if _, err := inline.With(5).Await(b.Context(), c); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			wg.Wait()
		})
	}
}
