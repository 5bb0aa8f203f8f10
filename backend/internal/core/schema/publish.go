package schema

import (
	"bytes"
	"encoding/json"
	"slices"
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
	if root.kind == kindAny || root.kind == kindRaw {
		return json.RawMessage("true")
	}
	p := publisher{root: root.node, names: map[*node]string{}, taken: map[string]bool{}}
	var o, defs object
	o.text("$schema", Dialect)
	o.text("title", plainName(root.name))
	p.members(&o, root)
	for i := 0; i < len(p.order); i++ { // it grows in the loop
		var def object
		p.members(&def, &use{node: p.order[i]})
		defs.member(p.names[p.order[i]], def.String())
	}
	o.object("$defs", &defs)
	return json.RawMessage(o.String())
}

// object is a JSON object that is being written. Its methods add a member, or
// nothing if the value is empty.
type object struct{ bytes.Buffer }

func (o *object) String() string { return "{" + o.Buffer.String() + "}" }

// member adds a value that is JSON already.
func (o *object) member(key, value string) {
	if o.Len() > 0 {
		o.WriteByte(',')
	}
	o.WriteString(quoted(key) + ":" + value)
}

func (o *object) text(key, value string) {
	if value != "" {
		o.member(key, quoted(value))
	}
}

// list adds an array of values that are JSON already.
func (o *object) list(key string, values []string) {
	if len(values) > 0 {
		o.member(key, "["+strings.Join(values, ",")+"]")
	}
}

func (o *object) object(key string, value *object) {
	if value.Len() > 0 {
		o.member(key, value.String())
	}
}

// sizes adds a lower size, 0 for none, and an upper one, -1 for none.
func (o *object) sizes(low string, least int, high string, most int) {
	if least > 0 {
		o.member(low, strconv.Itoa(least))
	}
	if most >= 0 {
		o.member(high, strconv.Itoa(most))
	}
}

// place writes the schema of a place.
func (p *publisher) place(u *use) string {
	var o object
	o.text("title", u.notes.title)
	o.text("description", u.notes.description)
	switch ref := p.reference(u.node); {
	case ref == "":
		p.members(&o, u)
	case u.nullable:
		o.member("anyOf", `[{"$ref":`+quoted(ref)+`},{"type":"null"}]`)
	default:
		o.text("$ref", ref)
	}
	o.list("examples", u.notes.examples)
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
func (p *publisher) members(o *object, u *use) {
	if name := typeNames[u.kind]; u.nullable && name != "" {
		o.list("type", []string{quoted(name), `"null"`})
	} else {
		o.text("type", name)
	}
	enum := slices.Clone(u.texts)
	switch u.kind {
	case kindAny, kindRaw, kindBool: // nothing more
	case kindInteger, kindNumber:
		if b := u.lower; b != nil {
			o.member(b.either("minimum", "exclusiveMinimum"), b.text)
		}
		if b := u.upper; b != nil {
			o.member(b.either("maximum", "exclusiveMaximum"), b.text)
		}
		if u.multiple > 1 {
			o.member("multipleOf", strconv.FormatInt(u.multiple, 10))
		}
	case kindString:
		o.sizes("minLength", u.minLength, "maxLength", u.maxLength)
		if u.pattern != nil {
			o.text("pattern", u.pattern.String())
		}
		o.text("format", u.format)
		for i := range enum {
			enum[i] = quoted(enum[i])
		}
	case kindBytes:
		o.text("contentEncoding", "base64")
		o.text("pattern", base64Pattern)
	case kindTime:
		o.text("format", "date-time")
		o.text("pattern", timePattern)
	case kindArray:
		o.member("items", p.place(u.items))
		o.sizes("minItems", u.minItems, "maxItems", u.maxItems)
		if u.unique {
			o.member("uniqueItems", "true")
		}
	case kindDict:
		o.member("additionalProperties", p.place(u.items))
		o.sizes("minProperties", u.minItems, "maxProperties", u.maxItems)
	case kindObject:
		p.fields(o, u.node)
	}
	if u.nullable && len(enum) > 0 {
		enum = append(enum, "null")
	}
	o.list("enum", enum)
}

func (p *publisher) fields(o *object, n *node) {
	var properties object
	var required []string
	for i := range n.fields {
		f := &n.fields[i]
		properties.member(f.name, p.place(&f.use))
		if n.required.has(i) {
			required = append(required, quoted(f.name))
		}
	}
	o.object("properties", &properties)
	o.list("required", required)
	o.member("additionalProperties", "false")
}
