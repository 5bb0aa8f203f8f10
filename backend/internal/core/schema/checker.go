package schema

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// checker compares a value with a description of values. Its methods return
// false after the first violation, which is an error of the scanner or in text.
// The path to the violation is in tokens, from the inside out.
type checker struct {
	jsonscan.Scanner
	data    []byte
	patches []patch
	text    string
	tokens  []string
}

func (c *checker) fail(text string) bool {
	c.text = text
	return false
}

// failAt fails at a member of the current value.
func (c *checker) failAt(token, text string) bool {
	c.text, c.tokens = text, append(c.tokens, token)
	return false
}

// within adds a token on the way out of a member that has failed.
func (c *checker) within(token string) bool {
	c.tokens = append(c.tokens, token)
	return false
}

// violation returns which rule was broken.
func (c *checker) violation() string {
	switch err := c.Err(); {
	case c.text != "":
		return c.text
	case errors.Is(err, jsonscan.ErrDepth):
		return "nested deeper than " + strconv.Itoa(MaxDepth)
	case errors.Is(err, jsonscan.ErrUnicodeEscape):
		return jsonscan.ErrEscape.Error()
	case errors.Is(err, jsonscan.ErrUTF8), errors.Is(err, jsonscan.ErrControl), errors.Is(err, jsonscan.ErrEscape), errors.Is(err, jsonscan.ErrTrailing):
		return err.Error()
	case c.Offset() >= len(c.data):
		return "the JSON ends too early"
	}
	return "not JSON"
}

const twice = "the key stands twice"

// anything reads a value of any type. raw reports that it stays raw.
func (c *checker) anything(raw bool) bool {
	switch first := c.Peek(); {
	case first == '"':
		if _, lone := c.String(); lone {
			return c.fail(loneSurrogate)
		}
	case jsonscan.BeginsNumber(first):
		_, _, ok := c.number()
		return ok
	case first == '{' && raw:
		return c.rawMembers()
	case first == '{':
		return c.members()
	case first == '[':
		return c.elements(raw)
	default:
		c.SkipValue()
	}
	return c.Err() == nil
}

func (c *checker) members() bool {
	var seen distinct
	for more := c.Enter('}'); more; more = c.More('}') {
		name, ok := c.newName(&seen)
		if !ok {
			return false
		}
		if !c.anything(false) {
			return c.within(name)
		}
	}
	return c.Err() == nil
}

// rawMembers reads the members of an object that stays raw. It allows duplicate
// names, because the object is not decoded here.
func (c *checker) rawMembers() bool {
	for more := c.Enter('}'); more; more = c.More('}') {
		if _, lone := c.FieldName(); lone {
			return c.fail(loneSurrogate)
		}
		if !c.anything(true) {
			return false
		}
	}
	return c.Err() == nil
}

func (c *checker) elements(raw bool) bool {
	i := 0
	for more := c.Enter(']'); more; more = c.More(']') {
		if !c.anything(raw) {
			return c.within(strconv.Itoa(i))
		}
		i++
	}
	return c.Err() == nil
}

const loneSurrogate = "a lone surrogate in a string"

// newName reads the name of a field that is not in seen, and adds it.
func (c *checker) newName(seen *distinct) (string, bool) {
	text, lone := c.FieldName()
	switch {
	case lone:
		return "", c.fail(loneSurrogate)
	case c.Err() != nil:
		return "", false
	}
	name := string(text)
	return name, seen.add(name) || c.failAt(name, twice)
}

// number reads a number's text; plain reports that it has neither fraction nor
// exponent.
func (c *checker) number() (text []byte, plain, ok bool) {
	text, plain = c.Number()
	if !plain && (bytes.IndexByte(text, 'e') >= 0 || bytes.IndexByte(text, 'E') >= 0) || len(text) > 300 {
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return nil, false, c.fail("a number beyond the range of a double")
		}
	}
	return text, plain, text != nil
}

// distinct is a set of texts that finds duplicates. It does not allocate for up
// to eight of them.
type distinct struct {
	few  [8]string
	n    int // of few
	many map[string]struct{}
}

// add reports whether the text is new.
func (d *distinct) add(text string) bool {
	for i := range d.few[:d.n] {
		if d.few[i] == text {
			return false
		}
	}
	if d.n < len(d.few) {
		d.few[d.n] = text
		d.n++
		return true
	}
	if d.many == nil {
		d.many = map[string]struct{}{}
	}
	before := len(d.many)
	d.many[text] = struct{}{}
	return len(d.many) > before
}
