package journal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, name string, run int, entries ...Entry) {
	t.Helper()
	w, err := Open(name, run)
	require.NoError(t, err)
	for i := range entries {
		require.NoError(t, w.Write(&entries[i]))
	}
	require.NoError(t, w.Close())
}

func TestEntriesComeBackInOrder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	before := Now()
	write(t, name, 1, Entry{What: Ask, ID: "a", Action: "job", Data: []byte(`{"chunks":3}`)}, Entry{What: Ack, ID: "a", To: "a"})
	write(t, name, 2, Entry{What: End, ID: "a", Code: "cancelled"})
	got, err := Load(name)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, []What{Ask, Ack, End}, []What{got[0].What, got[1].What, got[2].What})
	require.Equal(t, 1, got[1].Run)
	require.Equal(t, 2, got[2].Run)
	require.GreaterOrEqual(t, got[0].At, before)
	require.JSONEq(t, `{"chunks":3}`, string(got[0].Data))
}

func TestNoJournalIsAnEmptyOne(t *testing.T) {
	got, err := Load(filepath.Join(t.TempDir(), "none"))
	require.NoError(t, err)
	require.Empty(t, got)
}

// A process that dies in the middle of a line spoils that line alone.
func TestTornLineIsLeftOut(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	write(t, name, 1, Entry{What: Ask, ID: "a"})
	tear(t, name)
	write(t, name, 2, Entry{What: Ask, ID: "b"})
	got, err := Load(name)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, "b", got[1].ID)
}

// A damaged line that its writer outlived is no accident: something else wrote
// into the journal.
func TestDamageIsAnError(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal")
	write(t, name, 1, Entry{What: Ask, ID: "a"})
	tear(t, name)
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("\n{\"id\":\"b\"}\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = Load(name)
	require.ErrorContains(t, err, "damaged")
}

func tear(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(`{"at":1,"id":"to`)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
