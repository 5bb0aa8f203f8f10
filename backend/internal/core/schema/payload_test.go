package schema_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// payload is a JSON text for a test.
type payload struct {
	text string
	// sloppy: it breaks a rule that no schema can state, such as that of unique
	// keys.
	sloppy bool
	// exact: no number in it has more digits than a float holds, so that the value
	// that Go encodes is within the same bounds.
	exact bool
}

// drawing writes payloads that usually fit a schema, and often nearly fit.
type drawing struct {
	t    *rapid.T
	root map[string]any
	p    payload
	left int // objects and arrays that may still be opened
}

func draw(t *rapid.T, doc any) payload {
	root, _ := doc.(map[string]any)
	d := drawing{t: t, root: root, p: payload{exact: true}, left: 12}
	d.p.text = d.space() + d.value(doc, 0) + d.space()
	return d.p
}

func (d *drawing) chance(percent int, what string) bool {
	return rapid.IntRange(0, 99).Draw(d.t, what) < percent
}

func (d *drawing) of(values ...string) string { return rapid.SampledFrom(values).Draw(d.t, "of") }

func (d *drawing) space() string { return d.of("", "", "", " ", "\n\t") }

// value writes a value of the schema, or sometimes of no schema.
func (d *drawing) value(doc any, depth int) string {
	m, ok := doc.(map[string]any)
	if !ok || d.chance(3, "stray") {
		return d.stray(depth)
	}
	if ref, ok := m["$ref"].(string); ok {
		return d.value(d.resolve(ref), depth)
	}
	if either, ok := m["anyOf"].([]any); ok {
		return d.value(rapid.SampledFrom(either).Draw(d.t, "anyOf"), depth)
	}
	if enum, ok := m["enum"].([]any); ok && d.chance(80, "enum") {
		text, _ := json.Marshal(rapid.SampledFrom(enum).Draw(d.t, "enum"))
		return string(text)
	}
	kind, _ := m["type"].(string)
	if kinds, ok := m["type"].([]any); ok {
		kind = kinds[0].(string)
		if d.chance(15, "null") {
			kind = "null"
		}
	}
	switch kind {
	case "null":
		return "null"
	case "boolean":
		return d.of("true", "false")
	case "integer", "number":
		return d.number(m, kind)
	case "string":
		return d.text(m)
	case "array":
		return d.array(m, depth)
	case "object":
		return d.object(m, depth)
	}
	return d.stray(depth)
}

func (d *drawing) resolve(ref string) any {
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	if !ok {
		return any(d.root)
	}
	return d.root["$defs"].(map[string]any)[name]
}

// number writes numbers at and next to the bounds, in all forms.
func (d *drawing) number(m map[string]any, kind string) string {
	near := []string{"0", "-0", "1", "-1", "2", "5", "7", "10", "1.0", "1e1", "100e-1", "1E+2", "0.5", "1.5", "-0.0", "0e5", "300", "3e2", "2.5e1", "12", "3", "6"}
	for _, name := range []string{"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"} {
		if b, ok := m[name].(json.Number); ok {
			near = append(near, b.String(), b.String())
			if s := b.String(); !strings.ContainsAny(s, ".e") && s != "0" {
				near = append(near, b.String()+".0", b.String()+"0", beside(b.String()))
			}
		}
	}
	if d.chance(15, "long") {
		d.p.exact = false
		return d.of("0.30000000000000000000000000001", "0.3000000000000000000000", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
			"18446744073709551615", "18446744073709551616", "1e19", "1e20", "3e38", "4e38", "1e308", "0.1e1", "12345678901234567890123e-5", "1e-400", "1e-4000",
			"123456789012345678", "1234567890123456789", "10000000000000000000000000000000000e-34", "0.0000000000000000000000000001e28")
	}
	if d.chance(2, "beyond") {
		d.p.sloppy = true
		return d.of("1e400", "-1e99999999999", "1"+strings.Repeat("0", 320))
	}
	if d.chance(50, "near") {
		return d.of(near...)
	}
	if kind == "number" && d.chance(50, "fraction") {
		return fmt.Sprint(rapid.Float64Range(-2, 2).Draw(d.t, "fraction"))
	}
	return fmt.Sprint(rapid.IntRange(-20, 320).Draw(d.t, "integer"))
}

// beside changes the last digit.
func beside(text string) string {
	last := text[len(text)-1]
	return text[:len(text)-1] + string('0'+(last-'0'+1)%10)
}

