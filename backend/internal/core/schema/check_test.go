package schema_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core/schema"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func describeFor[T any](t testing.TB) *schema.Type {
	t.Helper()
	s, err := schema.Describe(reflect.TypeFor[T](), schema.Input)
	require.NoError(t, err)
	return s
}

func verdict(s *schema.Type, payload string) string {
	if _, v := s.Check([]byte(payload)); v != nil {
		return v.Error()
	}
	return ""
}

func TestViolations(t *testing.T) {
	s := describeFor[struct {
		A []struct {
			B map[string]int8 `json:"b/~"`
		} `json:"a,omitempty" jsonschema:"maxItems=2"`
		C string    `json:"c,omitempty" jsonschema:"minLength=2,maxLength=3"`
		D string    `json:"d,omitempty" jsonschema:"pattern=^x"`
		E int       `json:"e,omitempty" jsonschema:"enum=1,enum=2"`
		F uint      `json:"f,omitempty" jsonschema:"multipleOf=5"`
		G []byte    `json:"g,omitempty"`
		H time.Time `json:"h,omitzero"`
		I float64   `json:"i,omitempty" jsonschema:"exclusiveMinimum=0.1"`
		J any       `json:"j,omitempty"`
		K *bool     `json:"k,omitempty"`

		L json.RawMessage `json:"l,omitempty"`
	}](t)
	for payload, want := range map[string]string{
		`{"a":[{"b/~":{"x~/y":128}}]}`:               "/a/0/b~1~0/x~0~1y: must be at least -128 and at most 127",
		`{"a":[{"b/~":{"x":1,"\u0078":2}}]}`:         "/a/0/b~1~0/x: the key stands twice",
		`{"a":[{},{}]}`:                              "/a/0/b~1~0: is required",
		`{"a":[{"b/~":null},{"b/~":{}},{"b/~":{}}]}`: "/a: must have at most 2 items",
		`{"c":"é"}`:                                  "/c: must have at least 2 characters",
		`{"c":"éééé"}`:                               "/c: must have at most 3 characters",
		`{"d":"secret"}`:                             "/d: must match ^x",
		`{"e":3}`:                                    "/e: must be one of 1, 2",
		`{"f":-0.0}`:                                 "",
		`{"f":12}`:                                   "/f: must be a multiple of 5",
		`{"f":1e1}`:                                  "",
		`{"g":"a"}`:                                  "/g: must be base64, with padding",
		`{"h":"2023-02-29T00:00:00Z"}`:               "/h: must be a time as in RFC 3339, like 2006-01-02T15:04:05Z",
		`{"i":0.1}`:                                  "/i: must be above 0.1",
		`{"i":0.10000000000000000000000000001}`:      "",
		`{"j":{"a":[{"b":1,"b":1}]}}`:                "/j/a/0/b: the key stands twice",
		`{"j":1e400}`:                                "/j: a number beyond the range of a double",
		`{"l":[{"a":1,"a":[]}]}`:                     "",
		`{"k":0}`:                                    "/k: must be a boolean",
		`{"k":tru}`:                                  "/k: not JSON",
		`{"c":"\x"}`:                                 "/c: a bad escape in a string",
		"{\"c\":\"\n\"}":                             "/c: a control character in a string",
		`{"c" "x"}`:                                  "not JSON",
		`{"c":"xx",}`:                                "not JSON",
		`{"i":.5}`:                                   "/i: must be a number",
		`{"i":1.}`:                                   "/i: not JSON",
		` `:                                          "the JSON ends too early",
		`{} x`:                                       "something follows the value",
	} {
		assert.Equal(t, want, verdict(s, payload), payload)
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct {
		schema *schema.Type
		format string
		most   int // that fit
	}{
		{describeFor[any](t), "%s", schema.MaxDepth},
		{describeFor[struct{ X json.RawMessage }](t), `{"X":%s}`, schema.MaxDepth - 1},
	} {
		assert.Empty(t, verdict(c.schema, fmt.Sprintf(c.format, nested(c.most))))
		for _, n := range []int{c.most + 1, 100_000} {
			got := verdict(c.schema, fmt.Sprintf(c.format, nested(n)))
			assert.True(t, strings.HasSuffix(got, "nested deeper than 64") && len(got) <= 300, "%d deep: %s", n, got)
		}
	}
}

// Numbers with large exponents must be cheap and must not crash: 1e999999 has a
// million digits when expanded.
func TestHostileNumbersAreCheap(t *testing.T) {
	s := describeFor[[]float64](t)
	i := describeFor[[]struct {
		N int64 `json:"n" jsonschema:"multipleOf=7"`
	}](t)
	f := describeFor[[]struct {
		F float64 `json:"f" jsonschema:"minimum=0,maximum=1e-300"`
	}](t)
	start := time.Now()
	for range 100 {
		require.Empty(t, verdict(s, "["+strings.Repeat("1e-999999,", 3000)+"0]"))
		require.Empty(t, verdict(f, "["+strings.Repeat(`{"f":1e-99999999999},`, 1500)+`{"f":0}]`))
		require.Contains(t, verdict(i, "["+strings.Repeat(`{"n":7},`, 3000)+`{"n":7e-999999}]`), "/3000/n: must be a whole")
	}
	assert.Less(t, time.Since(start), 30*time.Second, "worked out, a single round takes minutes")
}

func TestWholeNumbersAreRewritten(t *testing.T) {
	s := describeFor[struct {
		A []int16 `json:"a"`
		B string  `json:"b"`
		C uint64  `json:"c"`
		D float64 `json:"d"`
	}](t)
	clean, v := s.Check([]byte(`{"a": [1.0, -2e1 ,3,0.04e2,-0], "b":"1.0","c":18446744073709551615.0,"d":1.0}`))
	require.Nil(t, v)
	assert.Equal(t, `{"a": [1, -20 ,3,4,0], "b":"1.0","c":18446744073709551615,"d":1.0}`, string(clean))
	plain := []byte(`{"a":[1],"b":"","c":1,"d":2}`)
	clean, _ = s.Check(plain)
	assert.Same(t, &plain[0], &clean[0], "a payload was copied without need")
}

func TestUniqueItems(t *testing.T) {
	s := describeFor[struct {
		T []string `json:"t,omitempty" jsonschema:"uniqueItems"`
		N []*int   `json:"n,omitempty" jsonschema:"uniqueItems"`
	}](t)
	many := make([]string, 5000)
	for i := range many {
		many[i] = fmt.Sprintf("%q", fmt.Sprint("item", i))
	}
	for payload, want := range map[string]string{
		`{"t":["a","\u0061"]}`:                             "/t/1: stands twice",
		`{"t":["a\"","a\u0022"]}`:                          "/t/1: stands twice",
		`{"t":["null","a\\u0061","A"]}`:                    "",
		`{"n":[1,2,10e-1]}`:                                "/n/2: stands twice",
		`{"n":[null,0,null]}`:                              "/n/2: stands twice",
		`{"n":[0,-0]}`:                                     "/n/1: stands twice",
		`{"t":[` + strings.Join(many, ",") + `]}`:          "",
		`{"t":[` + strings.Join(many, ",") + `,"item17"]}`: "/t/5000: stands twice",
	} {
		assert.Equal(t, want, verdict(s, payload), "%.40s", payload)
	}
}

func TestPointersAreBounded(t *testing.T) {
	long := strings.Repeat("k", 300)
	_, v := describeFor[map[string]map[string]int](t).Check([]byte(`{"a":{"` + long + `":"x"}}`))
	require.NotNil(t, v)
	assert.Equal(t, "/a", v.Pointer)
}

// FuzzCheck: no input makes Check panic, and accepted payloads decode.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		`{"count":1,"name":"ab","color":null,"list":[]}`, `{"count":1.0,"name":"\ud83d\ude00x","color":"red","list":["a","b"],"big":-1e3,"when":"2024-01-01T00:00:00Z"}`,
		`{"count":1,"name":"ab","color":null,"list":null,"next":null,"kids":[{"count":1}],"any":{"a":[1e5,null,true]},"raw":{"a":1,"a":2}}`,
		`null`, `[]`, `"`, `{"a":`, `{"bytes":"AA==","map":{"x":1},"triple":[true,false,true]}`,
	} {
		f.Add([]byte(seed))
	}
	types := []reflect.Type{reflect.TypeFor[leaf](), reflect.TypeFor[tree](), reflect.TypeFor[any](), reflect.TypeFor[[]map[string]float32]()}
	described := make([]*schema.Type, len(types))
	for i, typ := range types {
		described[i], _, _ = describe(f, typ)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i, s := range described {
			if clean, v := s.Check(data); v == nil {
				require.True(t, json.Valid(clean), "%q became %q", data, clean)
				decode(t, types[i], clean)
			}
		}
	})
}

