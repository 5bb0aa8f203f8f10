package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// drawer draws messages from the schema, as texts, so that also what no
// encoder writes is drawn.
type drawer struct{ o *oracle }

// pair is one field as it is written: a quoted key, and a value's text.
type pair struct{ key, value string }

// fields draws the fields of an object: all that are required, some that are
// not. They are drawn in the order of their names, so that rapid can repeat it.
func (d *drawer) fields(t *rapid.T, s map[string]any, required []string) (out []pair) {
	properties := s["properties"].(map[string]any)
	required = append(required, texts(s["required"])...)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if slices.Contains(required, name) || rapid.IntRange(0, 2).Draw(t, "has "+name) == 0 {
			out = append(out, pair{strconv.Quote(name), d.value(t, properties[name].(map[string]any), name)})
		}
	}
	return rapid.Permutation(out).Draw(t, "order")
}

// message draws a message of one of the types of a definition.
func (d *drawer) message(t *rapid.T, def string) []pair {
	choice := rapid.SampledFrom(d.o.defs[def].(map[string]any)["oneOf"].([]any)).Draw(t, "type").(map[string]any)
	return d.fields(t, d.o.resolved(map[string]any{"$ref": choice["$ref"]}), texts(choice["required"]))
}

// value draws a value that the schema allows.
func (d *drawer) value(t *rapid.T, s map[string]any, name string) string {
	event := s["$ref"] == "#/$defs/event"
	s = d.o.resolved(s)
	switch {
	case event:
		return written(d.message(t, "event"))
	case s["const"] != nil:
		return quoted(t, s["const"].(string))
	case s["enum"] != nil:
		return quoted(t, rapid.SampledFrom(texts(s["enum"])).Draw(t, name))
	case s["x-raw"] == true && s["type"] == "object":
		return rapid.SampledFrom(rawObjects).Draw(t, name)
	case s["x-raw"] == true:
		return rapid.SampledFrom(append(rawValues, rawObjects...)).Draw(t, name)
	}
	switch s["type"] {
	case "string":
		return quoted(t, text(t, s, name))
	case "integer":
		return integer(t, int64(number(s["minimum"])), int64(number(s["maximum"])), name)
	case "number":
		return fmt.Sprint(rapid.Float64Range(float64(number(s["minimum"])), float64(number(s["maximum"]))).Draw(t, name))
	case "boolean":
		return strconv.FormatBool(rapid.Bool().Draw(t, name))
	case "object":
		return written(d.fields(t, s, nil))
	case "array":
		out := make([]string, rapid.IntRange(0, 2).Draw(t, name))
		for i := range out {
			out[i] = d.value(t, s["items"].(map[string]any), name)
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	panic(fmt.Sprintf("%s: %v cannot be drawn", name, s))
}

// text draws a text within its bounds; most are short.
func text(t *rapid.T, s map[string]any, name string) string {
	minLength, maxLength, maxBytes := number(s["minLength"]), number(s["maxLength"]), number(s["x-maxBytes"])
	if pattern, ok := s["pattern"].(string); ok {
		return rapid.StringMatching(pattern).Filter(func(text string) bool {
			return maxLength == 0 || len(text) <= maxLength
		}).Draw(t, name)
	}
	if maxLength == 0 {
		maxLength = 20
	}
	if maxBytes == 0 {
		maxBytes = -1
	}
	if rapid.IntRange(0, 9).Draw(t, "long "+name) > 0 {
		maxLength = min(maxLength, 8)
	}
	return rapid.StringOfN(rapid.SampledFrom(letters), minLength, maxLength, maxBytes).Draw(t, name)
}

// letters are of one to four bytes, and those that must be escaped.
var letters = []rune("az09-_ .é\u2028\ufffd€😀\"\\/\n\t\x00\x7f")

// quoted writes a text as JSON, sometimes with all characters as escapes.
func quoted(t *rapid.T, text string) string {
	if rapid.IntRange(0, 4).Draw(t, "escapes") > 0 {
		out, _ := json.Marshal(text)
		return string(out)
	}
	var b strings.Builder
	for _, r := range text {
		if r > 0xffff {
			high, low := 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff
			fmt.Fprintf(&b, `\u%04x\u%04X`, high, low)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return `"` + b.String() + `"`
}

// integer draws an integer in one of the ways to write it.
func integer(t *rapid.T, low, high int64, name string) string {
	n := rapid.Int64Range(low, high).Draw(t, name)
	switch how := rapid.IntRange(0, 9).Draw(t, "how "+name); {
	case n == 0 && how < 4:
		return []string{"0.0", "0e0", "0E-3", "-0"}[how]
	case how < 4:
		return fmt.Sprintf("%d%s", n, []string{".0", "e0", "000E-3", ".000e+0"}[how])
	}
	return fmt.Sprint(n)
}

// written joins fields.
func written(fields []pair) string {
	out := make([]string, len(fields))
	for i, f := range fields {
		out[i] = f.key + ":" + f.value
	}
	return "{" + strings.Join(out, ",") + "}"
}

// texts returns a list of the schema's.
func texts(list any) (out []string) {
	all, _ := list.([]any)
	for _, v := range all {
		out = append(out, v.(string))
	}
	return out
}

// What a payload may be, and the rest of a message mostly not.
var (
	rawObjects = []string{`{}`, `{"a":1,"a":2}`, `{"a":"\ud800"}`, `{"\udc00":null}`, `{"x" : [1e400, -0, 12345678901234567890]}`, `{"type":5}`}
	rawValues  = []string{`null`, `1`, `-0.0`, `"x"`, `"\ud83d"`, `[]`, `[[1 , 2]]`, `true`, `9007199254740993`}
)
