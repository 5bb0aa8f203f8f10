package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFastActions(t *testing.T) {
	var p *latencyStats
	require.False(t, p.isFast(), "nothing is known")
	p = &latencyStats{}
	for range fastScore {
		require.False(t, p.isFast())
		p.observe(fastCall - 1)
	}
	require.True(t, p.isFast())
	for range 100 {
		p.observe(0)
	}
	for range 100 { // one in ten
		for range 9 {
			p.observe(0)
		}
		p.observe(time.Hour)
		require.True(t, p.isFast())
	}
	for range 8 {
		p.observe(time.Hour)
	}
	require.False(t, p.isFast())
	for range 100 { // two in five
		for range 3 {
			p.observe(0)
		}
		p.observe(time.Hour)
		p.observe(time.Hour)
		require.False(t, p.isFast())
	}
}

// The largest answer counts at once, and is forgotten slowly.
func TestAnswerSizes(t *testing.T) {
	var p latencyStats
	require.EqualValues(t, minAnswer, p.answerSize())
	p.observeAnswer(90_000)
	require.EqualValues(t, 90_000, p.answerSize())
	p.observeAnswer(50_000)
	require.EqualValues(t, 90_000, p.answerSize())
	for range 44 {
		p.observeAnswer(10)
	}
	require.InDelta(t, 45_000, p.answerSize(), 1_000)
	for range 1000 {
		p.observeAnswer(10)
	}
	require.EqualValues(t, minAnswer, p.answerSize())
	var none *latencyStats
	none.observeAnswer(1)
	require.EqualValues(t, minAnswer, none.answerSize())
}
