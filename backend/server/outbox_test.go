package server

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/deliver"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Against a model: what was posted leaves once, in order; what was put leaves
// in its newest form, in the place of the oldest unsent one; frames are JSON,
// and no larger than a server's message; one writer at a time.
func TestOutbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := outbox{limit: 4096}
		type sent struct {
			slot string
			n    int
		}
		var model []sent
		writing, count := false, 0
		message := func() []byte {
			count++
			pad := make([]byte, rapid.IntRange(0, 2000).Draw(t, "pad"))
			for i := range pad {
				pad[i] = 'x'
			}
			return fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, count, pad)
		}
		started := func(start bool) {
			require.Equal(t, !writing, start)
			writing = true
		}
		t.Repeat(map[string]func(*rapid.T){
			"post": func(t *rapid.T) {
				m := message()
				start, err := o.add(false, m)
				if err != nil {
					require.ErrorIs(t, err, deliver.ErrFull)
					require.Greater(t, o.bytes+len(m)+overhead, o.limit)
					return
				}
				started(start)
				model = append(model, sent{"", count})
			},
			"put": func(t *rapid.T) {
				slot := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "slot")
				start, err := o.put(deliver.Slot{Stream: slot}, message())
				require.NoError(t, err)
				for i := range model {
					if model[i].slot == slot {
						require.False(t, start)
						model[i].n = count
						return
					}
				}
				started(start)
				model = append(model, sent{slot, count})
			},
			"take": func(t *rapid.T) {
				if !writing {
					return
				}
				frame, ok := o.take(nil)
				if !ok {
					require.Empty(t, model)
					writing = false
					return
				}
				require.LessOrEqual(t, len(frame), wire.MaxServerMessage)
				if frame[0] != '[' {
					frame = append(append([]byte{'['}, frame...), ']')
				}
				var got []struct{ N int }
				require.NoError(t, json.Unmarshal(frame, &got))
				for i, m := range got {
					require.Equal(t, model[i].n, m.N)
				}
				model = model[len(got):]
			},
		})
	})
}

// A lag ends the liveness of what was said before it; so it does not take the
// place of an older one.
func TestLagMovesBehind(t *testing.T) {
	o := outbox{limit: 10}
	lag := deliver.Slot{Stream: "x", Type: wire.TypeLag}
	progress := deliver.Slot{Stream: "x", Type: wire.TypeProgress}
	_, _ = o.add(true, []byte(`1`))
	_, _ = o.put(lag, []byte(`2`))
	_, _ = o.put(progress, []byte(`3`))
	_, _ = o.add(true, []byte(`4`))
	_, _ = o.put(lag, []byte(`5`))
	_, _ = o.put(progress, []byte(`6`))
	frame, _ := o.take(nil)
	require.Equal(t, `[1,6,4,5]`, string(frame))
	require.Zero(t, o.bytes)
}

func TestOutboxCloses(t *testing.T) {
	o := outbox{limit: 1}
	_, err := o.add(true, []byte(`{"n":1}`))
	require.NoError(t, err)
	room := o.wait()
	require.NotNil(t, room)
	o.close()
	<-room
	_, err = o.add(true, []byte(`{}`))
	require.ErrorIs(t, err, deliver.ErrGone)
	_, err = o.put(deliver.Slot{Stream: "s"}, []byte(`{}`))
	require.ErrorIs(t, err, deliver.ErrGone)
	require.Nil(t, o.wait())
}
