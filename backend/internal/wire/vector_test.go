package wire

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// vector is one frame of contract/vectors with the expected result. README.md
// there explains the fields.
type vector struct {
	Name  string
	Frame string
	Parts []json.RawMessage
	Types []*string

	Code, Field, Ref, ID string
	Index, Close         *int
}

// vectors reads the files of one direction and verdict.
func vectors(t testing.TB, verdict, direction string) (all []vector) {
	t.Helper()
	if _, err := os.Stat("../../../go.work"); err != nil {
		t.Skip("SKIPPED: this module stands alone; the vectors are in the repository's contract/vectors")
	}
	files, err := filepath.Glob(filepath.Join("../../../contract/vectors", verdict, "*.json"))
	require.NoError(t, err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var file struct {
			Direction string
			Vectors   []vector
		}
		require.NoError(t, json.Unmarshal(text, &file), name)
		if file.Direction == direction {
			all = append(all, file.Vectors...)
		}
	}
	require.NotEmpty(t, all)
	return all
}

// bytes makes the frame.
func (v *vector) bytes(t testing.TB) []byte {
	t.Helper()
	out := []byte(v.Frame)
	for _, p := range v.Parts {
		var text string
		if json.Unmarshal(p, &text) == nil {
			out = append(out, text...)
			continue
		}
		var part struct {
			Repeat []any
			Hex    string
		}
		require.NoError(t, json.Unmarshal(p, &part))
		if part.Repeat != nil {
			out = append(out, strings.Repeat(part.Repeat[0].(string), int(part.Repeat[1].(float64)))...)
		}
		raw, err := hex.DecodeString(part.Hex)
		require.NoError(t, err)
		out = append(out, raw...)
	}
	return out
}

func TestValidClientVectors(t *testing.T) {
	for _, v := range vectors(t, "valid", "client") {
		t.Run(v.Name, func(t *testing.T) {
			frame := v.bytes(t)
			require.LessOrEqual(t, len(frame), MaxClientMessage)
			items, batch, err := DecodeClientFrame(frame)
			require.Nil(t, err)
			require.Equal(t, strings.TrimSpace(string(frame))[0] == '[', batch)
			for i := range items {
				require.Nil(t, items[i].Err)
				again, _, err := DecodeClientFrame(items[i].Message.Append(nil))
				require.Nil(t, err)
				require.Equal(t, items[i], again[0], "what was read and written is read the same again")
			}
		})
	}
}

func TestInvalidClientVectors(t *testing.T) {
	for _, v := range vectors(t, "invalid", "client") {
		t.Run(v.Name, func(t *testing.T) {
			frame := v.bytes(t)
			if v.Close != nil {
				require.Equal(t, CloseTooBig, *v.Close)
				require.Greater(t, len(frame), MaxClientMessage, "the socket refuses it")
				return
			}
			items, _, err := DecodeClientFrame(frame)
			at := 0
			if v.Index != nil {
				at = *v.Index
			}
			m := ClientMessage{}
			if err == nil {
				for i := range items {
					require.Equal(t, i == at, items[i].Err != nil, "message %d", i)
				}
				err, m = items[at].Err, items[at].Message
			} else {
				require.Nil(t, v.Index, "a refusal of the whole frame has no index")
			}
			require.Equal(t, v.Code, err.Code, err.Message)
			require.Equal(t, v.Field, err.Field, err.Message)
			if v.Ref != "" {
				require.Equal(t, v.Ref, m.Ref, "the answer finds its question")
			}
			require.NotEmpty(t, err.Message)
		})
	}
}

func TestServerVectors(t *testing.T) {
	for _, verdict := range []string{"valid", "invalid"} {
		for _, v := range vectors(t, verdict, "server") {
			t.Run(v.Name, func(t *testing.T) {
				msgs, err := DecodeServerFrame(v.bytes(t))
				if v.Code != "" {
					require.NotNil(t, err)
					require.Equal(t, v.Code, err.Code, err.Message)
					return
				}
				require.Nil(t, err)
				require.Len(t, msgs, len(v.Types))
				for i, want := range v.Types {
					if want == nil {
						want = new(string) // a foreign frame has no type
					}
					require.Equal(t, *want, msgs[i].Type)
					if verdict == "invalid" {
						continue
					}
					again, err := DecodeServerFrame(msgs[i].Append(nil))
					require.Nil(t, err)
					require.Equal(t, msgs[i:i+1], again, "what was read and written is read the same again")
				}
			})
		}
	}
}
