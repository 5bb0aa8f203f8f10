package wire

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, at := range []time.Time{time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(1_700_000_000_123), time.UnixMilli(1<<48 - 1)} {
		for range 100 {
			id := NewIDAt(at)
			require.True(t, ValidID(id), id)
			require.Equal(t, at.UnixMilli(), IDTime(id).UnixMilli())
			require.False(t, seen[id])
			seen[id] = true
		}
	}
	require.WithinDuration(t, time.Now(), IDTime(NewID()), time.Minute)
	for _, bad := range []string{
		"", "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2", "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b0", "0190A1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b",
		"0190a1b2-c3d4-6e5f-8a6b-7c8d9e0f1a2b", "0190a1b2-c3d4-7e5f-ca6b-7c8d9e0f1a2b", "0190a1b2-c3d4-7e5f-7a6b-7c8d9e0f1a2b",
		"0190a1b2-c3d4-7e5f-:a6b-7c8d9e0f1a2b", "0190a1b20c3d4-7e5f-8a6b-7c8d9e0f1a2b", "0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2g",
		"0190a1b2-c3d4-7e5f-8a6b07c8d9e0f1a2b", "0190a1b2-c3d4-7-5f-8a6b-7c8d9e0f1a2b",
	} {
		require.False(t, ValidID(bad), bad)
	}
}

func TestCodes(t *testing.T) {
	for code, info := range Codes {
		require.NotEmpty(t, info.Hint, code)
		require.Regexp(t, `^[a-z_]{1,64}$`, code)
		m := ErrorMessage(code, "text", true)
		require.Equal(t, info.Retryable, *m.Retryable)
		require.True(t, *m.Final)
	}
	require.True(t, Codes[CodeNotStreamer].Fatal)
	require.False(t, Codes[CodeTokenExpired].Fatal)
	require.True(t, Reconnects[CloseTokenExpired])
	for _, m := range append(clientMessages, ClientMessage{Type: ReasonTokenExpired}) {
		require.LessOrEqual(t, len(m.Type), longestWord, "longestWord must be the longest word's length")
		w, ok := internWord([]byte(m.Type))
		require.True(t, ok)
		require.Equal(t, m.Type, w)
	}
}
