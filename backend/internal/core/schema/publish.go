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
	// timePattern and the format date-time together are what a time.Time holds:
	// the format alone lets pass small letters, leap seconds and more digits,
	// time.Time alone offsets of 24 hours.
	timePattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$`
)

// publisher writes a schema as JSON, its keys always in the same order.
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
	o.add("$schema", quoted(Dialect))
	if root.name != "" {
		o.add("title", quoted(plainName(root.name)))
	}
	p.members(&o, root.node, root.nullable)
	var defs object
	for i := 0; i < len(p.order); i++ { // it grows on the way
		n := p.order[i]
		var def object
		p.members(&def, n, false)
		defs.add(p.names[n], def.String())
	}
	if defs.Len() > 0 {
		o.add("$defs", defs.String())
	}
	return json.RawMessage(o.String())
}

// object is a JSON object that is being written.
type object struct{ bytes.Buffer }

func (o *object) add(key, value string) {
	if o.Len() > 0 {
		o.WriteByte(',')
	}
	o.WriteString(quoted(key))
	o.WriteByte(':')
	o.WriteString(value)
}

func (o *object) String() string { return "{" + o.Buffer.String() + "}" }

// use writes the schema of a place.
func (p *publisher) use(u *use) string {
	var o object
	if u.notes.title != "" {
		o.add("title", quoted(u.notes.title))
	}
	if u.notes.description != "" {
		o.add("description", quoted(u.notes.description))
	}
	switch ref := p.ref(u.node); {
	case ref == "":
		p.members(&o, u.node, u.nullable)
	case u.nullable:
		o.add("anyOf", `[{"$ref":`+quoted(ref)+`},{"type":"null"}]`)
	default:
		o.add("$ref", quoted(ref))
	}
	if len(u.notes.examples) > 0 {
		o.add("examples", list(u.notes.examples))
	}
	if o.Len() == 0 {
		return "true"
	}
	return o.String()
}

// ref is where a named struct is defined; empty for all else.
func (p *publisher) ref(n *node) string {
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

// plainName makes of the name of a generic type, as Page[example.org/x.Row], a
// plain one: Page_Row.
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

// members writes what a node demands.
func (p *publisher) members(o *object, n *node, nullable bool) {
	if name := typeNames[n.kind]; name != "" {
		if nullable {
			o.add("type", `["`+name+`","null"]`)
		} else {
			o.add("type", `"`+name+`"`)
		}
	}
	switch n.kind {
	case kindAny, kindRaw, kindBool: // nothing more
	case kindInteger, kindNumber:
		numberMembers(o, n, nullable)
	case kindString:
		stringMembers(o, n, nullable)
	case kindBytes:
		o.add("contentEncoding", `"base64"`)
		o.add("pattern", quoted(base64Pattern))
	case kindTime:
		o.add("format", `"date-time"`)
		o.add("pattern", quoted(timePattern))
	case kindArray:
		o.add("items", p.use(n.items))
		sizes(o, n, "minItems", "maxItems")
		if n.unique {
			o.add("uniqueItems", "true")
		}
	case kindDict:
		o.add("additionalProperties", p.use(n.items))
		sizes(o, n, "minProperties", "maxProperties")
	case kindObject:
		p.objectMembers(o, n)
	}
}

func sizes(o *object, n *node, low, high string) {
	if n.minItems > 0 {
		o.add(low, strconv.Itoa(n.minItems))
	}
	if n.maxItems >= 0 {
		o.add(high, strconv.Itoa(n.maxItems))
	}
}

func numberMembers(o *object, n *node, nullable bool) {
	write := func(b *bound, inclusive, exclusive string) {
		switch {
		case b == nil:
		case b.exclusive:
			o.add(exclusive, b.text)
		default:
			o.add(inclusive, b.text)
		}
	}
	write(n.lower, "minimum", "exclusiveMinimum")
	write(n.upper, "maximum", "exclusiveMaximum")
	if n.multiple > 1 {
		o.add("multipleOf", strconv.FormatInt(n.multiple, 10))
	}
	enum(o, n.texts, nullable)
}

func stringMembers(o *object, n *node, nullable bool) {
	if n.minLength > 0 {
		o.add("minLength", strconv.Itoa(n.minLength))
	}
	if n.maxLength >= 0 {
		o.add("maxLength", strconv.Itoa(n.maxLength))
	}
	if n.pattern != nil {
		o.add("pattern", quoted(n.pattern.String()))
	}
	if n.format != "" {
		o.add("format", quoted(n.format))
	}
	texts := make([]string, len(n.texts))
	for i, text := range n.texts {
		texts[i] = quoted(text)
	}
	enum(o, texts, nullable)
}

// enum writes values that are JSON already.
func enum(o *object, values []string, nullable bool) {
	if len(values) == 0 {
		return
	}
	if nullable {
		values = append(values[:len(values):len(values)], "null")
	}
	o.add("enum", "["+strings.Join(values, ",")+"]")
}

func (p *publisher) objectMembers(o *object, n *node) {
	var properties object
	var required []string
	for i := range n.fields {
		f := &n.fields[i]
		properties.add(f.name, p.use(&f.use))
		if n.required.has(i) {
			required = append(required, quoted(f.name))
		}
	}
	if properties.Len() > 0 {
		o.add("properties", properties.String())
	}
	if len(required) > 0 {
		o.add("required", "["+strings.Join(required, ",")+"]")
	}
	o.add("additionalProperties", "false")
}

func list(values []json.RawMessage) string {
	return "[" + string(bytes.Join(rawBytes(values), []byte(","))) + "]"
}

func rawBytes(values []json.RawMessage) [][]byte {
	out := make([][]byte, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}
