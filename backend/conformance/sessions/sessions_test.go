package sessions_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/conformance/sessions"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is built into programs can be played, without the repository.
func TestTranscriptsCanBeRead(t *testing.T) {
	for side, dir := range map[conformance.Side]fs.FS{conformance.Server: sessions.Server(), conformance.Client: sessions.Client()} {
		list, err := conformance.Load(dir)
		require.NoError(t, err)
		for _, tr := range list {
			if tr.Tests != side {
				t.Errorf("%s tests a %s, and lies with those for a %s", tr.Name, tr.Tests, side)
			}
		}
	}
}

// The copy is the same as what it is a copy of, file by file.
func TestTranscriptsAreThoseOfTheRepository(t *testing.T) {
	if _, err := os.Stat("../../../go.work"); err != nil {
		t.Skip("SKIPPED: this module stands alone; there is nothing to compare with")
	}
	for name, copied := range map[string]fs.FS{"server": sessions.Server(), "client": sessions.Client()} {
		original := os.DirFS(filepath.Join("../../../contract/sessions", name))
		ours, theirs := texts(t, copied), texts(t, original)
		for file, text := range theirs {
			if !bytes.Equal(ours[file], text) {
				t.Errorf("%s/%s is not the same here as in contract/sessions; go generate copies it", name, file)
			}
		}
		for file := range ours {
			if _, ok := theirs[file]; !ok {
				t.Errorf("%s/%s is no longer in contract/sessions; go generate removes it", name, file)
			}
		}
	}
}

func texts(t *testing.T, dir fs.FS) map[string][]byte {
	t.Helper()
	files, err := fs.Glob(dir, "*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	out := map[string][]byte{}
	for _, file := range files {
		if out[file], err = fs.ReadFile(dir, file); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
