package session

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTimersFireInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	var h timers
	all := make([]*timer, 200)
	for i := range all {
		all[i] = &timer{}
		h.reset(all[i], time.Duration(random.IntN(100)))
	}
	for range 500 {
		x := all[random.IntN(len(all))]
		switch random.IntN(3) {
		case 0:
			h.stop(x)
		case 1:
			h.reset(x, noDeadline)
		default:
			h.reset(x, time.Duration(random.IntN(100)))
		}
	}
	set := 0
	for _, x := range all {
		if x.index > 0 {
			set++
		}
	}
	last := time.Duration(-1)
	for ; len(h) > 0; set-- {
		require.GreaterOrEqual(t, h.earliest(), last)
		last = h.earliest()
		h.stop(h[0])
	}
	require.Zero(t, set)
	require.Equal(t, noDeadline, h.earliest())
}
