package wire

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// writer appends the fields of one object. Zero values are omitted, unless the
// field is required and may be zero.
type writer struct{ b []byte }

func (w *writer) fieldName(name string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, name...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) stringField(name, value string, required bool) {
	if value != "" || required {
		w.fieldName(name)
		w.b = appendString(w.b, value)
	}
}

func (w *writer) integerField(name string, value int64, required bool) {
	if value != 0 || required {
		w.fieldName(name)
		w.b = strconv.AppendInt(w.b, value, 10)
	}
}

func (w *writer) rawField(name string, value json.RawMessage) {
	if len(value) > 0 {
		w.fieldName(name)
		w.b = append(w.b, value...)
	}
}

func (w *writer) floatField(name string, value *float64) {
	if value != nil {
		w.fieldName(name)
		w.b = strconv.AppendFloat(w.b, *value, 'f', -1, 64)
	}
}

func (w *writer) booleanField(name string, value *bool) {
	if value != nil {
		w.fieldName(name)
		w.b = strconv.AppendBool(w.b, *value)
	}
}

// flagField writes a value that is either true or absent.
func (w *writer) flagField(name string, value bool) {
	if value {
		w.fieldName(name)
		w.b = append(w.b, "true"...)
	}
}

// openArray begins an array.
func (w *writer) openArray(name string) {
	w.fieldName(name)
	w.b = append(w.b, '[')
}

// comma writes the comma before all elements of an array but the first.
func (w *writer) comma(i int) {
	if i > 0 {
		w.b = append(w.b, ',')
	}
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}
