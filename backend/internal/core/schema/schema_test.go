package schema_test

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core/schema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func published(t *testing.T, v any, d schema.Direction) string {
	t.Helper()
	s, err := schema.Describe(reflect.TypeOf(v), d)
	require.NoError(t, err)
	return strings.Replace(string(s.Published()), `"$schema":"`+schema.Dialect+`",`, "", 1)
}

type noted struct {
	A int     `json:"a,omitempty" jsonschema:"title=The A,minimum=1,maximum=9,example=3" jsonschema_description:"An A, of course."`
	B *string `json:"b" jsonschema:"enum=x,enum=y\\,z"`
	C []int8  `json:"c" jsonschema:"minItems=1,minimum=0"`
	d int     //nolint:unused // unexported fields are left out
	E int     `json:"-"`
	F map[string]*noted
}

// money is encoded as a JSON string.
type money struct{ Cents int64 }

func (money) MarshalJSON() ([]byte, error)     { return []byte(`"1.00"`), nil }
func (*money) UnmarshalJSON(text []byte) error { return nil }
func (money) JSONSchemaAlias() any             { return "" }

func TestPublished(t *testing.T) {
	for _, c := range []struct {
		v         any
		direction schema.Direction
		want      string
	}{
		{json.RawMessage{}, schema.Input, `true`},
		{true, schema.Output, `{"type":"boolean"}`},
		{"", schema.Output, `{"type":"string"}`},
		{uint8(0), schema.Output, `{"type":"integer","minimum":0,"maximum":255}`},
		{float32(0), schema.Output, `{"type":"number","minimum":-3.4028235e38,"maximum":3.4028235e38}`},
		{[]any{}, schema.Output, `{"type":["array","null"],"items":true}`},
		{map[string]bool{}, schema.Output, `{"type":["object","null"],"additionalProperties":{"type":"boolean"}}`},
		{[2]string{}, schema.Output, `{"type":"array","items":{"type":"string"},"minItems":2,"maxItems":2}`},
		{struct{}{}, schema.Output, `{"type":"object","additionalProperties":false}`},
		{struct{}{}, schema.Input, `{"type":["object","null"],"additionalProperties":false}`},
		{struct {
			A netip.Addr `json:"a" jsonschema:"pattern=:,format=ipv6"`
		}{}, schema.Output, `{"type":"object","properties":{"a":{"type":"string","pattern":":","format":"ipv6"}},"required":["a"],"additionalProperties":false}`},
		{(*Base)(nil), schema.Output, `{"title":"Base","type":["object","null"],"properties":{"label":{"type":"string"}},"additionalProperties":false}`},
		{Pair[Base]{}, schema.Output, `{"title":"Pair_Base","type":"object","properties":{"left":{"$ref":"#/$defs/Base"},"right":{"$ref":"#/$defs/Base"}},` +
			`"required":["left"],"additionalProperties":false,"$defs":{"Base":{"type":"object","properties":{"label":{"type":"string"}},"additionalProperties":false}}}`},
		{noted{}, schema.Input, `{"title":"noted","type":"object","properties":{` +
			`"a":{"title":"The A","description":"An A, of course.","type":"integer","minimum":1,"maximum":9,"examples":[3]},` +
			`"b":{"type":["string","null"],"enum":["x","y,z",null]},` +
			`"c":{"type":"array","items":{"type":"integer","minimum":0,"maximum":127},"minItems":1},` +
			`"F":{"type":["object","null"],"additionalProperties":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}},` +
			`"required":["b","c","F"],"additionalProperties":false}`},
		{struct {
			M money     `json:"m"`
			T time.Time `json:"t"`
		}{}, schema.Output, `{"type":"object","properties":{"m":{"type":"string"},"t":{"type":"string","format":"date-time",` +
			`"pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"}},"required":["m","t"],"additionalProperties":false}`},
	} {
		assert.Equal(t, c.want, published(t, c.v, c.direction), "%T", c.v)
	}
}

// Different types of the same name must have different definitions.
func TestDefinitionsOfOneNameAreKeptApart(t *testing.T) {
	type other = struct{ X Pair[Pair[Base]] }
	type Base struct {
		N int `json:"n"`
	}
	got := published(t, struct {
		A Base
		B other
	}{}, schema.Output)
	for _, want := range []string{`"Base":{"type":"object","properties":{"n"`, `"Base_2":{"type":"object","properties":{"label"`, `"Pair_Pair_Base"`, `"Pair_Base"`} {
		assert.Contains(t, got, want)
	}
}

type (
	ownJSON  struct{}
	halfText struct{}
	selfList []selfList
	aliasBad struct{}
	panics   struct{}
	embedded struct{ *embedded }
	wide     struct{ X int }
	pointer  *int
)

