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

// Containers in a value of any type: objects and arrays, and the arrays in one
// that stays raw.
var (
	anyContainer = &node{items: &use{node: &node{kind: kindAny}}, maxItems: -1}
	rawArray     = &node{items: &use{node: &node{kind: kindRaw}}, maxItems: -1}
)

// anything reads a value of any type. raw reports that it stays raw.
func (c *checker) anything(raw bool) bool {
	switch first := c.Peek(); {
	case first == '"':
		_, ok := c.wellFormed(c.String())
		return ok
	case jsonscan.BeginsNumber(first):
		_, _, ok := c.number()
		return ok
	case first == '{' && raw:
		return c.rawMembers()
	case first == '{':
		return c.dictMembers(anyContainer)
	case first == '[' && raw:
		return c.arrayElements(rawArray)
	case first == '[':
		return c.arrayElements(anyContainer)
	}
	c.SkipValue()
	return c.Err() == nil
}

// rawMembers reads the members of an object that stays raw. It allows duplicate
// names, because the object is not decoded here.
func (c *checker) rawMembers() bool {
	for more := c.Enter('}'); more; more = c.More('}') {
		if _, ok := c.wellFormed(c.FieldName()); !ok || !c.anything(true) {
			return false
		}
	}
	return c.Err() == nil
}

// wellFormed takes the results of reading a string or a name, and fails if it holds
// lone surrogates.
func (c *checker) wellFormed(text []byte, lone bool) ([]byte, bool) {
	if lone {
		return nil, c.fail("a lone surrogate in a string")
	}
	return text, c.Err() == nil
}

// newName reads the name of a field that is not in seen, and adds it.
func (c *checker) newName(seen *distinct) (string, bool) {
	text, ok := c.wellFormed(c.FieldName())
	if !ok {
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
