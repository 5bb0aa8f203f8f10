package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core/schema"
	oracle "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The reference is a JSON Schema library without knowledge of Go types: given the
// published schema, it must accept and refuse the same payloads as Check.

type leaf struct {
	Count  int8              `json:"count" jsonschema:"minimum=-3,maximum=12"`
	Big    int64             `json:"big,omitempty"`
	Huge   uint64            `json:"huge,omitempty"`
	Even   uint16            `json:"even,omitempty" jsonschema:"multipleOf=2,exclusiveMaximum=100"`
	Pick   int               `json:"pick,omitempty" jsonschema:"enum=1,enum=20,enum=300"`
	Ratio  float64           `json:"ratio,omitempty" jsonschema:"exclusiveMinimum=0,maximum=0.3"`
	Single float32           `json:"single,omitempty"`
	Number json.Number       `json:"number,omitempty" jsonschema:"minimum=-1.5"`
	Name   string            `json:"name" jsonschema:"minLength=2,maxLength=4"`
	Color  *string           `json:"color" jsonschema:"enum=red,enum=grün"`
	Word   string            `json:"word,omitempty" jsonschema:"pattern=^[a-z]{1\\,3}$"`
	Flag   bool              `json:"flag,omitempty"`
	Bytes  []byte            `json:"bytes,omitempty"`
	When   *time.Time        `json:"when,omitempty"`
	Map    map[string]int    `json:"map,omitempty" jsonschema:"minProperties=1,maxProperties=3,minimum=0"`
	List   []string          `json:"list" jsonschema:"maxItems=3,uniqueItems,maxLength=2"`
	Some   []int             `json:"some,omitempty" jsonschema:"minItems=1,uniqueItems,maximum=5"`
	Triple [3]bool           `json:"triple,omitzero"`
	Any    any               `json:"any,omitempty"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Deep   []map[string]*int `json:"deep,omitempty"`
}

type tree struct {
	leaf
	*Base
	Kids []tree          `json:"kids,omitempty"`
	By   map[string]tree `json:"by,omitempty"`
	Next *tree           `json:"next"`
	Side struct {
		X int `json:"x"`
	} `json:"side,omitzero"`
	Pair Pair[Base] `json:"pair,omitzero"`
}

// Base is embedded by pointer, which encoding/json can only set if exported.
type Base struct {
	Label string `json:"label,omitempty"`
}

// Pair is generic, to test its name in the schema.
type Pair[T any] struct {
	Left  T  `json:"left"`
	Right *T `json:"right,omitempty"`
}

func compile(t require.TestingT, text []byte) *oracle.Schema {
	doc, err := oracle.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err, "%s", text)
	c := oracle.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("mem:schema", doc))
	s, err := c.Compile("mem:schema")
	require.NoError(t, err, "%s", text)
	return s
}

// agree compares Check with the reference, and accepted payloads with the type.
func agree(t *rapid.T, typ reflect.Type, s *schema.Type, reference *oracle.Schema, p payload) {
	clean, violation := s.Check([]byte(p.text))
	if p.sloppy {
		require.NotNil(t, violation, "accepted although %s", p.text)
		return
	}
	value, err := oracle.UnmarshalJSON(strings.NewReader(p.text))
	require.NoError(t, err, "the generator wrote no JSON: %s", p.text)
	verdict := reference.Validate(value)
	if (violation == nil) != (verdict == nil) {
		t.Fatalf("of %s\nCheck says: %v\nthe library says: %v\nby %s", p.text, violation, verdict, s.Published())
	}
	if violation != nil {
		require.NotEmpty(t, violation.Text)
		require.LessOrEqual(t, len(violation.Pointer), 256)
		return
	}
	if s.IsRaw() {
		return
	}
	written, err := json.Marshal(decode(t, typ, clean))
	require.NoError(t, err)
	if p.exact {
		_, again := s.Check(written)
		require.Nil(t, again, "what Go writes of %s is refused: %s", p.text, written)
	}
	second, err := json.Marshal(decode(t, typ, written))
	require.NoError(t, err)
	require.Equal(t, string(written), string(second), "no round trip")
}

// decode decodes strictly what Check has accepted.
func decode(t require.TestingT, typ reflect.Type, data []byte) any {
	v := reflect.New(typ)
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(v.Interface()), "%s", data)
	return v.Elem().Interface()
}

func describe(t require.TestingT, typ reflect.Type) (*schema.Type, *oracle.Schema, any) {
	s, err := schema.Describe(typ, schema.Input)
	require.NoError(t, err)
	doc := decode(t, reflect.TypeFor[any](), s.Published())
	return s, compile(t, s.Published()), doc
}

func TestCheckAgreesWithPublishedSchema(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[leaf](), reflect.TypeFor[tree](), reflect.TypeFor[[]leaf](), reflect.TypeFor[*Base]()} {
		t.Run(typ.String(), func(t *testing.T) {
			s, reference, doc := describe(t, typ)
			rapid.Check(t, func(t *rapid.T) { agree(t, typ, s, reference, draw(t, doc)) })
		})
	}
}

func TestCheckAgreesForRandomTypes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, _ := drawType(t, 3)
		s, reference, doc := describe(t, typ)
		for range 10 {
			agree(t, typ, s, reference, draw(t, doc))
		}
	})
}

// drawType returns a random Go type, and a tag that fits it.
func drawType(t *rapid.T, depth int) (reflect.Type, string) {
	kinds := []string{"bool", "int", "uint", "float", "string", "bytes", "time", "number"}
	if depth > 0 {
		kinds = append(kinds, "any", "raw", "slice", "map", "array", "pointer", "struct", "struct", "struct")
	}
	pick := func(tags ...string) string { return rapid.SampledFrom(append(tags, "")).Draw(t, "tag") }
	one := func(types ...reflect.Type) reflect.Type { return rapid.SampledFrom(types).Draw(t, "type") }
	switch rapid.SampledFrom(kinds).Draw(t, "kind") {
	case "bool":
		return reflect.TypeFor[bool](), ""
	case "int":
		return one(
			reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](), reflect.TypeFor[int64](),
		), pick("minimum=-5", "maximum=7", "exclusiveMinimum=0", "minimum=1e1,maximum=2e1", "enum=0,enum=-1", "multipleOf=3")
	case "uint":
		return one(
			reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](), reflect.TypeFor[uint64](),
		), pick("minimum=3", "exclusiveMaximum=10", "enum=5", "multipleOf=10")
	case "float":
		return one(reflect.TypeFor[float32](), reflect.TypeFor[float64]()),
			pick("minimum=0.5", "maximum=-1e-3", "exclusiveMinimum=0", "enum=1,enum=1.5")
	case "string":
		return reflect.TypeFor[string](), pick("minLength=1", "maxLength=2", "enum=a,enum=b", "pattern=^a+$", "pattern=b,minLength=2")
	case "bytes":
		return reflect.TypeFor[[]byte](), ""
	case "time":
		return reflect.TypeFor[time.Time](), ""
	case "number":
		return reflect.TypeFor[json.Number](), pick("minimum=1")
	case "any":
		return reflect.TypeFor[any](), ""
	case "raw":
		return reflect.TypeFor[json.RawMessage](), ""
	case "slice":
		e, tag := drawType(t, depth-1)
		if e.Kind() == reflect.Uint8 {
			return reflect.SliceOf(e), "" // a []byte
		}
		return reflect.SliceOf(e), join(pick("minItems=1", "maxItems=2", "minItems=2,maxItems=3"), itemTag(e, tag))
	case "map":
		e, tag := drawType(t, depth-1)
		return reflect.MapOf(reflect.TypeFor[string](), e), join(pick("minProperties=1", "maxProperties=1"), itemTag(e, tag))
	case "array":
		e, tag := drawType(t, depth-1)
		return reflect.ArrayOf(2, e), itemTag(e, tag)
	case "pointer":
		e, tag := drawType(t, depth-1)
		return reflect.PointerTo(e), tag
	}
	return drawStruct(t, depth), ""
}

// itemTag keeps a tag for items only where it cannot be taken for the
// container's.
func itemTag(e reflect.Type, tag string) string {
	switch e.Kind() {
	case reflect.Slice, reflect.Map, reflect.Array, reflect.Pointer:
		return ""
	}
	return tag
}

func join(a, b string) string { return strings.Trim(a+","+b, ",") }

func drawStruct(t *rapid.T, depth int) reflect.Type {
	names := []string{"a", "A", "b", "ab", "c~d", "e/f"}
	var fields []reflect.StructField
	for i := range rapid.IntRange(0, len(names)).Draw(t, "fields") {
		typ, tag := drawType(t, depth-1)
		option := rapid.SampledFrom([]string{"", ",omitempty", ",omitzero"}).Draw(t, "option")
		if k := typ.Kind(); option == ",omitempty" && (k == reflect.Struct || k == reflect.Array) {
			option = ",omitzero" // omitempty omits neither
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: typ,
			Tag: reflect.StructTag(fmt.Sprintf("json:%q jsonschema:%q", names[i]+option, tag)),
		})
	}
	return reflect.StructOf(fields)
}
