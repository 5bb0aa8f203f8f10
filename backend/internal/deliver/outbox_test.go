package deliver

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Against a model: what was posted leaves once, in order; what was put leaves
// in its newest form, in the place of the oldest unsent one; frames are JSON,
// and no larger than a server's message; one writer at a time.
func TestOutbox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		starts := 0
		o := Outbox{opt: OutboxOptions{Limit: 4096, Start: func(*Outbox) { starts++ }}}
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
		started := func() {
			require.Equal(t, !writing, starts == 1)
			writing, starts = true, 0
		}
		t.Repeat(map[string]func(*rapid.T){
			"post": func(t *rapid.T) {
				m := message()
				if err := o.Append(m); err != nil {
					require.ErrorIs(t, err, ErrFull)
					require.Greater(t, o.bytes+len(m)+overhead, o.opt.Limit)
					return
				}
				started()
				model = append(model, sent{"", count})
			},
			"put": func(t *rapid.T) {
				slot := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "slot")
				require.NoError(t, o.Put(CoalesceKey{Stream: slot}, message()))
				for i := range model {
					if model[i].slot == slot {
						require.Zero(t, starts)
						model[i].n = count
						return
					}
				}
				started()
				model = append(model, sent{slot, count})
			},
			"take": func(t *rapid.T) {
				if !writing {
					return
				}
				frame, _, ok := o.take(nil)
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

// A lag ends the events that were added before it, so a newer lag does not take
// the place of an older one.
func TestLagMovesToTheEnd(t *testing.T) {
	o := Outbox{opt: OutboxOptions{Limit: 10, Start: func(*Outbox) {}}}
	lag := CoalesceKey{Stream: "x", Type: wire.TypeLag}
	progress := CoalesceKey{Stream: "x", Type: wire.TypeProgress}
	_, _ = o.Reply([]byte(`1`))
	require.NoError(t, o.Put(lag, []byte(`2`)))
	require.NoError(t, o.Put(progress, []byte(`3`)))
	_, _ = o.Reply([]byte(`4`))
	require.NoError(t, o.Put(lag, []byte(`5`)))
	require.NoError(t, o.Put(progress, []byte(`6`)))
	frame, _, _ := o.take(nil)
	require.Equal(t, `[1,6,4,5]`, string(frame))
	require.Zero(t, o.bytes)
}

func TestClosedOutboxRefuses(t *testing.T) {
	o := Outbox{opt: OutboxOptions{Limit: 1, Start: func(*Outbox) {}}}
	_, err := o.Reply([]byte(`{"n":1}`))
	require.NoError(t, err)
	drained := o.Drained()
	require.NotNil(t, drained)
	o.Close()
	<-drained
	_, err = o.Reply([]byte(`{}`))
	require.ErrorIs(t, err, ErrGone)
	require.ErrorIs(t, o.Put(CoalesceKey{Stream: "s"}, []byte(`{}`)), ErrGone)
	require.ErrorIs(t, o.Append([]byte(`{}`)), ErrGone)
	require.Nil(t, o.Drained())
}

// CloseWith drops what waits, sends its own message, and nothing follows.
func TestCloseWith(t *testing.T) {
	o := Outbox{opt: OutboxOptions{Limit: overhead, HardLimit: overhead + 4, Start: func(*Outbox) {}}}
	_, err := o.Reply([]byte(`"1"`))
	require.NoError(t, err)
	_, err = o.Reply([]byte(`"7"`))
	require.NoError(t, err, "HardLimit was not exceeded before")
	_, err = o.Reply([]byte(`"8"`))
	require.ErrorIs(t, err, ErrFull)
	drained := o.Drained()
	require.NotNil(t, drained)
	o.CloseWith([]byte(`"bye"`), 1013)
	<-drained
	_, err = o.Reply([]byte(`"late"`))
	require.ErrorIs(t, err, ErrGone)
	frame, _, ok := o.take(nil)
	require.True(t, ok)
	require.Equal(t, `"bye"`, string(frame))
	o.CloseWith([]byte(`"bye"`), 1001)
	_, code, ok := o.take(nil)
	require.False(t, ok)
	require.Equal(t, 1013, code, "the first code counts, once")
	_, code, _ = o.take(nil)
	require.Zero(t, code)
}
