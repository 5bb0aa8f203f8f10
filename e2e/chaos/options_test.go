package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/e2e/chaos/plan"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args  []string
		code  int
		ok    bool
		says  string
		kills int
	}{
		{nil, exitPass, true, "", defaultKills},
		{[]string{"-short", "-seed", "7"}, exitPass, true, "", shortRun},
		{[]string{"-kills", "3", "-points", "random, told.ack"}, exitPass, true, "", 3},
		{[]string{"--help"}, exitPass, false, "checkpoint.during", 0},
		{[]string{"-kills", "0"}, exitUnable, false, "-kills", 0},
		{[]string{"-short", "-kills", "9"}, exitUnable, false, "different things", 0},
		{[]string{"-points", "nowhere"}, exitUnable, false, "no point", 0},
		{[]string{"-parallel", "0"}, exitUnable, false, "-parallel", 0},
		{[]string{"-world", "-1"}, exitUnable, false, "-world", 0},
		{[]string{"now"}, exitUnable, false, "flags only", 0},
		{[]string{"-what"}, exitUnable, false, "not defined", 0},
	} {
		var out bytes.Buffer
		o, code, ok := parse(c.args, &out)
		require.Equal(t, c.ok, ok, "%v: %s", c.args, &out)
		require.Equal(t, c.code, code, "%v", c.args)
		require.Contains(t, out.String(), c.says, "%v", c.args)
		if ok {
			require.Equal(t, c.kills, o.kills)
		}
	}
}

// The command that is printed with a failure makes the same plan.
func TestReplayMakesTheSamePlan(t *testing.T) {
	o, _, ok := parse([]string{"-kills", "50", "-points", "random,told.ack"}, os.Stderr)
	require.True(t, ok)
	require.Equal(t, "go run ./e2e/chaos", o.replay(2)[:18])
	var args []string
	for _, arg := range bytes.Fields([]byte(o.replay(2)))[3:] {
		args = append(args, string(arg))
	}
	again, _, ok := parse(args, os.Stderr)
	require.True(t, ok)
	require.Equal(t, 2, again.world)
	drawn := func(o *options) plan.Plan {
		p, err := plan.New(plan.Options{Seed: o.seed, Kills: o.kills, Points: o.points})
		require.NoError(t, err)
		return p
	}
	require.Equal(t, drawn(o), drawn(again))
}

func TestDirectory(t *testing.T) {
	o := &options{}
	require.NoError(t, o.directory())
	require.DirExists(t, o.dir)
	o.tidy()
	require.NoDirExists(t, o.dir)

	kept := &options{keep: filepath.Join(t.TempDir(), "kept")}
	require.NoError(t, kept.directory())
	kept.tidy()
	require.DirExists(t, kept.dir, "it is the user's")
	require.NoError(t, os.Mkdir(filepath.Join(kept.dir, "world-003"), 0o700))
	require.ErrorContains(t, kept.directory(), "another run")
}
