package schema

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// Check checks a payload. It returns the payload as encoding/json can decode it
// into the Go type: the same bytes, except that whole numbers with a fraction or
// an exponent (1.0, 1e2), which JSON Schema counts as integers, are rewritten,
// and that an absent input becomes {}. An empty payload counts as null.
func (t *Type) Check(payload []byte) ([]byte, *Violation) {
	if len(payload) == 0 {
		payload = []byte("null")
	}
	c := checker{data: payload}
	c.Reset(payload, MaxDepth)
	valid := c.value(&t.root)
	if valid {
		c.ExpectEnd()
		valid = c.Err() == nil
	}
	if !valid {
		return nil, &Violation{Pointer: pointer(c.tokens), Text: c.violation()}
	}
	if t.absent && string(bytes.TrimSpace(payload)) == "null" {
		return []byte("{}"), nil
	}
	return c.patched(), nil
}

// patch replaces a number's text.
type patch struct {
	from, to int
	text     string
}

func (c *checker) patched() []byte {
	if len(c.patches) == 0 {
		return c.data
	}
	out := make([]byte, 0, len(c.data)+32)
	pos := 0
	for _, p := range c.patches {
		out = append(append(out, c.data[pos:p.from]...), p.text...)
		pos = p.to
	}
	return append(out, c.data[pos:]...)
}

// value checks the next value.
func (c *checker) value(u *use) bool {
	first := c.Peek()
	if first == 0 || first == 'n' && u.nullable {
		return c.anything(false)
	}
	switch u.kind {
	case kindAny:
		return c.anything(false)
	case kindRaw:
		return c.anything(true)
	case kindBool:
		if first == 't' || first == 'f' {
			return c.anything(false)
		}
	case kindInteger, kindNumber:
		if jsonscan.BeginsNumber(first) {
			return c.numeric(u.node)
		}
	case kindString, kindBytes, kindTime:
		if first == '"' {
			text, ok := c.wellFormed(c.String())
			return ok && c.textual(u.node, text)
		}
	case kindArray:
		if first == '[' {
			return c.arrayElements(u.node)
		}
	case kindObject:
		if first == '{' {
			return c.objectMembers(u.node)
		}
	case kindDict:
		if first == '{' {
			return c.dictMembers(u.node)
		}
	}
	return c.wrongKind(u)
}

func (c *checker) wrongKind(u *use) bool {
	name := typeNames[u.kind]
	article := "a "
	if strings.ContainsRune("aio", rune(name[0])) {
		article = "an "
	}
	if u.nullable {
		name += " or null"
	}
	return c.fail("must be " + article + name)
}

func (c *checker) objectMembers(n *node) bool {
	var seen mask
	next := 0
	for more := c.Enter('}'); more; more = c.More('}') {
		key, ok := c.wellFormed(c.FieldName())
		if !ok {
			return false
		}
		i := next
		if i >= len(n.fields) || string(key) != n.fields[i].name {
			var known bool
			if i, known = n.byName[string(key)]; !known {
				return c.unknown(n, string(key))
			}
		}
		f := &n.fields[i]
		if seen.has(i) {
			return c.failAt(f.name, twice)
		}
		seen.set(i)
		next = i + 1
		if !c.value(&f.use) {
			return c.within(f.name)
		}
	}
	if c.Err() != nil {
		return false
	}
	for i := range n.fields {
		if n.required.has(i) && !seen.has(i) {
			return c.failAt(n.fields[i].name, "is required")
		}
	}
	return true
}

func (c *checker) unknown(n *node, key string) bool {
	text := "unknown field"
	for i := range n.fields {
		if strings.EqualFold(n.fields[i].name, key) {
			text += "; names are case-sensitive: " + n.fields[i].name
		}
	}
	return c.failAt(key, text)
}

func (c *checker) dictMembers(n *node) bool {
	var seen distinct
	size := 0
	for more := c.Enter('}'); more; more = c.More('}') {
		name, ok := c.newName(&seen)
		if !ok {
			return false
		}
		if !c.value(n.items) {
			return c.within(name)
		}
		size++
	}
	return c.Err() == nil && c.sized(size, n.minItems, n.maxItems, "property")
}

func (c *checker) arrayElements(n *node) bool {
	var seen distinct
	size := 0
	for more := c.Enter(']'); more; more = c.More(']') {
		c.Peek()
		start := c.Offset()
		ok := c.value(n.items)
		if ok && n.unique && !seen.add(canonical(n.items.node, c.data[start:c.Offset()])) {
			ok = c.fail("stands twice")
		}
		if !ok {
			return c.within(strconv.Itoa(size))
		}
		size++
	}
	return c.Err() == nil && c.sized(size, n.minItems, n.maxItems, "item")
}

