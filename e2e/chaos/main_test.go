package main

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/campaign"
	"github.com/pay-theory/streamer/e2e/chaos/serverproc"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args    string
		ok      bool
		message string
		kills   int
	}{
		{"", true, "", 1000},
		{"-seed 7", true, "", 1000},
		{"-kills 3 -points random,sent.ack", true, "", 3},
		{"-kills 3 -points random -points sent.ack", true, "", 3},
		{"-points nowhere", false, "no point", 0},
		{"-seed x", false, "seed", 0},
		{"now", false, "flags only", 0},
		{"-what", false, "not defined", 0},
	} {
		var out bytes.Buffer
		o, err := parse(strings.Fields(c.args), &out)
		require.Equal(t, c.ok, err == nil, "%v: %s", c.args, &out)
		require.Contains(t, out.String(), c.message, "%v", c.args)
		if c.ok {
			require.Equal(t, c.kills, o.Kills)
		}
	}
	var out bytes.Buffer
	_, err := parse([]string{"--help"}, &out)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, out.String(), "checkpoint.during")
	require.Contains(t, out.String(), "-seed")
}

// The command that is printed with a failure makes the same plan.
func TestReplayMakesTheSamePlan(t *testing.T) {
	for _, points := range [][]serverproc.Point{nil, {"random"}, {"random", "sent.ack"}} {
		o := &campaign.PlanOptions{Seed: 1 << 40, Kills: 120, Points: points}
		want, err := campaign.NewPlan(o)
		require.NoError(t, err)
		command := strings.Fields(replay(o, 2))
		require.Equal(t, []string{"go", "run", "./e2e/chaos"}, command[:3])
		again, err := parse(command[3:], t.Output())
		require.NoError(t, err)
		got, err := campaign.NewPlan(again)
		require.NoError(t, err)
		require.Equal(t, want[1:2], got)
	}
}
