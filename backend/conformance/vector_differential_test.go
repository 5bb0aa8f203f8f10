package conformance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// zero is what a writer may leave out.
var zero = regexp.MustCompile(`^(-?0(\.0*)?([eE].*)?|false|"")$`)

// endless are exponents that a validator with exact numbers would write out.
var endless = regexp.MustCompile(`[eE][+-]?0*[1-9][0-9]{3}`)

// agree compares the decoder with the oracle: both refuse a client's frame, or
// neither; for the same reason where the frame as a whole is refused, and
// message by message where it is not.
func agree(o *oracle, frame []byte) error {
	if endless.Match(frame) || len(frame) > o.maxClient {
		return nil
	}
	whole, messages := o.clientFrame(bytes.Clone(frame))
	items, _, refused := wire.DecodeClientFrame(frame)
	if whole != nil || refused != nil {
		return sameRefusal(whole, refused)
	}
	if len(items) != len(messages) {
		return fmt.Errorf("the decoder finds %d messages, the oracle %d", len(items), len(messages))
	}
	for i, item := range items {
		if err := sameRefusal(messages[i], item.Err); err != nil {
			return err
		}
		if item.Err != nil {
			continue
		}
		// What the decoder has read is written in a way that the schema allows.
		if again := o.message(o.client, "clientMessage", item.Message.Append(nil), i); again != nil {
			return fmt.Errorf("what was read is written as %s: %w", item.Message.Append(nil), again)
		}
	}
	return nil
}

// sameRefusal compares what the oracle and the decoder say.
func sameRefusal(want *refusal, got *wire.Error) error {
	switch {
	case want == nil && got == nil:
		return nil
	case got == nil:
		return fmt.Errorf("the decoder takes what the oracle refuses: %w", want)
	case want == nil:
		return fmt.Errorf("the decoder refuses what the oracle takes: %w", got)
	case got.Code != want.code:
		return fmt.Errorf("the decoder says %w, the oracle %w", got, want)
	}
	return nil
}

// checkOften checks a property more often than rapid does by itself: most of what is
// drawn here breaks nothing, or what was tried already.
func checkOften(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	rounds := 30
	if testing.Short() {
		rounds = 10
	}
	for range rounds {
		rapid.Check(t, property)
	}
}

// Messages drawn from the schema, and then spoilt or not: the decoder and the
// schema come to the same verdict.
func TestDecoderAndSchemaAgree(t *testing.T) {
	o := newOracle(t)
	refused, taken := 0, 0
	checkOften(t, func(t *rapid.T) {
		d := &drawer{o}
		var list []string
		for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "messages") {
			fields := d.message(t, "clientMessage")
			if rapid.IntRange(0, 3).Draw(t, "spoil") > 0 {
				fields = d.spoil(t, fields)
			}
			list = append(list, written(fields))
		}
		text := list[0]
		if len(list) > 1 || rapid.IntRange(0, 5).Draw(t, "batch") == 0 {
			text = "[" + strings.Join(list, ",") + "]"
		}
		if rapid.IntRange(0, 7).Draw(t, "garble") == 0 {
			text = garble(t, text)
		}
		require.NoError(t, agree(o, []byte(text)), "%q", text)
		if items, _, err := wire.DecodeClientFrame([]byte(text)); err != nil || items[0].Err != nil {
			refused++
		} else {
			taken++
		}
	})
	require.Positive(t, refused, "refused messages")
	require.Positive(t, taken, "messages that were taken")
}

// spoil does one thing to a message that may make it invalid.
func (d *drawer) spoil(t *rapid.T, fields []pair) []pair {
	at := rapid.IntRange(0, len(fields)-1).Draw(t, "at")
	f := &fields[at]
	switch rapid.IntRange(0, 10).Draw(t, "how") {
	case 0:
		return append(fields[:at:at], fields[at+1:]...)
	case 1:
		return append(fields, *f)
	case 2:
		return append(fields, pair{`"\u00` + fmt.Sprintf("%02x", f.key[1]) + f.key[2:], f.value})
	case 3:
		f.key = rapid.SampledFrom([]string{`"colour"`, `""`, `"Type"`, `"\ud800"`, `"ref"`, `"id"`, `"limit"`, `"payload"`, `"events"`}).Draw(t, "key")
	case 4:
		f.value = rapid.SampledFrom(odd).Draw(t, "value")
	case 5:
		f.value = rapid.SampledFrom(edges).Draw(t, "edge")
	case 6:
		n := rapid.SampledFrom([]int{0, 1, 18, 36, 37, 64, 65, 128, 129, 257, 512, 513, 4096, 8192, 8193}).Draw(t, "length")
		f.value = `"` + strings.Repeat(rapid.SampledFrom([]string{"a", "é", "😀", `\u00e9`, `\ud83d\ude00`}).Draw(t, "of"), n) + `"`
	case 7:
		n := rapid.IntRange(60, 66).Draw(t, "depth")
		f.value = strings.Repeat("[", n) + strings.Repeat("]", n)
	case 8:
		f.value = `{"a":"` + strings.Repeat("x", rapid.IntRange(4085, 4092).Draw(t, "size")) + `"}`
	case 9:
		// One character is another one.
		i := rapid.IntRange(0, len(f.value)-1).Draw(t, "in value")
		f.value = f.value[:i] + string(rapid.RuneFrom(nil, ascii).Draw(t, "letter")) + f.value[i+1:]
	case 10:
		// Another message's field, with a value that is right there.
		other := d.message(t, "clientMessage")
		return append(fields, other[rapid.IntRange(0, len(other)-1).Draw(t, "from")])
	}
	return fields
}