func (ownJSON) MarshalJSON() ([]byte, error)  { return nil, nil }
func (halfText) MarshalText() ([]byte, error) { return nil, nil }
func (aliasBad) JSONSchemaAlias() any         { return nil }
func (panics) JSONSchemaAlias() any           { panic("oh") }

// field returns a struct type with one field, A.
func field[T any](tag reflect.StructTag) reflect.Type {
	return reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.TypeFor[T](), Tag: tag}})
}

func TestTypesThatCannotBeDescribed(t *testing.T) {
	type outer struct {
		wide
		X string
	}
	for _, c := range []struct {
		typ  reflect.Type
		want string
	}{
		{reflect.TypeFor[chan int](), "JSON has nothing for a chan int"},
		{reflect.TypeFor[func()](), "JSON has nothing"},
		{reflect.TypeFor[complex128](), "JSON has nothing"},
		{reflect.TypeFor[map[int]string](), "keys of a map must be plain strings"},
		{reflect.TypeFor[map[time.Time]string](), "keys of a map must be plain strings"},
		{reflect.TypeFor[struct{ E error }](), "the interface error has methods"},
		{reflect.TypeFor[ownJSON](), "reads its own JSON"},
		{reflect.TypeFor[halfText](), "needs both MarshalText (on the value) and UnmarshalText"},
		{reflect.TypeFor[selfList](), "recursive without a struct"},
		{reflect.TypeFor[aliasBad](), "must return a value"},
		{reflect.TypeFor[panics](), "panicked: oh"},
		{reflect.TypeFor[embedded](), "cannot set an embedded pointer"},
		{reflect.TypeFor[outer](), `two fields are called "X"`},
		{reflect.TypeFor[struct{ P pointer }](), "pointers with a name"},
		{field[int](`json:"a,string"`), "option string is not supported"},
		{field[int](`json:"a§b"`), "characters that encoding/json does not take"},
		{field[int](`jsonschema:"minimum=x"`), `minimum: "x" is not a JSON number`},
		{field[int](`jsonschema:"minimum=1.5"`), "is not whole"},
		{field[int8](`jsonschema:"maximum=128"`), "above what int8 holds"},
		{field[uint](`jsonschema:"exclusiveMinimum=-1"`), "below what uint holds"},
		{field[int](`jsonschema:"minimum=2,maximum=1"`), "minimum 2 is above the maximum 1"},
		{field[int](`jsonschema:"minimum=1,exclusiveMinimum=0"`), "not both"},
		{field[int](`jsonschema:"minimum=1,minimum=2"`), `the keyword "minimum" stands twice`},
		{field[float64](`jsonschema:"multipleOf=2"`), "multipleOf is a whole number"},
		{field[int](`jsonschema:"minLength=1"`), `"minLength" stands twice, is unknown, or does not fit int`},
		{field[string](`jsonschema:"minLength=-1"`), "must be a whole number from 0"},
		{field[string](`jsonschema:"minLength=3,maxLength=2"`), "minLength is above maxLength"},
		{field[string](`jsonschema:"pattern=("`), "pattern: "},
		{field[string](`jsonschema:"pattern=(?i)x"`), "in common"},
		{field[string](`jsonschema:"format=email"`), "it would not be enforced"},
		{field[string](`jsonschema:"default=x"`), "it would not be set"},
		{field[string](`json:"a,omitempty" jsonschema:"required"`), "required unless"},
		{field[[]float64](`jsonschema:"uniqueItems"`), "uniqueItems is for strings and integers"},
		{field[[]wide](`jsonschema:"minimum=1"`), "does not fit schema_test.wide"},
		{field[[]string](`jsonschema:"minItems=2,maxItems=1"`), "minItems is above maxItems"},
		{reflect.StructOf(manyFields(257)), "at most 256 fields"},
	} {
		s, err := schema.Describe(c.typ, schema.Input)
		assert.Nil(t, s, c.typ)
		assert.ErrorContains(t, err, c.want)
	}
	for _, typ := range []reflect.Type{reflect.StructOf(manyFields(256)), reflect.TypeFor[map[string]*noted]()} {
		_, err := schema.Describe(typ, schema.Input)
		assert.NoError(t, err)
	}
}

func manyFields(n int) []reflect.StructField {
	out := make([]reflect.StructField, n)
	for i := range out {
		out[i] = reflect.StructField{Name: "F" + strings.Repeat("x", i), Type: reflect.TypeFor[int]()}
	}
	return out
}

func TestEveryErrorIsReported(t *testing.T) {
	_, err := schema.Describe(reflect.TypeFor[struct {
		A int `jsonschema:"minimum=x"`
		B chan int
		C string `jsonschema:"nonsense"`
	}](), schema.Input)
	for _, want := range []string{".A: ", ".B: ", ".C: "} {
		assert.ErrorContains(t, err, want)
	}
}
