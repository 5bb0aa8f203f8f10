package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func scan(text string, maxDepth int) *Scanner {
	s := &Scanner{}
	s.Reset([]byte(text), maxDepth)
	return s
}

func TestSkipChecksTheGrammar(t *testing.T) {
	for text, want := range map[string]error{
		`{}`: nil, `[]`: nil, `""`: nil, `0`: nil, `-0.5e+10`: nil, `1E-9`: nil, `true`: nil, `false`: nil, `null`: nil,
		"\t{ \"a\" :\r\n [ 1 , {} ] } ": nil,
		`"\"\\\/\b\f\n\r\t\u00e9"`:      nil,
		`{"a":1,"a":2}`:                 nil, // names are not compared
		`"\ud800"`:                      nil, // nor surrogates
		``:                              errTooEarly,
		` `:                             errTooEarly,
		`[`:                             errTooEarly,
		`[1,`:                           errTooEarly,
		`{"a":`:                         errTooEarly,
		`{`:                             errName,
		`{1:2}`:                         errName,
		`{"a":1,}`:                      errName,
		`{"a" 1}`:                       errColon,
		`{"a":1 "b":2}`:                 errObjectEnd,
		`{"a":1`:                        errObjectEnd,
		`{"a":1]`:                       errObjectEnd,
		`[1 2]`:                         errArrayEnd,
		`[1}`:                           errArrayEnd,
		`[1,]`:                          errNotJSON,
		`tru`:                           errNotJSON,
		`'a'`:                           errNotJSON,
		"\x00":                          errTooEarly,
		`-`:                             errNumber,
		`1.`:                            errNumber,
		`1e`:                            errNumber,
		`1e+`:                           errNumber,
		`01`:                            ErrTrailing,
		`.5`:                            errNotJSON,
		`1 2`:                           ErrTrailing,
		"1\x00":                         ErrTrailing,
		`"a`:                            errStringEnd,
		`"a\`:                           errStringEnd,
		`"a\x"`:                         ErrEscape,
		`"a\u12`:                        ErrUnicodeEscape,
		`"a\u12g4"`:                     ErrUnicodeEscape,
		"\"a long string, and \n in it": ErrControl,
		"\"\x1f\"":                      ErrControl,
		"\"\xff\"":                      ErrUTF8,
	} {
		s := scan(text, 3)
		s.SkipValue()
		s.ExpectEnd()
		require.Equal(t, want, s.Err(), text)
	}
}

func TestDepthIsLimited(t *testing.T) {
	for _, pair := range []string{`[]`, `{"a":}`} {
		open, end := pair[:len(pair)-1], pair[len(pair)-1:]
		for depth, want := range map[int]error{4: nil, 5: ErrDepth, 100_000: ErrDepth} {
			s := scan(strings.Repeat(open, depth-1)+`[]`+strings.Repeat(end, depth-1), 4)
			s.SkipValue()
			require.Equal(t, want, s.Err())
		}
	}
	s := scan(`[[],[[]]]`, 3) // siblings do not add up
	s.SkipValue()
	require.NoError(t, s.Err())
}

func TestStringsAreDecoded(t *testing.T) {
	long := strings.Repeat("long é ", 20)
	for text, want := range map[string]string{
		`""`: "", `"a"`: "a", `"é😀"`: "é😀", `"` + long + `"`: long,
		`"\"\\\/\b\f\n\r\t"`: "\"\\/\b\f\n\r\t", `"` + long + `\u00E9` + long + `"`: long + "é" + long, `"\ud83d\ude00"`: "😀", `"\u0000"`: "\x00",
	} {
		got, lone := scan(text, 0).String()
		require.Equal(t, want, string(got), text)
		require.False(t, lone, text)
	}
	for text, want := range map[string]string{
		`"\ud800"`: "\uFFFD", `"a\udc00b"`: "a\uFFFDb", `"\ud800\u0041"`: "\uFFFDA", `"\ud800\ud83d\ude00"`: "\uFFFD😀", `"\ud800\n"`: "\uFFFD\n",
	} {
		s := scan(text, 0)
		got, lone := s.String()
		require.Equal(t, want, string(got), text)
		require.True(t, lone, text)
		require.NoError(t, s.Err())
	}
	for _, text := range []string{`"\ud800\uzzzz"`, `"\ud8`, `"\`, `"a`, "\"\\n\n\"", `"\ud83d\ude00`, `5`, ``} {
		s := scan(text, 0)
		got, _ := s.String()
		require.Nil(t, got, text)
		require.Error(t, s.Err(), text)
	}
}

