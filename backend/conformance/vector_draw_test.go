package conformance_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// drawer draws messages from the schema, as texts, so that what a writer of
// JSON would never write is drawn, too.
type drawer struct{ o *oracle }

// pair is one field as it is written: a quoted key, and a value's text.
type pair struct{ key, value string }

// fields draws the fields of a message or record that the schema allows: all
// that are required, some that are not. Nothing in a schema stands in maps that
// Go would go over in another order each time: rapid must be able to repeat.
func (d *drawer) fields(t *rapid.T, s map[string]any, required []string) []pair {
	properties := s["properties"].(map[string]any)
	must := map[string]bool{}
	for _, name := range append(texts(s["required"]), required...) {
		must[name] = true
	}
	var out []pair
	for _, name := range sorted(properties) {
		if must[name] || rapid.IntRange(0, 2).Draw(t, "has "+name) == 0 {
			out = append(out, pair{strconv.Quote(name), d.value(t, properties[name].(map[string]any), name)})
		}
	}
	return rapid.Permutation(out).Draw(t, "order")
}

// message draws a message of one of the types of a definition.
func (d *drawer) message(t *rapid.T, def string) []pair {
	choices := d.o.defs[def].(map[string]any)["oneOf"].([]any)
	choice := choices[rapid.IntRange(0, len(choices)-1).Draw(t, "type")].(map[string]any)
	base := d.o.resolved(map[string]any{"$ref": choice["$ref"]})
	return d.fields(t, base, texts(choice["required"]))
}

// value draws a value that the schema allows.
func (d *drawer) value(t *rapid.T, s map[string]any, name string) string {
	s = d.o.resolved(s)
	switch {
	case s["const"] != nil:
		return d.quoted(t, s["const"].(string))
	case s["enum"] != nil:
		return d.quoted(t, rapid.SampledFrom(texts(s["enum"])).Draw(t, name))
	case s["oneOf"] != nil:
		panic("a choice stands in " + name)
	case s["x-raw"] == true && s["type"] == "object":
		return rapid.SampledFrom(rawObjects).Draw(t, name)
	case s["x-raw"] == true:
		return rapid.SampledFrom(append(rawValues, rawObjects...)).Draw(t, name)
	}
	switch s["type"] {
	case "string":
		return d.quoted(t, d.text(t, s, name))
	case "integer":
		return whole(t, int64(number(s["minimum"])), int64(number(s["maximum"])), name)
	case "number":
		return strconv.FormatFloat(rapid.Float64Range(float64(number(s["minimum"])), float64(number(s["maximum"]))).Draw(t, name), 'g', -1, 64)
	case "boolean":
		return strconv.FormatBool(rapid.Bool().Draw(t, name))
	case "object":
		return written(d.fields(t, s, nil))
	case "array":
		return d.array(t, s["items"].(map[string]any), name)
	}
	panic(fmt.Sprintf("%s: %v cannot be drawn", name, s))
}

func (d *drawer) array(t *rapid.T, items map[string]any, name string) string {
	var out []string
	for range rapid.IntRange(0, 2).Draw(t, name) {
		if items["$ref"] == "#/$defs/event" {
			out = append(out, written(d.message(t, "event")))
			continue
		}
		out = append(out, d.value(t, items, name))
	}
	return "[" + strings.Join(out, ",") + "]"
}

// text draws a text within its bounds.
func (d *drawer) text(t *rapid.T, s map[string]any, name string) string {
	least, most, bytes := number(s["minLength"]), number(s["maxLength"]), number(s["x-maxBytes"])
	if pattern, ok := s["pattern"].(string); ok {
		return rapid.StringMatching(pattern).Filter(func(text string) bool {
			return most == 0 || len(text) <= most
		}).Draw(t, name)
	}
	if most == 0 {
		most = 20
	}
	if bytes == 0 {
		bytes = -1
	}
	if rapid.IntRange(0, 9).Draw(t, "long "+name) > 0 {
		most = min(most, 8) // most are short
	}
	return rapid.StringOfN(rapid.SampledFrom(letters), least, most, bytes).Draw(t, name)
}

// letters are of one to four bytes, and those that a writer must escape.
var letters = []rune("az09-_ .é\u2028\ufffd€😀\"\\/\n\t\x00\x7f")

// quoted writes a text as JSON, some of its characters as escapes.
func (d *drawer) quoted(t *rapid.T, text string) string {
	if rapid.IntRange(0, 4).Draw(t, "escapes") > 0 {
		out, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r > 0xffff:
			high, low := 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff
			fmt.Fprintf(&b, `\u%04x\u%04X`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// whole draws a whole number in one of the ways to write it.
func whole(t *rapid.T, low, high int64, name string) string {
	n := rapid.Int64Range(low, high).Draw(t, name)
	text := strconv.FormatInt(n, 10)
	switch rapid.IntRange(0, 9).Draw(t, "how "+name) {
	case 0:
		return text + ".0"
	case 1:
		return text + "e0"
	case 2:
		if n == 0 {
			return "0E-3"
		}
		return text + "000E-3"
	case 3:
		if n == 0 {
			return "-0"
		}
		return text + ".000e+0"
	default:
		return text
	}
}

// written puts fields together.
func written(fields []pair) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key + ":" + f.value
	}
	return "{" + strings.Join(out, ",") + "}"
}

func texts(list any) (out []string) {
	all, _ := list.([]any)
	for _, v := range all {
		out = append(out, v.(string))
	}
	return out
}

// What a payload may be, and an envelope mostly not.
var (
	rawObjects = []string{`{}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"\udc00":null}`, `{"x" : [1e400, -0, 12345678901234567890]}`, `{"type":5}`}
	rawValues  = []string{`null`, `1`, `-0.0`, `"x"`, `"\ud83d"`, `[]`, `[[1 , 2]]`, `true`, `9007199254740993`}
)
