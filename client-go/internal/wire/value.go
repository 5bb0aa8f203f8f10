package wire

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// bounded reads a string of low to high bytes.
func (s *scanner) bounded(name string, low, high int) (string, *Error) {
	text, err := s.string(name)
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
	text, err := s.string(name)
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

// oneOf reads one of a few words.
func (s *scanner) oneOf(name string, words ...string) (string, *Error) {
	text, err := s.word(name)
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

// rawObject returns the bytes of an object, unchanged.
func (s *scanner) rawObject(name string, high int) (json.RawMessage, *Error) {
	if s.peek() != '{' {
		return nil, s.wrongType(name, "an object")
	}
	text, err := s.raw()
	if err == nil && len(text) > high {
		err = invalid(name, name+" holds at most "+strconv.Itoa(high>>10)+" KiB")
	}
	if err != nil {
		return nil, err
	}
	return text, nil
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

// pointer returns where a value is kept that may also be absent.
func pointer[T any](value T, err *Error) (*T, *Error) {
	if err != nil {
		return nil, err
	}
	return &value, nil
}
