package schema

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
	"unicode"
)

var (
	rawType         = reflect.TypeFor[json.RawMessage]()
	numberType      = reflect.TypeFor[json.Number]()
	timeType        = reflect.TypeFor[time.Time]()
	marshaler       = reflect.TypeFor[json.Marshaler]()
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	aliased         = reflect.TypeFor[aliaser]()
)

// aliaser is a type whose JSON has the form of another Go type's. Only the type of
// the returned value is used.
type aliaser interface{ JSONSchemaAlias() any }

// builder turns Go types into nodes, and collects their errors.
type builder struct {
	structs map[reflect.Type]*node
	// building holds the named types in progress that are not structs.
	building map[reflect.Type]bool
	anySeen  bool
	errs     []error
}

func (b *builder) wrong(path, format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("%s: "+format, append([]any{path}, args...)...))
}

// describePlace describes a type at a place, bounded by the keywords of the place.
func (b *builder) describePlace(t reflect.Type, path string, k *keywords) use {
	u := use{}
	for t.Kind() == reflect.Pointer && t.Name() == "" {
		t, u.nullable = t.Elem(), true
	}
	u.node = b.describe(t, path, k)
	u.notes = k.notes // after the node: it adds examples
	switch u.kind {
	case kindAny, kindRaw:
		u.nullable = false // null is within anything
	case kindArray:
		u.nullable = u.nullable || t.Kind() == reflect.Slice && u.minItems == 0
	case kindDict:
		u.nullable = u.nullable || u.minItems == 0
	case kindBytes:
		u.nullable = true
	case kindBool, kindInteger, kindNumber, kindString, kindTime, kindObject: // null only behind a pointer
	}
	return u
}

// describe describes a type that is not a bare pointer.
func (b *builder) describe(t reflect.Type, path string, k *keywords) *node {
	n := &node{goType: t, maxLength: -1, maxItems: -1}
	switch {
	case t == rawType:
		n.kind = kindRaw
	case t == timeType:
		n.kind = kindTime
	case t == numberType:
		n.kind = kindNumber
		b.numberKeywords(n, path, k)
	case either(t, aliased):
		return b.alias(t, path, k)
	case either(t, marshaler) || either(t, unmarshaler):
		b.wrong(path, "%s writes or reads its own JSON: tell by a method JSONSchemaAlias() any of which Go type it looks like", t)
	case either(t, textMarshaler) || either(t, textUnmarshaler):
		if !t.Implements(textMarshaler) || !reflect.PointerTo(t).Implements(textUnmarshaler) {
			b.wrong(path, "%s needs both MarshalText (on the value) and UnmarshalText", t)
		}
		n.kind = kindString
		n.format, _ = k.take("format")
		b.stringKeywords(n, path, k)
	case t.Kind() == reflect.Struct:
		n = b.object(t, path)
	default:
		if b.building[t] {
			b.wrong(path, "%s is recursive without a struct", t)
			return n
		}
		b.building[t] = t.Name() != "" // other types are recursive only through one with a name
		defer delete(b.building, t)
		b.composite(n, t, path, k)
	}
	k.finish(b, path, t)
	return n
}

func either(t, i reflect.Type) bool {
	return t.Implements(i) || t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(i)
}

// alias describes the type that JSONSchemaAlias returns.
func (b *builder) alias(t reflect.Type, path string, k *keywords) *node {
	var to reflect.Type
	if a, ok := reflect.New(t).Interface().(aliaser); ok {
		to = reflect.TypeOf(a.JSONSchemaAlias())
	}
	if to == nil || to.Kind() == reflect.Pointer || either(to, aliased) {
		b.wrong(path, "JSONSchemaAlias of %s must return a value (no pointer) of a type without alias", t)
		return &node{kind: kindAny}
	}
	return b.describe(to, path, k)
}

