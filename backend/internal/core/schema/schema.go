// Package schema derives from a Go type the JSON Schema (2020-12) that is
// published for it, and the check that is enforced. Both are made from one
// description, so they cannot differ.
//
// # What a type means
//
// The schema describes what encoding/json writes for values of the type, and
// what is accepted decodes into it. A struct is an object without other
// properties; a field is required unless it is omitempty or omitzero. Pointers,
// slices and maps may be null, as encoding/json writes them when they are nil,
// unless they are omitempty or omitzero (then nil is never written), or their
// bounds exclude nil (minItems or minProperties of 1 or more). Integers carry
// the bounds of their size. A time.Time is an RFC 3339 text, a []byte base64, a
// json.RawMessage and an interface{} anything. A type with text methods is a
// string, whose grammar the type checks. A type with JSON methods of its own
// returns from JSONSchemaAlias() any the Go type that its JSON looks like.
//
// # Tags
//
// Bounds are in the field's tag `jsonschema:"…"`, separated by commas (a comma
// inside a value is written \\,):
//
//	title description example      any; also the tag jsonschema_description
//	minimum maximum exclusiveMinimum exclusiveMaximum multipleOf   numbers
//	minLength maxLength pattern    strings; lengths in characters
//	enum                           strings, numbers; once for each value
//	minItems maxItems uniqueItems  slices; all others are about their items
//	minProperties maxProperties    maps; all others are about their values
//	format                         types with text methods
//
// A keyword that does not fit the field, or that is not enforced (default, format),
// is an error.
//
// # Strictness
//
// The check also refuses texts that JSON libraries read differently: duplicate
// keys, lone surrogates, bytes that are not UTF-8, numbers beyond the range of
// a double, nesting deeper than [MaxDepth], anything after the value. In a
// json.RawMessage, duplicate keys pass.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"

	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 64

// maxFields is how many fields a struct may have.
const maxFields = 256

// Direction distinguishes inputs from outputs: an absent input (null) counts as
// {} where {} is accepted.
type Direction uint8

// The directions.
const (
	Input Direction = iota
	Output
)

// Type is what a Go type means in JSON. It is safe for concurrent use.
type Type struct {
	root use
	text json.RawMessage
	// absent: null means {}.
	absent bool
	// numbers: there are interfaces inside, whose numbers must not become
	// float64.
	numbers bool
	raw     bool
}

// Describe describes a Go type. The error joins everything that is wrong with it.
func Describe(t reflect.Type, d Direction) (out *Type, err error) {
	defer func() { // a JSONSchemaAlias is foreign code
		if p := recover(); p != nil {
			out, err = nil, fmt.Errorf("%v: describing the type panicked: %v", t, p)
		}
	}()
	b := builder{structs: map[reflect.Type]*node{}, building: map[reflect.Type]bool{}}
	out = &Type{root: b.describePlace(t, t.String(), &keywords{})}
	if err := errors.Join(b.errs...); err != nil {
		return nil, err
	}
	out.numbers = b.anySeen
	if d == Input && out.root.kind == kindObject {
		out.absent = out.root.required == (mask{})
		out.root.nullable = out.absent
	}
	out.raw = t == rawType
	out.text = publish(&out.root)
	return out, nil
}

// Published returns the JSON Schema of the type. It is the same in every run.
func (t *Type) Published() json.RawMessage { return t.text }

// IsRaw reports whether the type is json.RawMessage, which takes its bytes
// unchecked and unchanged.
func (t *Type) IsRaw() bool { return t.raw }

// HoldsInterfaces reports whether the type holds interfaces: numbers in them must
// be decoded as json.Number.
func (t *Type) HoldsInterfaces() bool { return t.numbers }

// kind is what a node's values are.
type kind uint8

const (
	kindAny kind = iota
	kindRaw
	kindBool
	kindInteger
	kindNumber
	kindString
	kindBytes
	kindTime
	kindArray
	kindObject
	kindDict
)

// node is a set of values. Those of structs are shared and may be recursive.
type node struct {
	kind   kind
	goType reflect.Type
	name   string // of structs

	// numbers
	lower, upper *bound
	low, high    int64 // integers: the bounds, as far as int64 goes
	multiple     int64
	numbers      []jsonscan.Decimal // enum

	// strings
	minLength, maxLength int // maxLength -1: none
	pattern              *regexp.Regexp
	format               string
	texts                []string // enum

	// arrays and dicts
	items              *use
	minItems, maxItems int // maxItems -1: none
	unique             bool

	// objects
	fields   []field
	byName   map[string]int
	required mask
}

// use is a place where a node is used.
type use struct {
	*node
	nullable bool
	notes    notes
}

// notes are the parts of a schema that are for people.
type notes struct {
	title, description string
	examples           []string // JSON
}

type field struct {
	name string
	use
}

// mask is a set of fields.
type mask [maxFields / 64]uint64

func (m *mask) set(i int)      { m[i/64] |= 1 << (i % 64) }
func (m *mask) has(i int) bool { return m[i/64]&(1<<(i%64)) != 0 }

// bound is one end of a range of numbers.
type bound struct {
	jsonscan.Decimal
	text      string
	exclusive bool
}

func newBound(text string, exclusive bool) *bound {
	return &bound{jsonscan.ParseDecimal(text), text, exclusive}
}

// either returns the word for the kind of bound.
func (b *bound) either(inclusive, exclusive string) string {
	if b.exclusive {
		return exclusive
	}
	return inclusive
}
