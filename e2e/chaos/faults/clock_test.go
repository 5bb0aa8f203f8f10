package faults

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A program that is built so sees its wall clock step while it runs, both ways,
// and its monotonic time go on as if nothing were.
func TestClockSteps(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles package time anew")
	}
	dir := t.TempDir()
	program, err := BuildClocked(t.Context(), dir, "./testdata/now", "")
	require.NoError(t, err)
	clock, err := NewClock(filepath.Join(dir, "offset"))
	require.NoError(t, err)

	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), clock.Environment())
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	tell := func() (wall int64, monotonic int) {
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		_, err = fmt.Sscan(lines.Text(), &wall, &monotonic)
		require.NoError(t, err)
		return wall, monotonic
	}
	for _, hours := range []int64{0, 5, -5, 0} {
		require.NoError(t, clock.Set(hours*3600))
		wall, monotonic := tell()
		require.InDelta(t, time.Now().Unix()+hours*3600, wall, 30)
		require.Less(t, monotonic, 60)
	}
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// When package time changes, this must be looked at again, and not do nothing.
func TestUnknownTimeIsRefused(t *testing.T) {
	_, err := patchNow("package time\n\nfunc Now() Time { return other() }\n")
	require.ErrorContains(t, err, "does not look")
	changed, err := patchNow("func Now() Time {\n" + nowBefore + "}\n")
	require.NoError(t, err)
	require.Contains(t, changed, "chaosOffset()")
}

func TestOverlaysAreJoined(t *testing.T) {
	name := filepath.Join(t.TempDir(), "more.json")
	require.NoError(t, os.WriteFile(name, []byte(`{"Replace":{"a.go":"b.go"}}`), 0o600))
	o := &overlay{map[string]string{"time.go": "x.go"}}
	require.NoError(t, o.add(name))
	require.Equal(t, map[string]string{"time.go": "x.go", "a.go": "b.go"}, o.Replace)
	require.NoError(t, os.WriteFile(name, []byte("{"), 0o600))
	require.Error(t, o.add(name))
}
