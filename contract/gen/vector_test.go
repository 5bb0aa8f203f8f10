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
)

// root is the path of the repository's root.
const root = "../.."

func contractModel(t testing.TB) *model.Model {
	t.Helper()
	m, err := readModel(root)
	if err != nil {
		t.Fatal(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Direction string
			Vectors   []vector
		}
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range file.Vectors {
			v.direction = file.Direction
			v.bytes = frame(t, &v)
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		t.Fatal("there are no vectors")
	}
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
			if err != nil {
				t.Fatalf("%s: %v", v.Name, err)
			}
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

// message reads a message as an object, and finds its type in the model.
func message(d *model.Direction, text []byte) (map[string]json.RawMessage, *model.Message) {
	var object map[string]json.RawMessage
	if json.Unmarshal(text, &object) != nil {
		return nil, nil
	}
	kind := plain(object["type"])
	i := slices.IndexFunc(d.Messages, func(m model.Message) bool { return m.Type == kind })
	if i < 0 {
		return nil, nil
	}
	return object, &d.Messages[i]
}

// plain returns the value of a JSON string; for other values it is empty.
func plain(text []byte) (value string) {
	_ = json.Unmarshal(text, &value)
	return value
}

func record(m *model.Model, name string) *model.Record {
	for i := range m.Records {
		if m.Records[i].Name == name {
			return &m.Records[i]
		}
	}
	return nil
}

// objects returns the records inside a field.
func objects(m *model.Model, v *model.Value, text []byte) []map[string]json.RawMessage {
	var list []map[string]json.RawMessage
	if record(m, v.Record) == nil || v.Kind == model.Array && json.Unmarshal(text, &list) == nil {
		return list
	}
	var one map[string]json.RawMessage
	if json.Unmarshal(text, &one) != nil {
		return nil
	}
	return []map[string]json.RawMessage{one}
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

// limit is one bound of a value. reached may be nil: it has no edge.
type limit struct{ broken, reached func(text []byte) bool }

// bounds returns the bounds of a value by name.
func bounds(v *model.Value) map[string]limit {
	all := map[string]limit{}
	add := func(name string, high int64, size func([]byte) int64) {
		all[name] = limit{func(text []byte) bool { return size(text) > high }, func(text []byte) bool { return size(text) == high }}
	}
	switch v.Kind {
	case model.Text:
		if v.MaxLength > 0 {
			add("maxLength", int64(v.MaxLength), func(text []byte) int64 { return int64(utf8.RuneCountInString(plain(text))) })
		}
		if v.MaxBytes > 0 {
			add("maxBytes", int64(v.MaxBytes), func(text []byte) int64 { return int64(len(plain(text))) })
		}
		if v.MinLength > 0 {
			all["minLength"] = limit{func(text []byte) bool { return plain(text) == "" }, func(text []byte) bool { return utf8.RuneCountInString(plain(text)) == v.MinLength }}
		}
		if v.Pattern != "" {
			pattern := regexp.MustCompile(v.Pattern)
			all["pattern"] = limit{broken: func(text []byte) bool { return plain(text) != "" && !pattern.MatchString(plain(text)) }}
		}
	case model.Word:
		all["enum"] = limit{broken: func(text []byte) bool { return !slices.Contains(v.Words, plain(text)) }}
	case model.Integer, model.Number:
		compare := func(text []byte, n int64) int {
			value, _ := new(big.Rat).SetString(string(text))
			return value.Cmp(new(big.Rat).SetInt64(n))
		}
		all["minimum"] = limit{func(text []byte) bool { return compare(text, v.Min) < 0 }, func(text []byte) bool { return compare(text, v.Min) == 0 }}
		all["maximum"] = limit{func(text []byte) bool { return compare(text, v.Max) > 0 }, func(text []byte) bool { return compare(text, v.Max) == 0 }}
		if v.Kind == model.Integer {
			all["whole"] = limit{broken: func(text []byte) bool {
				value, _ := new(big.Rat).SetString(string(text))
				return !value.IsInt()
			}}
		}
	case model.Raw, model.RawObject:
		if v.MaxBytes > 0 {
			add("maxBytes", int64(v.MaxBytes), func(text []byte) int64 { return int64(len(bytes.TrimSpace(text))) })
		}
	case model.Array:
		if v.MaxBytes > 0 {
			all["maxPageBytes"] = limit{broken: func(text []byte) bool { return pageBytes(text) > v.MaxBytes }}
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
