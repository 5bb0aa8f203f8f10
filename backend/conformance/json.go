package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// JSON values of transcripts and of messages stay text, so that what is sent
// and what is shown reads like the file. The functions here take valid JSON
// text without white space around it.

// member is a field of an object, or an element of an array, whose key is "[0]".
type member struct {
	key   string
	value json.RawMessage
}

// members returns an object's fields or an array's elements, in the order in
// which they are written. Other values have none.
func members(value json.RawMessage) (out []member) {
	d := json.NewDecoder(bytes.NewReader(value))
	open, _ := d.Token() // the errors are those of invalid JSON
	for d.More() {
		m := member{key: fmt.Sprintf("[%d]", len(out))}
		if open == json.Delim('{') {
			key, _ := d.Token()
			m.key, _ = key.(string)
		}
		if d.Decode(&m.value) != nil {
			return out
		}
		out = append(out, m)
	}
	return out
}

// elements returns an array's elements.
func elements(array json.RawMessage) (out []json.RawMessage) {
	_ = json.Unmarshal(array, &out)
	return out
}

// messagesOf returns a batch's elements, or the one message.
func messagesOf(frame []byte) []json.RawMessage {
	if kindOf(frame) == "array" {
		return elements(frame)
	}
	return []json.RawMessage{frame}
}

// replaceMembers returns an array or an object with each value replaced, and
// other values as they are.
func replaceMembers(value json.RawMessage, by func(json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	kind := kindOf(value)
	if kind != "array" && kind != "object" {
		return value, nil
	}
	list := members(value)
	values := make([]json.RawMessage, len(list))
	for i := range list {
		var err error
		if list[i].value, err = by(list[i].value); err != nil {
			return nil, err
		}
		values[i] = list[i].value
	}
	if kind == "array" {
		return encodeArray(values), nil
	}
	return encodeObject(list), nil
}

// withoutField returns an object without one of its fields.
func withoutField(object json.RawMessage, key string) json.RawMessage {
	return encodeObject(slices.DeleteFunc(members(object), func(m member) bool { return m.key == key }))
}

// checkJSON refuses what is not one JSON value, and duplicate keys in it.
func checkJSON(data []byte) error {
	var value json.RawMessage
	if err := json.Unmarshal(data, &value); err != nil {
		return err
	}
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

func encodeObject(fields []member) json.RawMessage {
	texts := make([]string, len(fields))
	for i, m := range fields {
		texts[i] = string(encode(m.key)) + ": " + string(m.value)
	}
	return json.RawMessage("{" + strings.Join(texts, ", ") + "}")
}

func encodeArray(list []json.RawMessage) json.RawMessage {
	texts := make([]string, len(list))
	for i, e := range list {
		texts[i] = string(e)
	}
	return json.RawMessage("[" + strings.Join(texts, ", ") + "]")
}

// equalJSON reports whether two JSON texts mean the same value. Numbers may be
// written differently: 1 and 1.0.
func equalJSON(a, b json.RawMessage) bool {
	x, errX := decodeExact(a)
	y, errY := decodeExact(b)
	return errX == nil && errY == nil && reflect.DeepEqual(x, y)
}

// decodeExact decodes JSON with integers as they are: as floats, 2^53 and 2^53 + 1
// would be equal.
func decodeExact(text json.RawMessage) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&value)
	return exactNumbers(value), err
}

func exactNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		return exactNumber(v)
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = exactNumbers(v[key])
		}
	}
	return value
}

// exactNumber returns an int64 for a whole number, a float64 for another one.
func exactNumber(number json.Number) any {
	if n, err := number.Int64(); err == nil {
		return n
	}
	f, err := number.Float64()
	switch {
	case err != nil:
		return number // it is not in the range of floats
	case float64(int64(f)) == f:
		return int64(f) // 1.0
	}
	return f
}

// brief shortens a text for a report.
func brief(text []byte) string {
	const limit = 300
	if len(text) <= limit {
		return string(text)
	}
	whole := strings.ToValidUTF8(string(text[:limit]), "") // without half a character at its end
	return fmt.Sprintf("%s… (%d bytes)", whole, len(text))
}

// variable returns the name in "$name".
func variable(text string) (name string, ok bool) {
	name, ok = strings.CutPrefix(text, "$")
	return name, ok && name != "" && name[0] != '$'
}

// operator returns the name and the argument of {"$name": argument}.
func operator(value json.RawMessage) (name string, arg json.RawMessage, ok bool) {
	fields := members(value)
	if len(fields) != 1 || len(fields[0].key) < 2 || fields[0].key[0] != '$' {
		return "", nil, false
	}
	return fields[0].key, fields[0].value, true
}
