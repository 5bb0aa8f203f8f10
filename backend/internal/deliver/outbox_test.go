package deliver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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
			pad := rapid.IntRange(0, 2000).Draw(t, "pad")
			return fmt.Appendf(nil, `{"n":%d,"pad":"%s"}`, count, strings.Repeat("x", pad))
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
				if i := slices.IndexFunc(model, func(s sent) bool { return s.slot == slot }); i >= 0 {
					require.Zero(t, starts)
					model[i].n = count
					return
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
					frame = fmt.Appendf(nil, "[%s]", frame)
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
	o := Outbox{opt: OutboxOptions{Limit: 10, Start: sendLater}}
	lag := CoalesceKey{Stream: "x", Type: wire.TypeLag}
	progress := CoalesceKey{Stream: "x", Type: wire.TypeProgress}
	require.NoError(t, reply(&o, `1`))
	require.NoError(t, o.Put(lag, []byte(`2`)))
	require.NoError(t, o.Put(progress, []byte(`3`)))
	require.NoError(t, reply(&o, `4`))
	require.NoError(t, o.Put(lag, []byte(`5`)))
	require.NoError(t, o.Put(progress, []byte(`6`)))
	frame, _, _ := o.take(nil)
	require.Equal(t, `[1,6,4,5]`, string(frame))
	require.Zero(t, o.bytes)
}

func TestClosedOutboxRefuses(t *testing.T) {
	o := Outbox{opt: OutboxOptions{Limit: 1, Start: sendLater}}
	require.NoError(t, reply(&o, `{"n":1}`))
	drained := o.Drained()
	require.NotNil(t, drained)
	o.Close()
	<-drained
	require.ErrorIs(t, reply(&o, `{}`), ErrGone)
	require.ErrorIs(t, o.Put(CoalesceKey{Stream: "s"}, []byte(`{}`)), ErrGone)
	require.ErrorIs(t, o.Append([]byte(`{}`)), ErrGone)
	require.Nil(t, o.Drained())
}

// CloseWith drops what waits, sends its own message, and nothing follows.
func TestCloseWith(t *testing.T) {
	o := Outbox{opt: OutboxOptions{Limit: overhead, HardLimit: overhead + 4, Start: sendLater}}
	require.NoError(t, reply(&o, `"1"`))
	require.NoError(t, reply(&o, `"7"`), "HardLimit was not exceeded before")
	require.ErrorIs(t, reply(&o, `"8"`), ErrFull)
	drained := o.Drained()
	require.NotNil(t, drained)
	o.CloseWith([]byte(`"bye"`), 1013)
	<-drained
	require.ErrorIs(t, reply(&o, `"late"`), ErrGone)
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
