package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// keywords are the keywords in a field's tags. The node that a keyword describes
// takes it; a keyword that is not taken is an error. A nil *keywords is empty.
type keywords struct {
	list []keyword
	note notes
}

type keyword struct {
	name, value string
	taken       bool
}

// ownOfArrays and ownOfMaps are the keywords that do not apply to items.
var (
	ownOfArrays = []string{"minItems", "maxItems", "uniqueItems"}
	ownOfMaps   = []string{"minProperties", "maxProperties"}
)

func parseKeywords(tag reflect.StructTag) *keywords {
	k := &keywords{note: notes{description: tag.Get("jsonschema_description")}}
	text := tag.Get("jsonschema")
	if text == "" {
		return k
	}
	const comma = "\x00"
	for part := range strings.SplitSeq(strings.ReplaceAll(text, `\,`, comma), ",") {
		name, value, _ := strings.Cut(strings.ReplaceAll(part, comma, ","), "=")
		switch name {
		case "title":
			k.note.title = value
		case "description":
			k.note.description = value
		default:
			k.list = append(k.list, keyword{name: name, value: value})
		}
	}
	return k
}

func (k *keywords) notes() notes {
	if k == nil {
		return notes{}
	}
	return k.note
}

// inner returns the remaining keywords, for the items.
func (k *keywords) inner() *keywords {
	if k == nil {
		return nil
	}
	in := &keywords{}
	for i := range k.list {
		if w := &k.list[i]; !w.taken {
			in.list = append(in.list, *w)
			w.taken = true
		}
	}
	return in
}

// takeAll takes every value of a keyword.
func (k *keywords) takeAll(name string) []string {
	if k == nil {
		return nil
	}
	var out []string
	for i := range k.list {
		if w := &k.list[i]; w.name == name && !w.taken {
			w.taken = true
			out = append(out, w.value)
		}
	}
	return out
}

// takeOne takes the first value of a keyword; finish reports a second one.
func (k *keywords) takeOne(name string) string {
	if k == nil {
		return ""
	}
	for i := range k.list {
		if w := &k.list[i]; w.name == name {
			w.taken = true
			return w.value
		}
	}
	return ""
}

func (k *keywords) contains(name string) bool {
	return k != nil && slices.ContainsFunc(k.list, func(w keyword) bool { return w.name == name && !w.taken })
}

// finish reports the keywords that were not taken.
func (k *keywords) finish(b *builder, path string, t reflect.Type) {
	if k == nil {
		return
	}
	for _, w := range k.list {
		hint := ""
		switch {
		case w.taken:
			continue
		case w.name == "default":
			hint = ": it would not be set; mention it in the description"
		case w.name == "format":
			hint = ": it would not be enforced; use pattern, or a type with text methods"
		case w.name == "required":
			hint = ": a field is required unless it is omitempty or omitzero"
		}
		b.wrong(path, "the keyword %q stands twice, is unknown, or does not fit %s%s", w.name, t, hint)
	}
}

// takeSize takes a non-negative whole number.
func (b *builder) takeSize(k *keywords, name, path string, otherwise int) int {
	if !k.contains(name) {
		return otherwise
	}
	text := k.takeOne(name)
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
	n.minItems, n.maxItems = b.takeSizes(k, ownOfArrays[0], ownOfArrays[1], path)
	if k.contains(ownOfArrays[2]) {
		switch v := k.takeOne(ownOfArrays[2]); v {
		case "", "true":
			n.unique = true
		default:
			b.wrong(path, "uniqueItems is true or absent")
		}
	}
}

// checkUnique checks that the items can be compared.
func (b *builder) checkUnique(n *node, path string) {
	if n.unique && n.items.kind != kindString && n.items.kind != kindInteger {
		b.wrong(path, "uniqueItems is for strings and integers")
	}
}

func (b *builder) dictKeywords(n *node, path string, k *keywords) {
	n.minItems, n.maxItems = b.takeSizes(k, ownOfMaps[0], ownOfMaps[1], path)
}

// stringKeywords takes the keywords of strings.
func (b *builder) stringKeywords(n *node, path string, k *keywords) {
	n.minLength, n.maxLength = b.takeSizes(k, "minLength", "maxLength", path)
	if k.contains("pattern") {
		n.pattern = b.pattern(k.takeOne("pattern"), path)
	}
	n.texts = k.takeAll("enum")
	for _, example := range k.takeAll("example") {
		b.example(k, example)
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

func newBound(text string, exclusive bool) *bound {
	f, _ := strconv.ParseFloat(text, 64)
	return &bound{jsonscan.ParseDecimal(text), text, f, exclusive}
}

// bound takes one end of a range.
func (b *builder) bound(n *node, k *keywords, inclusive, exclusive, path string) *bound {
	name := inclusive
	switch {
	case k.contains(exclusive) && k.contains(inclusive):
		b.wrong(path, "one of %s and %s, not both", inclusive, exclusive)
		return nil
	case k.contains(exclusive):
		name = exclusive
	case !k.contains(inclusive):
		return nil
	}
	text := k.takeOne(name)
	if !b.numeric(n, name, text, path) {
		return nil
	}
	return newBound(text, name == exclusive)
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
	if k.contains("multipleOf") {
		m, err := strconv.ParseInt(k.takeOne("multipleOf"), 10, 32)
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
			k.note.examples = append(k.note.examples, json.RawMessage(text))
		}
	}
	if n.kind == kindInteger {
		n.low, n.high = n.lower.int64(1), n.upper.int64(-1)
	}
}

func (b *builder) example(k *keywords, text string) {
	k.note.examples = append(k.note.examples, json.RawMessage(quoted(text)))
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

func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return string(out)
}
