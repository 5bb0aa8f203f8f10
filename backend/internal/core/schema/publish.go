package schema

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// Dialect is the version of JSON Schema that is written.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

const (
	// base64Pattern is what encoding/json takes for a []byte.
	base64Pattern = `^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`
	// timePattern and the format date-time together describe a time.Time: the
	// format alone allows small letters, leap seconds and more digits,
	// time.Time alone allows offsets of 24 hours.
	timePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$`
)

// publisher writes a schema as JSON, with its keys in a fixed order.
type publisher struct {
	root  *node
	names map[*node]string
	taken map[string]bool
	order []*node
}

func publish(root *use) json.RawMessage {
	p := publisher{root: root.node, names: map[*node]string{}, taken: map[string]bool{}}
	var o object
	if root.kind == kindAny || root.kind == kindRaw {
		return json.RawMessage("true")
	}
	o.member("$schema", quoted(Dialect))
	if root.name != "" {
		o.member("title", quoted(plainName(root.name)))
	}
	p.members(&o, root.node, root.nullable)
	var defs object
	for i := 0; i < len(p.order); i++ { // it grows in the loop
		n := p.order[i]
		var def object
		p.members(&def, n, false)
		defs.member(p.names[n], def.String())
	}
	if defs.Len() > 0 {
		o.member("$defs", defs.String())
	}
	return json.RawMessage(o.String())
}

// object is a JSON object that is being written.
type object struct{ bytes.Buffer }

func (o *object) member(key, value string) {
	if o.Len() > 0 {
		o.WriteByte(',')
	}
	o.WriteString(quoted(key))
	o.WriteByte(':')
	o.WriteString(value)
}

func (o *object) String() string { return "{" + o.Buffer.String() + "}" }

// place writes the schema of a place.
func (p *publisher) place(u *use) string {
	var o object
	if u.notes.title != "" {
		o.member("title", quoted(u.notes.title))
	}
	if u.notes.description != "" {
		o.member("description", quoted(u.notes.description))
	}
	switch ref := p.reference(u.node); {
	case ref == "":
		p.members(&o, u.node, u.nullable)
	case u.nullable:
		o.member("anyOf", `[{"$ref":`+quoted(ref)+`},{"type":"null"}]`)
	default:
		o.member("$ref", quoted(ref))
	}
	if len(u.notes.examples) > 0 {
		o.member("examples", joinArray(u.notes.examples))
	}
	if o.Len() == 0 {
		return "true"
	}
	return o.String()
}

// reference returns where a named struct is defined; empty for other nodes.
func (p *publisher) reference(n *node) string {
	switch {
	case n.kind != kindObject || n.name == "":
		return ""
	case n == p.root:
		return "#"
	}
	name, known := p.names[n]
	if !known {
		name = plainName(n.name)
		for i := 2; p.taken[name]; i++ {
			name = plainName(n.name) + "_" + strconv.Itoa(i)
		}
		p.names[n], p.taken[name] = name, true
		p.order = append(p.order, n)
	}
	return "#/$defs/" + name
}

// plainName turns the name of a generic type, such as Page[example.org/x.Row],
// into a plain one: Page_Row.
func plainName(name string) string {
	if !strings.Contains(name, "[") {
		return name
	}
	parts := strings.FieldsFunc(name, func(c rune) bool { return strings.ContainsRune("[], *{}", c) })
	for i, part := range parts {
		part = part[strings.LastIndexByte(part, '/')+1:]
		parts[i] = part[strings.LastIndexByte(part, '.')+1:]
	}
	return strings.Join(parts, "_")
}

var typeNames = map[kind]string{
	kindBool: "boolean", kindInteger: "integer", kindNumber: "number", kindString: "string",
	kindBytes: "string", kindTime: "string", kindArray: "array", kindObject: "object", kindDict: "object",
}

// members writes the keywords of a node.
func (p *publisher) members(o *object, n *node, nullable bool) {
	if name := typeNames[n.kind]; name != "" {
		if nullable {
			o.member("type", `["`+name+`","null"]`)
		} else {
			o.member("type", `"`+name+`"`)
		}
	}
	switch n.kind {
	case kindAny, kindRaw, kindBool: // nothing more
	case kindInteger, kindNumber:
		numberMembers(o, n, nullable)
	case kindString:
		stringMembers(o, n, nullable)
	case kindBytes:
		o.member("contentEncoding", `"base64"`)
		o.member("pattern", quoted(base64Pattern))
	case kindTime:
		o.member("format", `"date-time"`)
		o.member("pattern", quoted(timePattern))
	case kindArray:
		o.member("items", p.place(n.items))
		writeSizes(o, n, "minItems", "maxItems")
		if n.unique {
			o.member("uniqueItems", "true")
		}
	case kindDict:
		o.member("additionalProperties", p.place(n.items))
		writeSizes(o, n, "minProperties", "maxProperties")
	case kindObject:
		p.objectMembers(o, n)
	}
}

func writeSizes(o *object, n *node, low, high string) {
	if n.minItems > 0 {
		o.member(low, strconv.Itoa(n.minItems))
	}
	if n.maxItems >= 0 {
		o.member(high, strconv.Itoa(n.maxItems))
	}
}

func numberMembers(o *object, n *node, nullable bool) {
	write := func(b *bound, inclusive, exclusive string) {
		switch {
		case b == nil:
		case b.exclusive:
			o.member(exclusive, b.text)
		default:
			o.member(inclusive, b.text)
		}
	}
	write(n.lower, "minimum", "exclusiveMinimum")
	write(n.upper, "maximum", "exclusiveMaximum")
	if n.multiple > 1 {
		o.member("multipleOf", strconv.FormatInt(n.multiple, 10))
	}
	writeEnum(o, n.texts, nullable)
}

func stringMembers(o *object, n *node, nullable bool) {
	if n.minLength > 0 {
		o.member("minLength", strconv.Itoa(n.minLength))
	}
	if n.maxLength >= 0 {
		o.member("maxLength", strconv.Itoa(n.maxLength))
	}
	if n.pattern != nil {
		o.member("pattern", quoted(n.pattern.String()))
	}
	if n.format != "" {
		o.member("format", quoted(n.format))
	}
	texts := make([]string, len(n.texts))
	for i, text := range n.texts {
		texts[i] = quoted(text)
	}
	writeEnum(o, texts, nullable)
}

// writeEnum writes the values of an enum, which are JSON already.
func writeEnum(o *object, values []string, nullable bool) {
	if len(values) == 0 {
		return
	}
	if nullable {
		values = append(values[:len(values):len(values)], "null")
	}
	o.member("enum", "["+strings.Join(values, ",")+"]")
}

func (p *publisher) objectMembers(o *object, n *node) {
	var properties object
	var required []string
	for i := range n.fields {
		f := &n.fields[i]
		properties.member(f.name, p.place(&f.use))
		if n.required.has(i) {
			required = append(required, quoted(f.name))
		}
	}
	if properties.Len() > 0 {
		o.member("properties", properties.String())
	}
	if len(required) > 0 {
		o.member("required", "["+strings.Join(required, ",")+"]")
	}
	o.member("additionalProperties", "false")
}

func joinArray(values []json.RawMessage) string {
	return "[" + string(bytes.Join(rawBytes(values), []byte(","))) + "]"
}

func rawBytes(values []json.RawMessage) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}
