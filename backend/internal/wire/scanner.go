package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// scanner reads the values of fields within their bounds. There are two kinds of
// errors: a frame that is not JSON ends the scanner, whose error the decoder of the
// frame checks last; a value that a field may not have is returned as an *Error,
// and the scanner is after the value.
type scanner struct{ jsonscan.Scanner }

// maxInt is the largest value of a field that is an int. It is the same on all
// machines.
const maxInt = 1<<31 - 1

func invalid(field, text string) *Error {
	return &Error{Code: CodeInvalidMessage, Message: text, Field: field}
}

// expectEnd reads the end of the frame, and returns an error if the frame is
// malformed.
func (s *scanner) expectEnd() *Error {
	if s.ExpectEnd(); s.Err() != nil {
		return malformed(s.Err())
	}
	return nil
}

func malformed(err error) *Error {
	text := err.Error()
	switch {
	case errors.Is(err, jsonscan.ErrDepth):
		text = "nested deeper than " + strconv.Itoa(MaxDepth)
	case errors.Is(err, jsonscan.ErrTrailing):
		text = "something follows the message"
	}
	return &Error{Code: CodeMalformed, Message: text}
}

// wrongType skips a value that is not what the named field should hold.
func (s *scanner) wrongType(name, want string) *Error {
	s.SkipValue()
	return invalid(name, "must be "+want)
}

// fieldName reads the name of an object's field. A name with a lone surrogate becomes
// one that no field has.
func (s *scanner) fieldName() []byte {
	key, lone := s.FieldName()
	if lone {
		return []byte("\uFFFD")
	}
	return key
}

// decoded reads a string of the named field. The bytes are valid until the next
// string is read.
func (s *scanner) decoded(name string) ([]byte, *Error) {
	if s.Peek() != '"' {
		return nil, s.wrongType(name, "a string")
	}
	text, lone := s.String()
	if lone {
		return nil, invalid(name, "a lone surrogate in a string")
	}
	return text, nil
}

// interned reads a string that is usually a word of the protocol; such a string is
// not allocated.
func (s *scanner) interned(name string) (string, *Error) {
	text, err := s.decoded(name)
	if len(text) <= longestWord {
		if w, ok := internWord(text); ok {
			return w, err
		}
	}
	return string(text), err
}

// unbounded reads a string of any length.
func (s *scanner) unbounded(name string) (string, *Error) {
	text, err := s.decoded(name)
	return string(text), err
}

// bounded reads a string of low to high bytes.
func (s *scanner) bounded(name string, low, high int) (string, *Error) {
	text, err := s.decoded(name)
	if err == nil && (len(text) < low || len(text) > high) {
		err = wrongLength(name, low, high, "bytes")
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}

// characters reads a string of low to high characters, which are code points.
func (s *scanner) characters(name string, low, high int) (string, *Error) {
	text, err := s.decoded(name)
	if err == nil {
		if n := utf8.RuneCount(text); n < low || n > high {
			err = wrongLength(name, low, high, "characters")
		}
	}
	if err != nil {
		return "", err
	}
	return string(text), nil
}

func wrongLength(name string, low, high int, unit string) *Error {
	return invalid(name, name+" must have "+strconv.Itoa(low)+" to "+strconv.Itoa(high)+" "+unit)
}

// oneOf reads one of the given words.
func (s *scanner) oneOf(name string, words ...string) (string, *Error) {
	text, err := s.interned(name)
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if text == w {
			return text, nil
		}
	}
	return "", invalid(name, name+" has an unknown value")
}

// anyValue returns the bytes of any value, unchanged.
func (s *scanner) anyValue() (json.RawMessage, *Error) { return s.RawValue(), nil }

// rawObject returns the bytes of an object, unchanged.
func (s *scanner) rawObject(name string, high int) (json.RawMessage, *Error) {
	if s.Peek() != '{' {
		return nil, s.wrongType(name, "an object")
	}
	text := s.RawValue()
	if len(text) > high {
		return nil, invalid(name, name+" holds at most "+strconv.Itoa(high>>10)+" KiB")
	}
	return text, nil
}

func (s *scanner) boolean(name string) (bool, *Error) {
	switch {
	case s.Literal("true"):
		return true, nil
	case s.Literal("false"):
		return false, nil
	}
	return false, s.wrongType(name, "true or false")
}

// number reads a number's text.
func (s *scanner) number(name string) ([]byte, *Error) {
	if !jsonscan.BeginsNumber(s.Peek()) {
		return nil, s.wrongType(name, "a number")
	}
	text, _ := s.Number()
	return text, nil
}

// whole reads a whole number between low and high.
func whole[T int | int64 | uint64](s *scanner, name string, low, high int64) (T, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	n, ok := jsonscan.Integer(text)
	if !ok {
		return 0, invalid(name, "a whole number within ±(2^53-1) is expected")
	}
	if n < low || n > high {
		return 0, invalid(name, "must be between "+strconv.FormatInt(low, 10)+" and "+strconv.FormatInt(high, 10))
	}
	return T(n), nil
}

// float reads any number that a float64 can hold.
func (s *scanner) float(name string) (float64, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	f, bad := strconv.ParseFloat(string(text), 64)
	if bad != nil {
		return 0, invalid(name, "the number is out of range")
	}
	return f, nil
}

// pointer returns a pointer to the value of an optional field.
func pointer[T any](value T, err *Error) (*T, *Error) {
	if err != nil {
		return nil, err
	}
	return &value, nil
}