// Every byte is tested at every position in a word of eight bytes.
func TestStringsEndWhereTheyShould(t *testing.T) {
	for before := range 20 {
		for c := range 0x80 {
			s := scan(`"`+strings.Repeat("~", before)+string(rune(c))+`é~~~~~~~~~~~~"`, 0)
			got, _ := s.String()
			switch {
			case c == '"':
				require.Len(t, got, before)
			case c == '\\':
				require.Equal(t, ErrEscape, s.Err())
			case c < 0x20:
				require.Equal(t, ErrControl, s.Err())
				require.Equal(t, before+1, s.Offset())
			default:
				require.Len(t, got, before+1+len("é")+12)
			}
		}
	}
}

func TestObjectsAndArrays(t *testing.T) {
	frame := ` {"a" : [1, "x", null, true,-2.5] , "\u0062":{"raw": [1 , 2]}} `
	s := scan(frame, 3)
	requireName := func(want string) {
		name, lone := s.FieldName()
		require.Equal(t, want, string(name))
		require.False(t, lone)
	}
	requireNumber := func(want string, wantPlain bool) {
		number, plain := s.Number()
		require.Equal(t, want, string(number))
		require.Equal(t, wantPlain, plain)
	}
	require.EqualValues(t, '{', s.Peek())
	require.True(t, s.Enter('}'))
	requireName("a")
	require.EqualValues(t, '[', s.Peek())
	require.True(t, s.Enter(']'))
	requireNumber("1", true)
	require.True(t, s.More(']'))
	require.EqualValues(t, '"', s.Peek())
	text, _ := s.String()
	require.Equal(t, "x", string(text))
	require.True(t, s.More(']'))
	require.False(t, s.Literal("true"))
	require.True(t, s.Literal("null"))
	require.True(t, s.More(']'))
	require.True(t, s.Literal("true"))
	require.True(t, s.More(']'))
	requireNumber("-2.5", false)
	require.False(t, s.More(']'))
	require.True(t, s.More('}'))
	requireName("b")
	require.Equal(t, `{"raw": [1 , 2]}`, string(s.RawValue()))
	require.False(t, s.More('}'))
	s.ExpectEnd()
	require.NoError(t, s.Err())
	require.Equal(t, len(frame), s.Offset())
}

// After an error nothing more is read, and the error is kept.
func TestTheFirstErrorStays(t *testing.T) {
	s := scan(`{"a":tru,"b":1}`, 1)
	require.True(t, s.Enter('}'))
	_, _ = s.FieldName()
	require.Nil(t, s.RawValue())
	require.Equal(t, errNotJSON, s.Err())
	require.Equal(t, 5, s.Offset())
	require.Zero(t, s.Peek())
	require.False(t, s.More('}'))
	require.False(t, s.More(']'))
	require.False(t, s.Literal("tru"))
	require.False(t, s.Enter('}'))
	name, _ := s.FieldName()
	require.Nil(t, name)
	text, _ := s.String()
	require.Nil(t, text)
	number, _ := s.Number()
	require.Nil(t, number)
	s.SkipValue()
	s.ExpectEnd()
	require.Equal(t, errNotJSON, s.Err())
	require.Equal(t, 5, s.Offset())
	s.Reset([]byte(`1`), 0)
	s.SkipValue()
	require.NoError(t, s.Err())
}

func TestFieldsAreUnique(t *testing.T) {
	s := scan(`{"a": [1, {}],"A":"x","\ud800":null}`, 3)
	require.Equal(t, map[string]json.RawMessage{"a": json.RawMessage(`[1, {}]`), "A": json.RawMessage(`"x"`), "\uFFFD": json.RawMessage(`null`)}, s.Fields())
	require.NoError(t, s.Err())
	for text, want := range map[string]error{
		`{"a":1,"a":1}`: ErrTwice, `{"a":1,"\u0061":1}`: ErrTwice, `{"\ud800":1,"\udc00":1}`: ErrTwice,
		`[]`: errNotJSON, `null`: errNotJSON, ``: errNotJSON, `{"a":1`: errObjectEnd, `{"a":[[]]}`: ErrDepth,
	} {
		s := scan(text, 2)
		s.Fields()
		require.Equal(t, want, s.Err(), text)
	}
}

func TestNumbersOfAllForms(t *testing.T) {
	for text, plain := range map[string]bool{"0": true, "-0": true, "10": true, "-123456789012345678901234567890": true, "0.10": false, "1e5": false, "-1.5E-07": false} {
		got, isPlain := scan(text+" ", 0).Number()
		require.Equal(t, text, string(got))
		require.Equal(t, plain, isPlain, text)
	}
	require.True(t, BeginsNumber('-'))
	require.False(t, BeginsNumber('+'))
	require.False(t, BeginsNumber(0))
}