func (d *drawing) text(m map[string]any) string {
	if d.chance(2, "lone") {
		d.p.sloppy = true
		return d.of(`"\ud800"`, `"a\udc00b"`, `"\ud800\u0041"`, `"\udfff\ud800"`)
	}
	switch {
	case m["contentEncoding"] != nil:
		text := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(d.t, "bytes"))
		if d.chance(20, "bend") {
			text = d.of("=", "a", "ab", "abc", "ab==", "ab=c", "a===", "====", "abc=\\n", "ab-_", "abc=abcd", "AAA=")
		}
		return `"` + text + `"`
	case m["format"] == "date-time":
		return `"` + d.time() + `"`
	}
	return d.of(`""`, `"a"`, `"aa"`, `"b"`, `"ab"`, `"bab"`, `"abcd"`, `"red"`, `"gr\u00fcn"`, `"grün"`, `"x"`, `"\u0061"`, `"\"\\\/\b\f\n\r\t"`, `"\ud83d\ude00"`, `"😀😀😀"`,
		`"`+strings.Repeat("é", 4)+`"`, `"aaa"`, `"A"`, `"abcde"`, `"a\n"`, `"\u0000"`)
}

func (d *drawing) time() string {
	part := func(good ...string) string {
		if d.chance(6, "bend") {
			return d.of("00", "99", "24", "60", "61", "5", "", "-1", "３3")
		}
		return d.of(good...)
	}
	year := d.of("2024", "2023", "0000", "9999", "1900", "2000")
	if d.chance(3, "year") {
		year = d.of("10000", "999", "-001", "+200")
	}
	t := d.of("T", "T", "T", "T", "T", "t", " ")
	zone := d.of("Z", "Z", "+00:00", "-23:59", "+05:30", "+24:00", "+14:60", "z", "", "+0100", "+1:00", "-00:00")
	fraction := d.of("", "", ".5", ".123456789", ".1234567890", ",5", ".", ".000")
	return year + "-" + part("01", "02", "12", "06") + "-" + part("01", "28", "29", "30", "31") + t +
		part("00", "23", "12") + ":" + part("00", "59") + ":" + part("00", "59", "59", "60") + fraction + zone
}

func (d *drawing) array(m map[string]any, depth int) string {
	n := rapid.IntRange(0, 4).Draw(d.t, "items")
	if low, ok := m["minItems"].(json.Number); ok && d.chance(70, "enough") {
		i, _ := low.Int64()
		n = int(i) + rapid.IntRange(0, 1).Draw(d.t, "more")
	}
	if d.left--; d.left < 0 {
		n = 0
	}
	items := make([]string, n)
	for i := range items {
		items[i] = d.space() + d.value(m["items"], depth+1) + d.space()
	}
	return "[" + strings.Join(items, ",") + "]"
}

func (d *drawing) object(m map[string]any, depth int) string {
	properties, _ := m["properties"].(map[string]any)
	required, _ := m["required"].([]any)
	var names []string
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		must := slices.Contains(required, any(name))
		if must && !d.chance(3, "forget") || !must && d.left > 0 && d.chance(20, "optional") {
			names = append(names, name)
		}
	}
	d.left--
	var members []string
	for _, name := range rapid.Permutation(names).Draw(d.t, "order") {
		members = append(members, d.member(name, properties[name], depth))
	}
	if more, ok := m["additionalProperties"].(map[string]any); ok && d.left > 0 {
		for i := range rapid.IntRange(0, 4).Draw(d.t, "more") {
			members = append(members, d.member(fmt.Sprint("k", i, "~/\""), more, depth))
		}
	} else if d.chance(3, "unknown") {
		members = append(members, d.member(d.of("unknown", "Count", "NAME", ""), true, depth))
	}
	if len(members) > 0 && d.chance(2, "double") {
		d.p.sloppy = true
		members = append(members, members[0])
	}
	return "{" + strings.Join(members, ",") + d.space() + "}"
}

func (d *drawing) member(name string, doc any, depth int) string {
	key, _ := json.Marshal(name)
	if d.chance(5, "escaped key") && name != "" && name[0] < 0x80 {
		key = []byte(fmt.Sprintf(`"\u%04x%s`, name[0], strings.TrimPrefix(string(key), `"`)[1:]))
	}
	return d.space() + string(key) + d.space() + ":" + d.space() + d.value(doc, depth+1)
}

// stray writes a value of no schema.
func (d *drawing) stray(depth int) string {
	if depth > 60 {
		return "0"
	}
	return d.of("null", "true", "0", "-1.5", "12345678901234567890", `""`, `"\u00e9"`, "[]", "{}", `[1,"a",null]`, `{"a":{"b":[{}]},"c":1e3}`, "1.0", "[[],[null]]")
}
