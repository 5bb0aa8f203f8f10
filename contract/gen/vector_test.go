package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
	"github.com/stretchr/testify/require"
)

// root is the path of the repository's root.
const root = "../.."

func contractModel(t testing.TB) *model.Model {
	t.Helper()
	m, err := readModel(root)
	require.NoError(t, err)
	return m
}

// vector holds the parts of a vector that these tests read.
type vector struct {
	Name  string
	Frame string
	Parts []json.RawMessage
	Code  string
	Close int

	direction string
	bytes     []byte
}

func vectors(t *testing.T, verdict string) (all []vector) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "contract/vectors", verdict, "*.json"))
	require.NoError(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var file struct {
			Direction string
			Vectors   []vector
		}
		require.NoError(t, json.Unmarshal(text, &file), name)
		for _, v := range file.Vectors {
			v.direction = file.Direction
			v.bytes = frame(t, &v)
			all = append(all, v)
		}
	}
	require.NotEmpty(t, all)
	return all
}

func frame(t *testing.T, v *vector) []byte {
	t.Helper()
	out := []byte(v.Frame)
	for _, p := range v.Parts {
		var text string
		var part struct {
			Repeat []any
			Hex    string
		}
		switch {
		case json.Unmarshal(p, &text) == nil:
			out = append(out, text...)
		case json.Unmarshal(p, &part) != nil:
			t.Fatalf("%s: a part is not understood: %s", v.Name, p)
		case part.Repeat != nil:
			out = append(out, strings.Repeat(part.Repeat[0].(string), int(part.Repeat[1].(float64)))...)
		default:
			raw, err := hex.DecodeString(part.Hex)
			require.NoError(t, err, v.Name)
			out = append(out, raw...)
		}
	}
	return out
}

// messages splits the frame into messages, as far as it can be read.
func (v *vector) messages() (list []json.RawMessage) {
	if !utf8.Valid(v.bytes) || json.Unmarshal(v.bytes, &list) == nil {
		return list
	}
	if !json.Valid(v.bytes) {
		return nil
	}
	return []json.RawMessage{v.bytes}
}

// eachField calls visit for each field, and for the fields of records in them. in is
// the message or the record.
func eachField(m *model.Model, in string, fields []model.Field, visit func(in string, f *model.Field)) {
	for _, f := range fields {
		visit(in, &f)
		if r := record(m, f.Value.Record); r != nil {
			eachField(m, r.Name, r.Fields, visit)
		}
	}
}

// eachValue calls visit with the value of each field of the messages in a vector,
// and of the records in a field for which visit returns true. The value of an absent
// field is nil. Messages of unknown types are skipped.
func (v *vector) eachValue(
	m *model.Model, d *model.Direction, visit func(in string, f *model.Field, text json.RawMessage) bool,
) {
	var each func(in string, fields []model.Field, object map[string]json.RawMessage)
	each = func(in string, fields []model.Field, object map[string]json.RawMessage) {
		for _, f := range fields {
			text := object[f.Name]
			if r := record(m, f.Value.Record); visit(in, &f, text) && r != nil {
				for _, inner := range objects(&f.Value, text) {
					each(r.Name, r.Fields, inner)
				}
			}
		}
	}
	for _, text := range v.messages() {
		var object map[string]json.RawMessage
		if json.Unmarshal(text, &object) != nil {
			continue
		}
		kind := plain(object["type"])
		if i := slices.IndexFunc(d.Messages, func(m model.Message) bool { return m.Type == kind }); i >= 0 {
			each(kind, d.Messages[i].Fields, object)
		}
	}
}

// plain returns the value of a JSON string; for other values it is empty.
func plain(text []byte) (value string) {
	_ = json.Unmarshal(text, &value)
	return value
}

func record(m *model.Model, name string) *model.Record {
	i := slices.IndexFunc(m.Records, func(r model.Record) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Records[i]
}

// objects returns the records inside a field.
func objects(v *model.Value, text []byte) (list []map[string]json.RawMessage) {
	if v.Kind != model.Array {
		text = slices.Concat([]byte("["), text, []byte("]"))
	}
	if json.Unmarshal(text, &list) != nil {
		return nil
	}
	return list
}

// hasType reports whether a value has the right type; bounds are ignored.
func hasType(v *model.Value, text []byte) bool {
	switch v.Kind {
	case model.Text, model.Word:
		return text[0] == '"'
	case model.Integer, model.Number:
		return text[0] == '-' || '0' <= text[0] && text[0] <= '9'
	case model.Boolean:
		return text[0] == 't' || text[0] == 'f'
	case model.RawObject, model.Object:
		return text[0] == '{'
	case model.Array:
		return text[0] == '['
	case model.Raw:
	}
	return true
}

// edges are the bounds that a valid value can reach.
var edges = []string{"minLength", "maxLength", "maxBytes", "minimum", "maximum"}

// bounds returns the bounds of a value by name. Each returns a positive number for
// a text beyond the bound, 0 for one that reaches it, and otherwise a negative one.
func bounds(v *model.Value) map[string]func(text []byte) int {
	all := map[string]func(text []byte) int{}
	characters := func(text []byte) int { return utf8.RuneCountInString(plain(text)) }
	number := func(text []byte) *big.Rat {
		n, _ := new(big.Rat).SetString(string(text))
		return n
	}
	beyondUnless := func(ok bool) int {
		if ok {
			return -1
		}
		return 1
	}
	switch v.Kind {
	case model.Text:
		if v.MaxLength > 0 {
			all["maxLength"] = func(text []byte) int { return characters(text) - v.MaxLength }
		}
		if v.MaxBytes > 0 {
			all["maxBytes"] = func(text []byte) int { return len(plain(text)) - v.MaxBytes }
		}
		if v.MinLength > 0 {
			all["minLength"] = func(text []byte) int { return v.MinLength - characters(text) }
		}
		if v.Pattern != "" {
			pattern := regexp.MustCompile(v.Pattern)
			all["pattern"] = func(text []byte) int { return beyondUnless(plain(text) == "" || pattern.MatchString(plain(text))) }
		}
	case model.Word:
		all["enum"] = func(text []byte) int { return beyondUnless(slices.Contains(v.Words, plain(text))) }
	case model.Integer, model.Number:
		all["minimum"] = func(text []byte) int { return new(big.Rat).SetInt64(v.Min).Cmp(number(text)) }
		all["maximum"] = func(text []byte) int { return number(text).Cmp(new(big.Rat).SetInt64(v.Max)) }
		if v.Kind == model.Integer {
			all["whole"] = func(text []byte) int { return beyondUnless(number(text).IsInt()) }
		}
	case model.Raw, model.RawObject:
		if v.MaxBytes > 0 {
			all["maxBytes"] = func(text []byte) int { return len(bytes.TrimSpace(text)) - v.MaxBytes }
		}
	case model.Array:
		if v.MaxBytes > 0 {
			all["maxPageBytes"] = func(text []byte) int { return pageBytes(text) - v.MaxBytes }
		}
	case model.Boolean, model.Object:
	}
	return all
}

// pageBytes returns the total size of the elements of a page.
func pageBytes(text []byte) (sum int) {
	var list []json.RawMessage
	if json.Unmarshal(text, &list) != nil || len(list) < 2 {
		return 0
	}
	for _, e := range list {
		sum += len(e)
	}
	return sum
}
