package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// JSON values of transcripts and of messages stay text, so that what is sent
// and what is shown reads like the file. The functions here take valid JSON
// text without white space around it.

// member is one field of an object.
type member struct {
	key   string
	value json.RawMessage
}

// members returns an object's fields in the order in which they are written.
func members(object json.RawMessage) []member {
	d := json.NewDecoder(bytes.NewReader(object))
	_, _ = d.Token() // the errors are those of invalid JSON
	var out []member
	for d.More() {
		key, err := d.Token()
		var m member
		if err != nil || d.Decode(&m.value) != nil {
			return out
		}
		m.key, _ = key.(string)
		out = append(out, m)
	}
	return out
}

// elements returns an array's elements.
func elements(array json.RawMessage) (out []json.RawMessage) {
	_ = json.Unmarshal(array, &out)
	return out
}

// checkJSON refuses what is not one JSON value, and duplicate keys in it.
func checkJSON(data []byte) error {
	var value json.RawMessage
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
	switch kindOf(value) {
	case "array":
		for _, e := range elements(value) {
			if err := checkJSON(e); err != nil {
				return err
			}
		}
	case "object":
		seen := map[string]bool{}
		for _, m := range members(value) {
			if seen[m.key] {
				return fmt.Errorf("duplicate key %q", m.key)
			}
			seen[m.key] = true
			if err := checkJSON(m.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// kindOf returns the type of a JSON value. A number with a fraction or an
// exponent is a "number", any other an "integer".
func kindOf(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "nothing"
	}
	switch value[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	if bytes.ContainsAny(value, ".eE") {
		return "number"
	}
	return "integer"
}

// stringOf returns the value of a JSON string, and "" for all else.
func stringOf(value json.RawMessage) (text string) {
	if kindOf(value) == "string" {
		_ = json.Unmarshal(value, &text)
	}
	return text
}

// integerOf returns the value of an integer.
func integerOf(value json.RawMessage) (n int64, ok bool) {
	ok = kindOf(value) == "integer" && json.Unmarshal(value, &n) == nil
	return n, ok
}

// encode writes a value as JSON.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // strings, numbers and booleans can be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// encodeObject writes an object.
func encodeObject(fields []member) json.RawMessage {
	out := []byte{'{'}
	for i, m := range fields {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(append(out, encode(m.key)...), ": "...)
		out = append(out, m.value...)
	}
	return append(out, '}')
}

// encodeArray writes an array.
func encodeArray(list []json.RawMessage) json.RawMessage {
	out := []byte{'['}
	for i, e := range list {
		if i > 0 {
			out = append(out, ", "...)
		}
		out = append(out, e...)
	}
	return append(out, ']')
}

// equalJSON reports whether two JSON texts mean the same value.
func equalJSON(a, b json.RawMessage) bool {
	var x, y any
	return decodeNumbers(a, &x) == nil && decodeNumbers(b, &y) == nil && equalValues(x, y)
}

func decodeNumbers(text json.RawMessage, into *any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}

func equalValues(a, b any) bool {
	switch v := a.(type) {
	case json.Number:
		w, ok := b.(json.Number)
		return ok && equalNumbers(v, w)
	case []any:
		w, ok := b.([]any)
		return ok && slices.EqualFunc(v, w, equalValues)
	case map[string]any:
		w, ok := b.(map[string]any)
		return ok && maps.EqualFunc(v, w, equalValues)
	}
	return a == b
}

// equalNumbers compares numbers that may be written differently: 1 and 1.0.
func equalNumbers(a, b json.Number) bool {
	m, errA := a.Int64()
	n, errB := b.Int64()
	if errA == nil && errB == nil {
		return m == n // as floats, 2^53 and 2^53 + 1 would be equal
	}
	f, errA := a.Float64()
	g, errB := b.Float64()
	return errA == nil && errB == nil && f == g
}

// brief shortens a text for a report.
func brief(text []byte) string {
	const limit = 300
	if len(text) <= limit {
		return string(text)
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:cut], len(text))
}

// variable returns the name in "$name".
func variable(text string) (name string, ok bool) {
	name, ok = strings.CutPrefix(text, "$")
	return name, ok && name != "" && name[0] != '$'
}

// operator returns the name and the argument of {"$name": argument}.
func operator(value json.RawMessage) (name string, arg json.RawMessage, ok bool) {
	if kindOf(value) != "object" {
		return "", nil, false
	}
	fields := members(value)
	if len(fields) != 1 || len(fields[0].key) < 2 || fields[0].key[0] != '$' {
		return "", nil, false
	}
	return fields[0].key, fields[0].value, true
}
