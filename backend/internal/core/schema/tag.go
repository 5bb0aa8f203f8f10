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

// keywords are what a field's tags say. Each is taken by the node that it
// speaks of; what nobody takes is an error. A nil *keywords is empty.
type keywords struct {
	list []keyword
	note notes
}

type keyword struct {
	name, value string
	taken       bool
}

// ownOfArrays and ownOfMaps are the keywords that do not pass on to items.
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

// inner is what is left for the items.
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

// all takes every value of a keyword.
func (k *keywords) all(name string) []string {
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

// text takes a keyword that stands at most once; a second one stays behind and
// is found by finish.
func (k *keywords) text(name string) string {
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

func (k *keywords) has(name string) bool {
	return k != nil && slices.ContainsFunc(k.list, func(w keyword) bool { return w.name == name && !w.taken })
}

// finish complains about the keywords that nobody has taken.
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
			hint = ": nobody would set it; say it in the description"
		case w.name == "format":
			hint = ": nobody would enforce it; use pattern, or a type with text methods"
		case w.name == "required":
			hint = ": a field is required unless it is omitempty or omitzero"
		}
		b.wrong(path, "the keyword %q stands twice, is unknown, or does not fit %s%s", w.name, t, hint)
	}
}

// size takes a whole number that is not negative.
func (b *builder) size(k *keywords, name, path string, otherwise int) int {
	if !k.has(name) {
		return otherwise
	}
	text := k.text(name)
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		b.wrong(path, "%s must be a whole number from 0 to 2147483647, not %q", name, text)
		return otherwise
	}
	return int(n)
}

// pair takes a lower and an upper size.
func (b *builder) pair(k *keywords, low, high, path string) (least, most int) {
	least, most = b.size(k, low, path, 0), b.size(k, high, path, -1)
	if most >= 0 && most < least {
		b.wrong(path, "%s is above %s", low, high)
	}
	return least, most
}

func (b *builder) array(n *node, path string, k *keywords) {
	n.minItems, n.maxItems = b.pair(k, ownOfArrays[0], ownOfArrays[1], path)
	if k.has(ownOfArrays[2]) {
		switch v := k.text(ownOfArrays[2]); v {
		case "", "true":
			n.unique = true
		default:
			b.wrong(path, "uniqueItems is true or absent")
		}
	}
}

// unique checks that the items can be compared.
func (b *builder) unique(n *node, path string) {
	if n.unique && n.items.kind != kindString && n.items.kind != kindInteger {
		b.wrong(path, "uniqueItems is for strings and integers")
	}
}

func (b *builder) dict(n *node, path string, k *keywords) {
	n.minItems, n.maxItems = b.pair(k, ownOfMaps[0], ownOfMaps[1], path)
}

// str takes the keywords of strings.
func (b *builder) str(n *node, path string, k *keywords) {
	n.minLength, n.maxLength = b.pair(k, "minLength", "maxLength", path)
	if k.has("pattern") {
		n.pattern = b.pattern(k.text("pattern"), path)
	}
	n.texts = k.all("enum")
	for _, example := range k.all("example") {
		b.example(k, example)
	}
}

// foreign are the constructs of Go's regular expressions that ECMA-262, whose
// grammar JSON Schema uses, does not have.
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
	case k.has(exclusive) && k.has(inclusive):
		b.wrong(path, "one of %s and %s, not both", inclusive, exclusive)
		return nil
	case k.has(exclusive):
		name = exclusive
	case !k.has(inclusive):
		return nil
	}
	text := k.text(name)
	if !b.numeric(n, name, text, path) {
		return nil
	}
	return newBound(text, name == exclusive)
}

// numeric tells whether a keyword's value is a number of the node's kind.
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

// number takes the keywords of numbers.
func (b *builder) number(n *node, path string, k *keywords) {
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
	if k.has("multipleOf") {
		m, err := strconv.ParseInt(k.text("multipleOf"), 10, 32)
		if err != nil || m <= 0 || n.kind != kindInteger {
			b.wrong(path, "multipleOf is a whole number from 1 to 2147483647, of an integer")
			m = 1
		}
		n.multiple = m
	}
	for _, text := range k.all("enum") {
		if b.numeric(n, "enum", text, path) {
			n.numbers = append(n.numbers, jsonscan.ParseDecimal(text))
			n.texts = append(n.texts, text)
		}
	}
	for _, text := range k.all("example") {
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

// int64 is the bound made inclusive by a step, as far as int64 goes.
func (b *bound) int64(step int64) int64 {
	text, _ := b.Integer()
	n, _ := strconv.ParseInt(text, 10, 64) // beyond int64 it is int64's own end
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
