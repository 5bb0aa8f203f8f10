package schema

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Check judges a payload. It returns the payload as encoding/json can decode it
// into the Go type: the same bytes, but for whole numbers written with a
// fraction or an exponent (1.0, 1e2), which JSON Schema counts as integers, and
// for an absent input, which becomes {}. An empty payload counts as null.
func (t *Type) Check(payload []byte) ([]byte, *Violation) {
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if !utf8.Valid(payload) {
		return nil, &Violation{Text: "not UTF-8"}
	}
	c := checker{scanner: scanner{data: payload}}
	if !c.value(&t.root, 0) || !c.end() {
		return nil, &Violation{Pointer: pointer(c.tokens), Text: c.text}
	}
	if t.absent && string(bytes.TrimSpace(payload)) == "null" {
		return []byte("{}"), nil
	}
	return c.patched(), nil
}

// checker holds a value against a description of values.
type checker struct {
	scanner
	patches []patch
}

// patch replaces a number's text.
type patch struct {
	from, to int
	text     string
}

func (c *checker) end() bool {
	if c.space(); c.pos < len(c.data) {
		return c.fail("something follows the value")
	}
	return true
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

// value judges the next value.
func (c *checker) value(u *use, depth int) bool {
	first := c.peek()
	if first == 0 {
		return c.notJSON()
	}
	if u.kind == kindAny || u.kind == kindRaw {
		return c.anything(depth, u.kind == kindRaw)
	}
	if first == 'n' && u.nullable {
		return c.literal("null")
	}
	switch u.kind {
	case kindAny, kindRaw: // judged above
	case kindBool:
		switch first {
		case 't':
			return c.literal("true")
		case 'f':
			return c.literal("false")
		}
	case kindInteger, kindNumber:
		if first == '-' || '0' <= first && first <= '9' {
			return c.numeric(u.node)
		}
	case kindString, kindBytes, kindTime:
		if first == '"' {
			text, ok := c.str()
			return ok && c.textual(u.node, text)
		}
	case kindArray:
		if first == '[' {
			return c.array(u.node, depth)
		}
	case kindObject:
		if first == '{' {
			return c.object(u.node, depth)
		}
	case kindDict:
		if first == '{' {
			return c.dict(u.node, depth)
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

func (c *checker) object(n *node, depth int) bool {
	var seen mask
	next := 0
	ok := c.members(depth, func(key []byte) bool {
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
		return c.value(&f.use, depth+1) || c.within(f.name)
	})
	if !ok {
		return false
	}
	for i := range seen {
		if n.required[i]&^seen[i] != 0 {
			return c.missing(n, &seen)
		}
	}
	return true
}

func (c *checker) missing(n *node, seen *mask) bool {
	for i := range n.fields {
		if n.required.has(i) && !seen.has(i) {
			return c.failAt(n.fields[i].name, "is required")
		}
	}
	return false
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

func (c *checker) dict(n *node, depth int) bool {
	var seen keys
	size := 0
	ok := c.members(depth, func(key []byte) bool {
		name := string(key)
		if !seen.add(name) {
			return c.failAt(name, twice)
		}
		size++
		return c.value(n.items, depth+1) || c.within(name)
	})
	return ok && c.sized(size, n.minItems, n.maxItems, "property")
}

func (c *checker) array(n *node, depth int) bool {
	var seen keys
	size, ok := c.elements(depth, func(int) bool {
		c.space()
		start := c.pos
		if !c.value(n.items, depth+1) {
			return false
		}
		if n.unique && !seen.add(c.canonical(n.items.node, c.data[start:c.pos])) {
			return c.fail("stands twice")
		}
		return true
	})
	return ok && c.sized(size, n.minItems, n.maxItems, "item")
}

// canonical makes equal values of strings and integers equal texts.
func (c *checker) canonical(n *node, text []byte) string {
	switch {
	case n.kind == kindInteger && text[0] != 'n':
		plain, _ := parseDecimal(string(text)).integer()
		return plain
	case bytes.IndexByte(text, '\\') >= 0:
		return `"` + string(c.buf) + `"` // the string that was read last
	}
	return string(text)
}

func (c *checker) sized(size, least, most int, what string) bool {
	switch {
	case size < least:
		return c.fail("must have at least " + count(least, what))
	case most >= 0 && size > most:
		return c.fail("must have at most " + count(most, what))
	}
	return true
}

// textual judges a string's decoded text.
func (c *checker) textual(n *node, text []byte) bool {
	if n.kind == kindBytes {
		return base64Text(text) || c.fail("must be base64, with padding")
	}
	if n.kind == kindTime {
		return timeText(text) || c.fail("must be a time as in RFC 3339, like 2006-01-02T15:04:05Z")
	}
	if n.minLength > 0 || n.maxLength >= 0 {
		if !c.sized(utf8.RuneCount(text), n.minLength, n.maxLength, "character") {
			return false
		}
	}
	if n.pattern != nil && !n.pattern.Match(text) {
		return c.fail("must match " + n.pattern.String())
	}
	if len(n.texts) == 0 {
		return true
	}
	for _, allowed := range n.texts {
		if string(text) == allowed {
			return true
		}
	}
	return c.notListed(n)
}

func (c *checker) notListed(n *node) bool {
	const most = 12
	if len(n.texts) > most {
		return c.fail("must be one of " + strings.Join(n.texts[:most], ", ") + ", …")
	}
	return c.fail("must be one of " + strings.Join(n.texts, ", "))
}

// base64Text tells whether text matches base64Pattern.
func base64Text(text []byte) bool {
	if len(text)%4 != 0 {
		return false
	}
	body := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("=")), []byte("="))
	for _, b := range body {
		if (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '+' && b != '/' {
			return false
		}
	}
	return true
}

var timeForm = regexp.MustCompile(timePattern)

// timeText tells whether text matches timePattern and is a day that exists.
func timeText(text []byte) bool {
	var t time.Time
	return timeForm.Match(text) && t.UnmarshalText(text) == nil
}

// numeric judges a number.
func (c *checker) numeric(n *node) bool {
	start := c.pos
	text, plain, ok := c.number()
	if !ok {
		return false
	}
	if n.kind == kindNumber {
		return c.real(n, text)
	}
	if plain && len(text) <= 18 {
		i, _ := strconv.ParseInt(string(text), 10, 64)
		if i == 0 && text[0] == '-' {
			c.patches = append(c.patches, patch{start, c.pos, "0"})
		}
		switch {
		case i < n.low || i > n.high:
			return c.outOfRange(n)
		case n.multiple > 1 && i%n.multiple != 0:
			return c.fail("must be a multiple of " + strconv.FormatInt(n.multiple, 10))
		}
		if len(n.numbers) == 0 {
			return true
		}
	}
	d := parseDecimal(string(text))
	switch {
	case !d.whole():
		return c.fail("must be a whole number")
	case !n.lower.above(d) || !n.upper.below(d):
		return c.outOfRange(n)
	case n.multiple > 1 && !d.multipleOf(n.multiple):
		return c.fail("must be a multiple of " + strconv.FormatInt(n.multiple, 10))
	case !plain:
		whole, _ := d.integer() // it is within the bounds of its type
		c.patches = append(c.patches, patch{start, c.pos, whole})
	}
	return c.listed(n, d)
}

func (c *checker) listed(n *node, d decimal) bool {
	for _, allowed := range n.numbers {
		if d.compare(allowed) == 0 {
			return true
		}
	}
	return len(n.numbers) == 0 || c.notListed(n)
}

// real judges a number that need not be whole.
func (c *checker) real(n *node, text []byte) bool {
	if n.lower == nil && n.upper == nil && len(n.numbers) == 0 {
		return true
	}
	var d decimal
	f, _ := strconv.ParseFloat(string(text), 64)
	exact := func() decimal {
		if d == (decimal{}) {
			d = parseDecimal(string(text))
		}
		return d
	}
	// Rounding keeps the order, so floats decide unless they are equal.
	if b := n.lower; b != nil && (f < b.float || f == b.float && !b.above(exact())) {
		return c.outOfRange(n)
	}
	if b := n.upper; b != nil && (f > b.float || f == b.float && !b.below(exact())) {
		return c.outOfRange(n)
	}
	return len(n.numbers) == 0 || c.listed(n, exact())
}

// above tells whether d keeps a lower bound.
func (b *bound) above(d decimal) bool {
	s := d.compare(b.decimal)
	return s > 0 || s == 0 && !b.exclusive
}

// below tells whether d keeps an upper bound.
func (b *bound) below(d decimal) bool {
	s := d.compare(b.decimal)
	return s < 0 || s == 0 && !b.exclusive
}

func (c *checker) outOfRange(n *node) bool {
	var rules []string
	add := func(b *bound, inclusive, exclusive string) {
		switch {
		case b == nil:
		case b.exclusive:
			rules = append(rules, exclusive+b.text)
		default:
			rules = append(rules, inclusive+b.text)
		}
	}
	add(n.lower, "at least ", "above ")
	add(n.upper, "at most ", "below ")
	return c.fail("must be " + strings.Join(rules, " and "))
}
