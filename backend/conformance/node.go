package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A node is a JSON value of a transcript: object, []any, string, json.Number,
// bool or nil. Objects keep the order in which they were written, so that what
// is sent and what is shown reads like the file.
type object []member

type member struct {
	key   string
	value any
}

// get returns a member's value.
func (o object) get(key string) (any, bool) {
	for _, m := range o {
		if m.key == key {
			return m.value, true
		}
	}
	return nil, false
}

// parseNode reads one JSON value and refuses what follows it, and duplicate
// keys.
func parseNode(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	n, err := readNode(d)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the JSON value")
	}
	return n, nil
}

func readNode(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		return readObject(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := readNode(d)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	return t, nil
}

func readObject(d *json.Decoder) (any, error) {
	o := object{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("a key is %v, no string", t)
		}
		if _, twice := o.get(key); twice {
			return nil, fmt.Errorf("the key %q stands twice", key)
		}
		v, err := readNode(d)
		if err != nil {
			return nil, err
		}
		o = append(o, member{key, v})
	}
	_, err := d.Token()
	return o, err
}

// appendNode writes a node as compact JSON.
func appendNode(b []byte, n any) []byte {
	switch v := n.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		return append(b, v...)
	case string:
		return appendText(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',', ' ')
			}
			b = appendNode(b, e)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, m := range v {
			if i > 0 {
				b = append(b, ',', ' ')
			}
			b = append(appendText(b, m.key), ':', ' ')
			b = appendNode(b, m.value)
		}
		return append(b, '}')
	case json.RawMessage:
		return append(b, v...)
	}
	panic(fmt.Sprintf("conformance: %T is no JSON node", n))
}

func appendText(b []byte, s string) []byte {
	var w bytes.Buffer
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // never fails: a string is always encodable
	return append(b, bytes.TrimSuffix(w.Bytes(), []byte("\n"))...)
}

// operator returns the name and argument of {"$name": argument}.
func operator(o object) (name string, arg any, ok bool) {
	if len(o) != 1 || len(o[0].key) < 2 || o[0].key[0] != '$' {
		return "", nil, false
	}
	return o[0].key, o[0].value, true
}

// integer reads a node as a whole number.
func integer(n any) (int64, bool) {
	num, ok := n.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := num.Int64()
	return i, err == nil
}
