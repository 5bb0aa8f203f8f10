package wire

import (
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in one pass, without reflection and without maps. It is
// strict about what encoding/json lets pass: duplicate keys are seen by its
// callers, lone surrogates and invalid UTF-8 by itself.
type scanner struct {
	data []byte
	pos  int
	// depth is how many objects and arrays stand around pos.
	depth int
	// fresh tells that pos is right behind the bracket of an object or array.
	fresh bool
}

// maxInt is the largest number of what is counted in an int: it is the same on
// all machines.
const maxInt = 1<<31 - 1

func malformed(text string) *Error { return &Error{Code: CodeMalformed, Message: text} }

func invalid(field, text string) *Error {
	return &Error{Code: CodeInvalidMessage, Message: text, Field: field}
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space, or 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// take consumes c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.peek() == c && c != 0 {
		s.pos++
		return true
	}
	return false
}

// enter goes into an object or array, of which the first byte comes next.
func (s *scanner) enter() *Error {
	if s.depth == MaxDepth {
		return malformed("nested deeper than 64")
	}
	s.depth++
	s.pos++
	s.fresh = true
	return nil
}

// object goes into an object. Its fields are read by more('}') and key.
func (s *scanner) object() *Error {
	if s.peek() != '{' {
		return s.wrongType("", "an object")
	}
	return s.enter()
}

// array goes into an array. Before each element stands more(']').
func (s *scanner) array() *Error {
	if s.peek() != '[' {
		return s.wrongType("", "an array")
	}
	return s.enter()
}

// more goes to the next field or element and tells whether there is one; if
// not, the object or array is behind it.
func (s *scanner) more(end byte) (bool, *Error) {
	first := s.fresh
	s.fresh = false
	switch c := s.peek(); {
	case c == end:
		s.pos++
		s.depth--
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		return true, nil
	case end == '}':
		return false, malformed("an object does not end")
	}
	return false, malformed("an array does not end")
}

// key reads an object's key and the colon behind it. A key that is no text, for
// a lone surrogate, comes as one that no field has. The bytes are the scanner's.
func (s *scanner) key() ([]byte, *Error) {
	if s.peek() != '"' {
		return nil, malformed("an object's key is a string")
	}
	key, err := s.string("")
	switch {
	case err == nil:
	case err.Code == CodeMalformed:
		return nil, err
	default:
		key = []byte("\uFFFD")
	}
	if !s.take(':') {
		return nil, malformed("a colon is missing")
	}
	return key, nil
}

// word is text for strings that are mostly words of the protocol: those cost
// no memory.
func (s *scanner) word(name string) (string, *Error) {
	text, err := s.string(name)
	if err != nil {
		return "", err
	}
	if len(text) <= longestWord {
		if w, ok := word(text); ok {
			return w, nil
		}
	}
	return string(text), nil
}

// text reads a string of any length.
func (s *scanner) text(name string) (string, *Error) {
	text, err := s.string(name)
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// string reads a string and decodes its escapes; if it has none, the bytes are
// the scanner's. A value of another type is an error of the named field.
func (s *scanner) string(name string) ([]byte, *Error) {
	if s.peek() != '"' {
		return nil, s.wrongType(name, "a string")
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], nil
		case c == '\\':
			return s.escaped(name, start)
		case c < 0x20:
			return nil, malformed("a control character in a string")
		default:
			s.pos++
		}
	}
	return nil, malformed("a string does not end")
}

// escaped goes on with a string from its first escape.
func (s *scanner) escaped(name string, start int) ([]byte, *Error) {
	out := append([]byte(nil), s.data[start:s.pos]...)
	var lone *Error // reported at the string's end: the reading goes on there
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			return out, lone
		case c < 0x20:
			return nil, malformed("a control character in a string")
		case c != '\\':
			out = append(out, c)
			s.pos++
			continue
		}
		if s.pos+1 >= len(s.data) {
			break
		}
		s.pos += 2
		switch e := s.data[s.pos-1]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := s.unicode()
			if !ok {
				return nil, malformed("a bad \\u escape")
			}
			if utf16.IsSurrogate(r) {
				low, back := rune(0), s.pos
				if s.pos+2 <= len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
					s.pos += 2
					if low, ok = s.unicode(); !ok {
						return nil, malformed("a bad \\u escape")
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.pos = back // what follows is judged by itself
					lone = invalid(name, "a lone surrogate in a string")
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			return nil, malformed("a bad escape in a string")
		}
	}
	return nil, malformed("a string does not end")
}

// unicode reads the four hex digits of a \u escape.
func (s *scanner) unicode() (rune, bool) {
	if s.pos+4 > len(s.data) {
		return 0, false
	}
	var r rune
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.pos += 4
	return r, true
}

// raw returns the bytes of any one value, unchanged.
func (s *scanner) raw() (json.RawMessage, *Error) {
	s.space()
	start := s.pos
	if err := s.skip(); err != nil {
		return nil, err
	}
	return json.RawMessage(s.data[start:s.pos:s.pos]), nil
}

// skip consumes one value, whatever it is, and judges its grammar.
func (s *scanner) skip() *Error {
	switch c := s.peek(); {
	case c == '{':
		return s.skipObject()
	case c == '[':
		return s.skipArray()
	case c == '"':
		return s.skipString()
	case c == '-' || '0' <= c && c <= '9':
		if s.skipNumber() {
			return nil
		}
		return malformed("a bad number")
	case s.literal("true"), s.literal("false"), s.literal("null"):
		return nil
	case c == 0:
		return malformed("it ends too early")
	}
	return malformed("not JSON")
}

// skipObject consumes an object without decoding its keys.
func (s *scanner) skipObject() *Error {
	if err := s.enter(); err != nil {
		return err
	}
	for {
		more, err := s.more('}')
		if err != nil || !more {
			return err
		}
		if s.peek() != '"' {
			return malformed("an object's key is a string")
		}
		if err := s.skipString(); err != nil {
			return err
		}
		if !s.take(':') {
			return malformed("a colon is missing")
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray() *Error {
	if err := s.enter(); err != nil {
		return err
	}
	for {
		more, err := s.more(']')
		if err != nil || !more {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// skipString consumes a string without decoding it: lone surrogates pass.
func (s *scanner) skipString() *Error {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < 0x20:
			return malformed("a control character in a string")
		case c == '\\':
			s.pos++
			if s.pos >= len(s.data) {
				return malformed("a string does not end")
			}
			switch s.data[s.pos] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				s.pos++
				if _, ok := s.unicode(); !ok {
					return malformed("a bad \\u escape")
				}
				s.pos--
			default:
				return malformed("a bad escape in a string")
			}
		}
	}
	return malformed("a string does not end")
}

func (s *scanner) literal(word string) bool {
	s.space()
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// wrongType says that the named field holds something else than it should, or
// that the text is not JSON at all.
func (s *scanner) wrongType(name, want string) *Error {
	if err := s.skip(); err != nil {
		return err
	}
	return invalid(name, "must be "+want)
}

// end reports what follows the value.
func (s *scanner) end() *Error {
	if s.peek() != 0 || s.pos < len(s.data) {
		return malformed("something follows the message")
	}
	return nil
}
