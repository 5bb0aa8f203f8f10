// Package jsonscan reads JSON strictly, in one pass and without reflection.
//
// It refuses what JSON libraries read in different ways: bytes that are not
// UTF-8, nesting beyond a limit, and anything after the value. It reports lone
// surrogates, it reads integers exactly, it returns raw values byte for byte,
// and [Scanner.Fields] refuses an object with duplicate names.
//
// A [Scanner] keeps its first error and then acts as if the text ended there, so
// that callers may read on and check [Scanner.Err] once.
//
//	var s jsonscan.Scanner
//	s.Reset(data, 64)
//	if s.Peek() == '{' {
//		for more := s.Enter('}'); more; more = s.More('}') {
//			name, _ := s.FieldName()
//			…
//			s.SkipValue()
//		}
//	}
//	s.ExpectEnd()
//	return s.Err()
//
// The package is the same in the server's and the client's module.
package jsonscan

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// The errors that callers distinguish. Any other error of a [Scanner] is about
// the grammar.
var (
	// ErrUTF8 means that the text is not UTF-8.
	ErrUTF8 = errors.New("not UTF-8")
	// ErrDepth means that objects and arrays are nested deeper than allowed.
	ErrDepth = errors.New("nested too deeply")
	// ErrControl means that a string holds a control character.
	ErrControl = errors.New("a control character in a string")
	// ErrEscape means that a string holds an unknown escape.
	ErrEscape = errors.New("a bad escape in a string")
	// ErrUnicodeEscape means that \u is not followed by four hex digits.
	ErrUnicodeEscape = errors.New("a bad \\u escape")
	// ErrTwice means that an object has a duplicate name.
	ErrTwice = errors.New("a name stands twice")
	// ErrTrailing means that something follows the value.
	ErrTrailing = errors.New("something follows the value")
)

var (
	errNotJSON   = errors.New("not JSON")
	errTooEarly  = errors.New("it ends too early")
	errObjectEnd = errors.New("an object does not end")
	errArrayEnd  = errors.New("an array does not end")
	errName      = errors.New("an object's key is a string")
	errColon     = errors.New("a colon is missing")
	errStringEnd = errors.New("a string does not end")
	errNumber    = errors.New("a bad number")
)

// Scanner reads one JSON text. The zero value reads an empty text.
type Scanner struct {
	data []byte
	pos  int
	// depth is how many objects and arrays enclose pos.
	depth, maxDepth int
	err             error
	// buf holds the last string that had escapes.
	buf []byte
}

// Reset begins at the start of a text in which objects and arrays may be nested
// maxDepth deep. The scanner has failed already if the text is not UTF-8.
func (s *Scanner) Reset(data []byte, maxDepth int) {
	s.data, s.pos, s.depth, s.maxDepth, s.err = data, 0, 0, maxDepth, nil
	if !utf8.Valid(data) {
		s.fail(ErrUTF8)
	}
}

// Err returns the first error, or nil.
func (s *Scanner) Err() error { return s.err }

// Offset returns the position of the next byte to read; after an error, the
// position of the error.
func (s *Scanner) Offset() int { return s.pos }

// fail keeps the first error and truncates the text, so that nothing more is read.
func (s *Scanner) fail(err error) {
	if s.err == nil {
		s.err = err
		s.data = s.data[:s.pos]
	}
}

// Peek skips white space and returns the next byte; 0 at the end.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.data) {
		if c := s.data[s.pos]; c > ' ' || !whiteSpace[c] {
			return c
		}
		s.pos++
	}
	return 0
}

var whiteSpace = [' ' + 1]bool{' ': true, '\t': true, '\n': true, '\r': true}

// ExpectEnd fails if anything but white space follows.
func (s *Scanner) ExpectEnd() {
	if s.Peek(); s.pos < len(s.data) {
		s.fail(ErrTrailing)
	}
}

