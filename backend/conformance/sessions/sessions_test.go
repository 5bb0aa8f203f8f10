package sessions_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The copy is the same as what it is a copy of, file by file; go generate copies.
func TestTranscriptsAreThoseOfTheRepository(t *testing.T) {
	if _, err := os.Stat("../../../go.work"); err != nil {
		t.Skip("SKIPPED: this module stands alone; there is nothing to compare with")
	}
	for name, copied := range map[string]fs.FS{"server": sessions.Server(), "client": sessions.Client()} {
		assert.Equal(t, texts(t, os.DirFS(filepath.Join("../../../contract/sessions", name))), texts(t, copied))
	}
}

func texts(t *testing.T, dir fs.FS) map[string]string {
	t.Helper()
	files, err := fs.Glob(dir, "*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(dir, file)
		require.NoError(t, err)
		out[file] = string(text)
	}
	return out
}