// canonical returns the same text for equal strings and for equal integers.
func canonical(n *node, text []byte) string {
	switch {
	case n.kind == kindInteger && text[0] != 'n':
		plain, _ := jsonscan.ParseDecimal(string(text)).Integer()
		return plain
	case bytes.IndexByte(text, '\\') >= 0:
		var s jsonscan.Scanner
		s.Reset(text, 0)
		decoded, _ := s.String()
		return `"` + string(decoded) + `"`
	}
	return string(text)
}

func (c *checker) sized(size, low, high int, what string) bool {
	switch {
	case size < low:
		return c.fail("must have at least " + count(low, what))
	case high >= 0 && size > high:
		return c.fail("must have at most " + count(high, what))
	}
	return true
}

// textual checks a string's decoded text.
func (c *checker) textual(n *node, text []byte) bool {
	limited := n.minLength > 0 || n.maxLength >= 0
	switch {
	case n.kind == kindBytes:
		return base64Text(text) || c.fail("must be base64, with padding")
	case n.kind == kindTime:
		return timeText(text) || c.fail("must be a time as in RFC 3339, like 2006-01-02T15:04:05Z")
	case limited && !c.sized(utf8.RuneCount(text), n.minLength, n.maxLength, "character"):
		return false
	case n.pattern != nil && !n.pattern.Match(text):
		return c.fail("must match " + n.pattern.String())
	case len(n.texts) > 0 && !slices.Contains(n.texts, string(text)):
		return c.notListed(n)
	}
	return true
}

func (c *checker) notListed(n *node) bool {
	const maxListed = 12
	if len(n.texts) > maxListed {
		return c.fail("must be one of " + strings.Join(n.texts[:maxListed], ", ") + ", …")
	}
	return c.fail("must be one of " + strings.Join(n.texts, ", "))
}

// base64Text reports whether text matches base64Pattern.
func base64Text(text []byte) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	body := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("=")), []byte("="))
	return len(text)%4 == 0 && len(bytes.TrimLeft(body, alphabet)) == 0
}

var timeForm = regexp.MustCompile(timePattern)

// timeText reports whether text matches timePattern and is a day that exists.
func timeText(text []byte) bool {
	var t time.Time
	return timeForm.Match(text) && t.UnmarshalText(text) == nil
}

// numeric checks a number.
func (c *checker) numeric(n *node) bool {
	start := c.Offset()
	text, plain, ok := c.number()
	integer, listed := n.kind == kindInteger, len(n.numbers) > 0
	switch {
	case !ok:
		return false
	case !integer && n.lower == nil && n.upper == nil && !listed:
		return true
	case integer && plain && len(text) <= 18 && string(text) != "-0" && !listed:
		return c.small(n, text)
	}
	d := jsonscan.ParseDecimal(string(text))
	switch {
	case integer && !d.IsWhole():
		return c.fail("must be a whole number")
	case !n.lower.above(d) || !n.upper.below(d):
		return c.outOfRange(n)
	case n.multiple > 1 && !d.IsMultipleOf(n.multiple):
		return c.noMultiple(n)
	case listed && !slices.Contains(n.numbers, d):
		return c.notListed(n)
	case !integer:
		return true
	}
	if whole, _ := d.Integer(); whole != string(text) { // it is within the bounds of its type
		c.patches = append(c.patches, patch{start, c.Offset(), whole})
	}
	return true
}

// small checks an integer of at most 18 digits, the common case.
func (c *checker) small(n *node, text []byte) bool {
	i, _ := strconv.ParseInt(string(text), 10, 64)
	switch {
	case i < n.low || i > n.high:
		return c.outOfRange(n)
	case n.multiple > 1 && i%n.multiple != 0:
		return c.noMultiple(n)
	}
	return true
}

// above reports whether d is within a lower bound.
func (b *bound) above(d jsonscan.Decimal) bool {
	return b == nil || d.Compare(b.Decimal) > 0 || d == b.Decimal && !b.exclusive
}

// below reports whether d is within an upper bound.
func (b *bound) below(d jsonscan.Decimal) bool {
	return b == nil || d.Compare(b.Decimal) < 0 || d == b.Decimal && !b.exclusive
}

func (c *checker) noMultiple(n *node) bool {
	return c.fail("must be a multiple of " + strconv.FormatInt(n.multiple, 10))
}

func (c *checker) outOfRange(n *node) bool {
	var rules []string
	if b := n.lower; b != nil {
		rules = append(rules, b.either("at least ", "above ")+b.text)
	}
	if b := n.upper; b != nil {
		rules = append(rules, b.either("at most ", "below ")+b.text)
	}
	return c.fail("must be " + strings.Join(rules, " and "))
}
