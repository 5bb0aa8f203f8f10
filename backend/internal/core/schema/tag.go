package schema

import (
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// keywords are the keywords in a field's tags. The node that a keyword describes
// takes it; a keyword that is not taken is an error.
type keywords struct {
	rest  []keyword
	notes notes
}

type keyword struct{ name, value string }

func parseKeywords(tag reflect.StructTag) *keywords {
	k := &keywords{notes: notes{description: tag.Get("jsonschema_description")}}
	text := tag.Get("jsonschema")
	if text == "" {
		return k
	}
	const comma = "\x00"
	for part := range strings.SplitSeq(strings.ReplaceAll(text, `\,`, comma), ",") {
		name, value, _ := strings.Cut(strings.ReplaceAll(part, comma, ","), "=")
		switch name {
		case "title":
			k.notes.title = value
		case "description":
			k.notes.description = value
		default:
			k.rest = append(k.rest, keyword{name, value})
		}
	}
	return k
}

// forItems takes the remaining keywords, for the items.
func (k *keywords) forItems() *keywords {
	items := &keywords{rest: k.rest}
	k.rest = nil
	return items
}

// take takes the first value of a keyword.
func (k *keywords) take(name string) (value string, given bool) {
	i := slices.IndexFunc(k.rest, func(w keyword) bool { return w.name == name })
	if i < 0 {
		return "", false
	}
	value = k.rest[i].value
	k.rest = slices.Delete(k.rest, i, i+1)
	return value, true
}

// takeAll takes every value of a keyword.
func (k *keywords) takeAll(name string) (values []string) {
	for value, given := k.take(name); given; value, given = k.take(name) {
		values = append(values, value)
	}
	return values
}

// hints are for keywords that are not taken.
var hints = map[string]string{
	"default":  ": it would not be set; mention it in the description",
	"format":   ": it would not be enforced; use pattern, or a type with text methods",
	"required": ": a field is required unless it is omitempty or omitzero",
}

// finish reports the keywords that were not taken.
func (k *keywords) finish(b *builder, path string, t reflect.Type) {
	for _, w := range k.rest {
		b.wrong(path, "the keyword %q stands twice, is unknown, or does not fit %s%s", w.name, t, hints[w.name])
	}
}

// takeSize takes a non-negative whole number.
func (b *builder) takeSize(k *keywords, name, path string, otherwise int) int {
	text, given := k.take(name)
	if !given {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		b.wrong(path, "%s must be a whole number from 0 to 2147483647, not %q", name, text)
		return otherwise
	}
	return int(n)
}

// takeSizes takes a lower and an upper size.
func (b *builder) takeSizes(k *keywords, low, high, path string) (least, most int) {
	least, most = b.takeSize(k, low, path, 0), b.takeSize(k, high, path, -1)
	if most >= 0 && most < least {
		b.wrong(path, "%s is above %s", low, high)
	}
	return least, most
}

func (b *builder) arrayKeywords(n *node, path string, k *keywords) {
	n.minItems, n.maxItems = b.takeSizes(k, "minItems", "maxItems", path)
	value, given := k.take("uniqueItems")
	if n.unique = given; given && value != "" && value != "true" {
		b.wrong(path, "uniqueItems is true or absent")
	}
}

// stringKeywords takes the keywords of strings.
func (b *builder) stringKeywords(n *node, path string, k *keywords) {
	n.minLength, n.maxLength = b.takeSizes(k, "minLength", "maxLength", path)
	if text, given := k.take("pattern"); given {
		n.pattern = b.pattern(text, path)
	}
	n.texts = k.takeAll("enum")
	for _, text := range k.takeAll("example") {
		k.notes.examples = append(k.notes.examples, quoted(text))
	}
}

// foreign matches constructs of Go's regular expressions that do not exist in
// ECMA-262, whose grammar JSON Schema uses.
var foreign = regexp.MustCompile(`\(\?[^:]|\\[AzQEC]|\[\[:|\\[pP]`)

func (b *builder) pattern(text, path string) *regexp.Regexp {
	re, err := regexp.Compile(text)
	switch {
	case err != nil:
		b.wrong(path, "pattern: %v", err)
	case foreign.MatchString(text):
		b.wrong(path, "pattern: %q is more than what Go and ECMA-262 have in common", text)
	}
	return re
}

var numberForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?$`)

// bound takes one end of a range; nil if there is none.
func (b *builder) bound(n *node, k *keywords, inclusive, exclusive, path string) *bound {
	name := inclusive
	text, given := k.take(inclusive)
	other, strict := k.take(exclusive)
	switch {
	case given && strict:
		b.wrong(path, "one of %s and %s, not both", inclusive, exclusive)
		return nil
	case strict:
		name, text = exclusive, other
	case !given:
		return nil
	}
	if !b.numeric(n, name, text, path) {
		return nil
	}
	return newBound(text, strict)
}

// numeric reports whether a keyword's value is a number of the node's kind.
func (b *builder) numeric(n *node, name, text, path string) bool {
	if !numberForm.MatchString(text) {
		b.wrong(path, "%s: %q is not a JSON number", name, text)
		return false
	}
	if n.kind == kindInteger && !jsonscan.ParseDecimal(text).IsWhole() {
		b.wrong(path, "%s: %s is not whole, the field is", name, text)
		return false
	}
	return true
}

// numberKeywords takes the keywords of numbers.
func (b *builder) numberKeywords(n *node, path string, k *keywords) {
	if lower := b.bound(n, k, "minimum", "exclusiveMinimum", path); lower != nil {
		if n.lower != nil && lower.Compare(n.lower.Decimal) < 0 {
			b.wrong(path, "the minimum %s is below what %s holds", lower.text, n.goType)
		}
		n.lower = lower
	}
	if upper := b.bound(n, k, "maximum", "exclusiveMaximum", path); upper != nil {
		if n.upper != nil && upper.Compare(n.upper.Decimal) > 0 {
			b.wrong(path, "the maximum %s is above what %s holds", upper.text, n.goType)
		}
		n.upper = upper
	}
	if n.lower != nil && n.upper != nil && n.lower.Compare(n.upper.Decimal) > 0 {
		b.wrong(path, "the minimum %s is above the maximum %s", n.lower.text, n.upper.text)
	}
	if text, given := k.take("multipleOf"); given {
		m, err := strconv.ParseInt(text, 10, 32)
		if err != nil || m <= 0 || n.kind != kindInteger {
			b.wrong(path, "multipleOf is a whole number from 1 to 2147483647, of an integer")
			m = 1
		}
		n.multiple = m
	}
	for _, text := range k.takeAll("enum") {
		if b.numeric(n, "enum", text, path) {
			n.numbers = append(n.numbers, jsonscan.ParseDecimal(text))
			n.texts = append(n.texts, text)
		}
	}
	for _, text := range k.takeAll("example") {
		if b.numeric(n, "example", text, path) {
			k.notes.examples = append(k.notes.examples, text)
		}
	}
	if n.kind == kindInteger {
		n.low, n.high = n.lower.int64(1), n.upper.int64(-1)
	}
}

// int64 returns the bound, made inclusive by a step, within the range of int64.
func (b *bound) int64(step int64) int64 {
	text, _ := b.Integer()
	n, _ := strconv.ParseInt(text, 10, 64) // beyond int64 it is the nearest int64
	if b.exclusive {
		n += step // within range: the bounds are within the type's
	}
	return n
}

// quoted returns a text as JSON.
// quoted returns a text as JSON.
func quoted(text string) string {
	out, _ := json.Marshal(text) // a string can always be encoded
	return string(out)
}