// ascii are the characters that need no escape.
var ascii = &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0x20, Hi: 0x7e, Stride: 1}}, LatinOffset: 1}

var (
	odd = []string{
		`null`, `true`, `false`, `""`, `"x"`, `[]`, `{}`, `[1]`, `{"a":{}}`, `"\ud800"`, `"a\udc00b"`, `"\ude00\ud83d"`, `" "`, `"topic:x"`, `"\u0000"`,
		`"0190A1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b"`, `"0190a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2"`, `"AUTO"`, `"a/b"`, `"a\/b"`, `"ping"`, `"ack"`,
	}
	edges = []string{
		`0`, `-0`, `-1`, `1`, `100`, `101`, `2592000000`, `2592000001`, `9007199254740991`, `9007199254740992`, `-9007199254740992`, `9007199254740991.5`,
		`1.5`, `1e2`, `1e-2`, `0.1e1`, `1e300`, `1e-300`, `0e5`, `1.0000000000000000000001`, `0.00000000000000000001e20`, `100000000000000000000000e-23`,
		`9223372036854775807`, `9223372036854775808`, `18446744073709551616`, `01`, `1.`, `.5`, `+1`, `1e`, `-`, `0x1`, `NaN`,
	}
)

// garble changes a frame's text without a thought for its grammar.
func garble(t *rapid.T, text string) string {
	at := rapid.IntRange(0, len(text)).Draw(t, "where")
	scrap := rapid.SampledFrom([]string{
		"{", "}", "[", "]", ",", ":", `"`, `\`, " ", "\n", "\x00", "\xff", "\xed\xa0\x80", "\ufeff", "1", "null", "é", `\u0041`,
	}).Draw(t, "scrap")
	switch rapid.IntRange(0, 2).Draw(t, "change") {
	case 0:
		return text[:at]
	case 1:
		return text[:at] + scrap + text[at:]
	default:
		return text[:at] + scrap + text[min(at+1, len(text)):]
	}
}

// Messages of a server's, drawn from the schema: the client's decoder finds each
// of use, and writes it so that the schema allows it still.
func TestClientsReadWhatTheSchemaAllows(t *testing.T) {
	o := newOracle(t)
	checkOften(t, func(t *rapid.T) {
		d := &drawer{o}
		fields := d.message(t, "serverMessage")
		if rapid.Bool().Draw(t, "unknown") {
			fields = append(fields, pair{`"colour"`, rapid.SampledFrom(odd).Draw(t, "value")})
		}
		text := []byte(written(fields))
		require.Nil(t, o.serverFrame(text), "the drawer is wrong: %s", text)
		got, bad := wire.DecodeServerFrame(text)
		require.Nil(t, bad, "%s", text)
		require.Len(t, got, 1)
		require.NotContains(t, []string{"", wire.TypeUnreadable}, got[0].Type, "%s", text)
		again := got[0].Append(nil)
		require.Nil(t, o.serverFrame(again), "what was read is written against the schema: %s\n%s", text, again)
		var before, after map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(text, &before))
		require.NoError(t, json.Unmarshal(again, &after))
		for name := range before {
			// Zeros that are said where nothing was needed are not said again.
			if _, kept := after[name]; !kept && name != "colour" && !zero.Match(before[name]) {
				t.Fatalf("%s is lost\n%s\n%s", name, text, again)
			}
		}
	})
}

// FuzzDecoderAndSchema: whatever the bytes, the decoder and the schema come to
// the same verdict.
func FuzzDecoderAndSchema(f *testing.F) {
	o := newOracle(f)
	for _, v := range vectors(f) {
		if v.From == conformance.Client && len(v.Frame) < 1<<10 {
			f.Add(v.Frame)
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		require.NoError(t, agree(o, frame), "%q", frame)
	})
}