// Enter reads the opening bracket of an object or array, which [Scanner.Peek]
// has returned, and reports whether a field or element follows; if not, it has
// read the closing bracket, which is end. It returns false after an error, too.
func (s *Scanner) Enter(end byte) bool {
	switch {
	case s.pos >= len(s.data):
		s.fail(errTooEarly)
		return false
	case s.depth >= s.maxDepth:
		s.fail(ErrDepth)
		return false
	}
	s.pos++
	if s.Peek() == end {
		s.pos++
		return false
	}
	s.depth++
	return true
}

// More advances to the next field or element of the object or array that was
// entered last, and reports whether there is one; if not, it has read the closing
// bracket, which is end. It returns false after an error, too.
func (s *Scanner) More(end byte) bool {
	switch c := s.Peek(); {
	case c == ',':
		s.pos++
		return true
	case c == end:
		s.pos++
		s.depth--
	case end == '}':
		s.fail(errObjectEnd)
	default:
		s.fail(errArrayEnd)
	}
	return false
}

// FieldName reads the name of an object's field and the colon after it; the results
// are those of [Scanner.String].
func (s *Scanner) FieldName() (name []byte, lone bool) {
	if s.Peek() != '"' {
		s.fail(errName)
		return nil, false
	}
	name, lone = s.String()
	s.colon()
	return name, lone
}

func (s *Scanner) colon() {
	if s.Peek() != ':' {
		s.fail(errColon)
		return
	}
	s.pos++
}

// Literal reads true, false or null if that word comes next, and reports
// whether it did.
func (s *Scanner) Literal(word string) bool {
	s.Peek()
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// RawValue returns the bytes of one value without copying them; nil after an error.
// Lone surrogates and duplicate names are not looked for in it.
func (s *Scanner) RawValue() json.RawMessage {
	s.Peek()
	start := s.pos
	s.SkipValue()
	if s.err != nil {
		return nil
	}
	return s.data[start:s.pos:s.pos]
}

// SkipValue reads one value and checks its grammar. Lone surrogates and duplicate
// names are not looked for in it.
func (s *Scanner) SkipValue() {
	switch c := s.Peek(); {
	case c == '"':
		s.skipString()
	case BeginsNumber(c):
		s.Number()
	case c == '{':
		s.skipObject()
	case c == '[':
		s.skipArray()
	default:
		s.skipLiteral(c)
	}
}

// skipLiteral reads the word that begins with c.
func (s *Scanner) skipLiteral(c byte) {
	known := false
	switch c {
	case 't':
		known = s.Literal("true")
	case 'f':
		known = s.Literal("false")
	case 'n':
		known = s.Literal("null")
	}
	switch {
	case known:
	case c == 0:
		s.fail(errTooEarly)
	default:
		s.fail(errNotJSON)
	}
}

func (s *Scanner) skipObject() {
	for more := s.Enter('}'); more; more = s.More('}') {
		s.skipName()
		s.SkipValue()
	}
}

func (s *Scanner) skipArray() {
	for more := s.Enter(']'); more; more = s.More(']') {
		s.SkipValue()
	}
}

func (s *Scanner) skipName() {
	if s.Peek() != '"' {
		s.fail(errName)
		return
	}
	s.skipString()
	s.colon()
}

// Fields reads an object and returns its values by their names, which are
// exact. A duplicate name is an error; lone surrogates in names become
// U+FFFD. The values are parts of the text that was given to [Scanner.Reset].
func (s *Scanner) Fields() map[string]json.RawMessage {
	if s.Peek() != '{' {
		s.fail(errNotJSON)
		return nil
	}
	fields := map[string]json.RawMessage{}
	for more := s.Enter('}'); more; more = s.More('}') {
		text, _ := s.FieldName()
		name := string(text)
		if _, twice := fields[name]; twice {
			s.fail(ErrTwice)
		}
		fields[name] = s.RawValue()
	}
	return fields
}