// composite fills a node by the kind of its type.
func (b *builder) composite(n *node, t reflect.Type, path string, k *keywords) {
	switch t.Kind() {
	case reflect.Bool:
		n.kind = kindBool
	case reflect.String:
		n.kind = kindString
		b.stringKeywords(n, path, k)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.kind = kindInteger
		n.lower, n.upper = limits(t)
		b.numberKeywords(n, path, k)
	case reflect.Float32, reflect.Float64:
		n.kind = kindNumber
		if t.Kind() == reflect.Float32 {
			n.lower, n.upper = newBound("-3.4028235e38", false), newBound("3.4028235e38", false)
		}
		b.numberKeywords(n, path, k)
	case reflect.Interface:
		n.kind, b.anySeen = kindAny, true
		if t.NumMethod() > 0 {
			b.wrong(path, "the interface %s has methods: encoding/json cannot decode into it", t)
		}
	case reflect.Slice:
		if e := t.Elem(); e.Kind() == reflect.Uint8 && !either(e, marshaler) && !either(e, textMarshaler) {
			n.kind = kindBytes
			return
		}
		n.kind = kindArray
		b.arrayKeywords(n, path, k)
		n.items = b.items(t, path+"[]", k)
		if n.unique && n.items.kind != kindString && n.items.kind != kindInteger {
			b.wrong(path, "uniqueItems is for strings and integers")
		}
	case reflect.Array:
		n.kind, n.minItems, n.maxItems = kindArray, t.Len(), t.Len()
		n.items = b.items(t, path+"[]", k)
	case reflect.Map:
		n.kind = kindDict
		if t.Key().Kind() != reflect.String || either(t.Key(), textMarshaler) || either(t.Key(), textUnmarshaler) {
			b.wrong(path, "the keys of a map must be plain strings")
		}
		n.minItems, n.maxItems = b.takeSizes(k, "minProperties", "maxProperties", path)
		n.items = b.items(t, path+"{}", k)
	case reflect.Pointer:
		b.wrong(path, "pointers with a name of their own are not supported")
	default:
		b.wrong(path, "JSON has nothing for a %s", t)
	}
}

// items describes the elements of a container, bounded by its remaining keywords.
func (b *builder) items(t reflect.Type, path string, k *keywords) *use {
	items := b.describePlace(t.Elem(), path, k.forItems())
	return &items
}

// limits returns the bounds of an integer of the type's size.
func limits(t reflect.Type) (lower, upper *bound) {
	bits := t.Bits()
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
		return newBound("0", false), newBound(fmt.Sprint(uint64(math.MaxUint64)>>(64-bits)), false)
	}
	high := int64(math.MaxInt64) >> (64 - bits)
	return newBound(fmt.Sprint(-high-1), false), newBound(fmt.Sprint(high), false)
}

// object describes a struct, once.
func (b *builder) object(t reflect.Type, path string) *node {
	if n := b.structs[t]; n != nil {
		return n
	}
	n := &node{kind: kindObject, goType: t, name: t.Name(), byName: map[string]int{}}
	b.structs[t] = n
	if t.Name() != "" {
		path = t.String()
	}
	b.fields(n, t, path, map[reflect.Type]bool{t: true}, false)
	if len(n.fields) > maxFields {
		b.wrong(path, "a struct has at most %d fields", maxFields)
		n.fields = n.fields[:maxFields]
	}
	return n
}

// fields adds a struct's fields, and those of the structs embedded in it.
// Where encoding/json would choose among fields of one name, or drop them all,
// this is an error.
func (b *builder) fields(n *node, t reflect.Type, path string, embedding map[reflect.Type]bool, optional bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, rest, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		at := path + "." + f.Name
		if f.Anonymous && name == "" {
			inner, pointer := f.Type, false
			if inner.Kind() == reflect.Pointer {
				inner, pointer = inner.Elem(), true
			}
			if inner.Kind() == reflect.Struct && inner != timeType && !either(inner, marshaler) && !either(inner, textMarshaler) {
				b.embed(n, inner, at, f.IsExported() || !pointer, embedding, optional || pointer)
				continue
			}
		}
		if !f.IsExported() {
			continue
		}
		b.field(n, f, at, name, rest, optional)
	}
}

// unfit reports whether encoding/json ignores a name with this character.
func unfit(c rune) bool {
	return !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c)
}

func (b *builder) embed(n *node, inner reflect.Type, at string, reachable bool, embedding map[reflect.Type]bool, optional bool) {
	switch {
	case !reachable:
		b.wrong(at, "encoding/json cannot set an embedded pointer to an unexported struct")
	case embedding[inner]:
		b.wrong(at, "%s is embedded in itself", inner)
	default:
		embedding[inner] = true
		b.fields(n, inner, at, embedding, optional)
		delete(embedding, inner)
	}
}

func (b *builder) field(n *node, f reflect.StructField, at, name, rest string, optional bool) {
	if name == "" {
		name = f.Name
	} else if strings.ContainsFunc(name, unfit) {
		b.wrong(at, "the name in the json tag holds characters that encoding/json does not take")
	}
	omitted := false
	for option := range strings.SplitSeq(rest, ",") {
		switch option {
		case "omitempty", "omitzero":
			omitted = true
		case "string":
			b.wrong(at, "the json option string is not supported")
		}
	}
	k := parseKeywords(f.Tag)
	u := b.describePlace(f.Type, at, k)
	if omitted {
		u.nullable = false
	}
	if _, double := n.byName[name]; double {
		b.wrong(at, "two fields are called %q", name)
		return
	}
	if i := len(n.fields); !omitted && !optional && i < maxFields {
		n.required.set(i)
	}
	n.byName[name] = len(n.fields)
	n.fields = append(n.fields, field{name, u})
}