type small struct {
	Text  string `json:"text" jsonschema:"maxLength=1000"`
	Count int    `json:"count" jsonschema:"minimum=0"`
	Flag  bool   `json:"flag,omitempty"`
}

type report struct {
	Name string          `json:"name" jsonschema:"minLength=2,maxLength=9"`
	List []string        `json:"list" jsonschema:"maxItems=3,uniqueItems"`
	Map  map[string]int  `json:"map"`
	Rows []row           `json:"rows,omitempty"`
	Any  any             `json:"any,omitempty"`
	Raw  json.RawMessage `json:"raw,omitempty"`
}

type row struct {
	A int      `json:"a"`
	B string   `json:"b"`
	C *float64 `json:"c"`
}

func BenchmarkCheck(b *testing.B) {
	head := `{"name":"abc","list":["a","b"],"map":{"x":1,"y":2},`
	rows := "[" + strings.TrimSuffix(strings.Repeat(`{"a": 17, "b": "some \u00e9 text", "c": 1.5},`, 40), ",") + "]"
	for _, bench := range []struct {
		name    string
		schema  *schema.Type
		payload string
	}{
		{"small", describeFor[small](b), `{"text":"` + strings.Repeat("x", 250) + `","count":42,"flag":true}`},
		{"rows", describeFor[report](b), head + `"rows":` + rows + `}`},
		{"any", describeFor[report](b), head + `"any":` + rows + `}`},
		{"raw", describeFor[report](b), head + `"raw":` + rows + `}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			payload := []byte(bench.payload)
			b.ReportAllocs()
			for b.Loop() {
				if _, v := bench.schema.Check(payload); v != nil {
					b.Fatal(v)
				}
			}
		})
	}
}
