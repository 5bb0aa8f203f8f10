package wire

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in one pass, without reflection and without maps. It is
// strict about what encoding/json lets pass: duplicate keys are seen by its
// callers, lone surrogates and invalid UTF-8 by itself.
type scanner struct {
	data []byte
	pos  int
	// bad notes that a value was of no use to a lenient reader.
	bad bool
}

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

// object calls field for each key; field must consume the value. A key that is
// no text, for a lone surrogate, comes as one that no field has.
func (s *scanner) object(field func(key string) *Error) *Error {
	if !s.take('{') {
		return s.wrongType("", "an object")
	}
	if s.take('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return malformed("an object's key is a string")
		}
		key, err := s.word("")
		switch {
		case err == nil:
		case err.Code == CodeMalformed:
			return err
		default:
			key = "\uFFFD"
		}
		if !s.take(':') {
			return malformed("a colon is missing")
		}
		if err := field(key); err != nil {
			return err
		}
		if s.take(',') {
			continue
		}
		if s.take('}') {
			return nil
		}
		return malformed("an object does not end")
	}
}

// array calls element for each element, with its place from 0; element must
// consume it.
func (s *scanner) array(element func(i int) *Error) *Error {
	if !s.take('[') {
		return s.wrongType("", "an array")
	}
	if s.take(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := element(i); err != nil {
			return err
		}
		if s.take(',') {
			continue
		}
		if s.take(']') {
			return nil
		}
		return malformed("an array does not end")
	}
}

// word is text for strings that are mostly words of the protocol: those cost
// no memory.
func (s *scanner) word(name string) (string, *Error) {
	if s.peek() == '"' {
		rest := s.data[s.pos+1:]
		if n := bytes.IndexByte(rest[:min(len(rest), longestWord+1)], '"'); n >= 0 {
			if w, ok := words[string(rest[:n])]; ok {
				s.pos += n + 2
				return w, nil
			}
		}
	}
	return s.text(name)
}

// text reads a string and decodes its escapes. A value of another type is an
// error of the named field.
func (s *scanner) text(name string) (string, *Error) {
	if s.peek() != '"' {
		return "", s.wrongType(name, "a string")
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			out := string(s.data[start:s.pos])
			s.pos++
			return out, nil
		case c == '\\':
			return s.escaped(name, start)
		case c < 0x20:
			return "", malformed("a control character in a string")
		default:
			s.pos++
		}
	}
	return "", malformed("a string does not end")
}

// escaped goes on with a string from its first escape.
func (s *scanner) escaped(name string, start int) (string, *Error) {
	out := append([]byte(nil), s.data[start:s.pos]...)
	var lone *Error // reported at the string's end: the reading goes on there
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			return string(out), lone
		case c < 0x20:
			return "", malformed("a control character in a string")
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
				return "", malformed("a bad \\u escape")
			}
			if utf16.IsSurrogate(r) {
				low, back := rune(0), s.pos
				if s.pos+2 <= len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
					s.pos += 2
					if low, ok = s.unicode(); !ok {
						return "", malformed("a bad \\u escape")
					}
				}
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					s.pos = back // what follows is judged by itself
					lone = invalid(name, "a lone surrogate in a string")
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			return "", malformed("a bad escape in a string")
		}
	}
	return "", malformed("a string does not end")
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

// number reads a number's text.
func (s *scanner) number(name string) (string, *Error) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return "", s.wrongType(name, "a number")
	}
	start := s.pos
	if !s.skipNumber() {
		return "", malformed("a bad number")
	}
	return string(s.data[start:s.pos]), nil
}

// integer reads a whole number between low and high. As in JSON Schema, 1.0
// and 1e2 are whole.
func (s *scanner) integer(name string, low, high int64) (int64, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	n, bad := strconv.ParseInt(text, 10, 64)
	if bad != nil {
		f, bad := strconv.ParseFloat(text, 64)
		if bad != nil || f != math.Trunc(f) || math.Abs(f) > MaxSafeInteger {
			return 0, invalid(name, "a whole number within ±(2^53-1) is expected")
		}
		n = int64(f)
	}
	if n < low || n > high {
		return 0, invalid(name, "must be between "+strconv.FormatInt(low, 10)+" and "+strconv.FormatInt(high, 10))
	}
	return n, nil
}

func (s *scanner) float(name string) (float64, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	f, bad := strconv.ParseFloat(text, 64)
	if bad != nil {
		return 0, invalid(name, "the number is out of range")
	}
	return f, nil
}

func (s *scanner) boolean(name string) (bool, *Error) {
	switch {
	case s.literal("true"):
		return true, nil
	case s.literal("false"):
		return false, nil
	}
	return false, s.wrongType(name, "true or false")
}

// raw returns the bytes of any one value, unchanged. depth is how deep the
// value already stands.
func (s *scanner) raw(depth int) (json.RawMessage, *Error) {
	s.space()
	start := s.pos
	if err := s.skip(depth); err != nil {
		return nil, err
	}
	return json.RawMessage(s.data[start:s.pos:s.pos]), nil
}

// skip consumes one value, whatever it is, and judges its grammar.
func (s *scanner) skip(depth int) *Error {
	switch c := s.peek(); {
	case c == '{':
		if depth >= MaxDepth {
			return malformed("nested deeper than 64")
		}
		return s.skipObject(depth + 1)
	case c == '[':
		if depth >= MaxDepth {
			return malformed("nested deeper than 64")
		}
		return s.array(func(int) *Error { return s.skip(depth + 1) })
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
func (s *scanner) skipObject(depth int) *Error {
	s.pos++
	if s.take('}') {
		return nil
	}
	for {
		if s.peek() != '"' {
			return malformed("an object's key is a string")
		}
		if err := s.skipString(); err != nil {
			return err
		}
		if !s.take(':') {
			return malformed("a colon is missing")
		}
		if err := s.skip(depth); err != nil {
			return err
		}
		if s.take(',') {
			continue
		}
		if s.take('}') {
			return nil
		}
		return malformed("an object does not end")
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

func (s *scanner) skipNumber() bool {
	digits := func() bool {
		start := s.pos
		for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
			s.pos++
		}
		return s.pos > start
	}
	at := func(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }
	if at('-') {
		s.pos++
	}
	if at('0') {
		s.pos++
	} else if !digits() {
		return false
	}
	if at('.') {
		s.pos++
		if !digits() {
			return false
		}
	}
	if at('e') || at('E') {
		s.pos++
		if at('+') || at('-') {
			s.pos++
		}
		return digits()
	}
	return true
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
	if err := s.skip(0); err != nil {
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
