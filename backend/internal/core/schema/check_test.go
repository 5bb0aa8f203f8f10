package schema_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/internal/core/schema"
)

func describeFor[T any](t testing.TB) *schema.Type {
	t.Helper()
	s, err := schema.Describe(reflect.TypeFor[T](), schema.Input)
	if err != nil {
		t.Fatal(err)
	}
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
		`{"k":0}`:                                    "/k: must be a boolean",
		`{"k":tru}`:                                  "/k: not JSON",
		`{"c":"\x"}`:                                 "/c: a bad escape in a string",
		"{\"c\":\"\n\"}":                             "/c: a control character in a string",
		`{"c" "x"}`:                                  ": not JSON",
		`{"c":"xx",}`:                                ": not JSON",
		`{"i":.5}`:                                   "/i: must be a number",
		`{"i":1.}`:                                   "/i: the JSON ends too early",
		` `:                                          ": the JSON ends too early",
		`{} x`:                                       ": something follows the value",
	} {
		want = strings.TrimPrefix(want, ": ")
		got := verdict(s, payload)
		if payload == `{"i":1.}` {
			want = "/i: not JSON"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", payload, got, want)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, s := range []*schema.Type{describeFor[any](t), describeFor[struct{ X json.RawMessage }](t)} {
		format := "%s"
		extra := 0
		if !s.HoldsInterfaces() {
			format, extra = `{"X":%s}`, 1
		}
		if got := verdict(s, fmt.Sprintf(format, nested(schema.MaxDepth-extra))); got != "" {
			t.Errorf("as deep as allowed: %s", got)
		}
		for _, n := range []int{schema.MaxDepth - extra + 1, 100_000} {
			if got := verdict(s, fmt.Sprintf(format, nested(n))); !strings.HasSuffix(got, "nested deeper than 64") || len(got) > 300 {
				t.Errorf("%d deep: %s", n, got)
			}
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
		if got := verdict(s, "["+strings.Repeat("1e-999999,", 3000)+"0]"); got != "" {
			t.Fatal(got)
		}
		if got := verdict(f, "["+strings.Repeat(`{"f":1e-99999999999},`, 1500)+`{"f":0}]`); got != "" {
			t.Fatal(got)
		}
		if got := verdict(i, "["+strings.Repeat(`{"n":7},`, 3000)+`{"n":7e-999999}]`); !strings.HasPrefix(got, "/3000/n: must be a whole") {
			t.Fatal(got)
		}
	}
	if took := time.Since(start); took > 30*time.Second { // worked out, a single round takes minutes
		t.Errorf("it took %v", took)
	}
}

func TestWholeNumbersAreRewritten(t *testing.T) {
	s := describeFor[struct {
		A []int16 `json:"a"`
		B string  `json:"b"`
		C uint64  `json:"c"`
		D float64 `json:"d"`
	}](t)
	clean, v := s.Check([]byte(`{"a": [1.0, -2e1 ,3,0.04e2,-0], "b":"1.0","c":18446744073709551615.0,"d":1.0}`))
	if want := `{"a": [1, -20 ,3,4,0], "b":"1.0","c":18446744073709551615,"d":1.0}`; v != nil || string(clean) != want {
		t.Errorf("%s %v", clean, v)
	}
	plain := []byte(`{"a":[1],"b":"","c":1,"d":2}`)
	if clean, _ := s.Check(plain); &clean[0] != &plain[0] {
		t.Error("a payload was copied without need")
	}
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
		if got := verdict(s, payload); got != want {
			t.Errorf("%.40s: got %q, want %q", payload, got, want)
		}
	}
}

func TestPointersAreBounded(t *testing.T) {
	long := strings.Repeat("k", 300)
	_, v := describeFor[map[string]map[string]int](t).Check([]byte(`{"a":{"` + long + `":"x"}}`))
	if v == nil || v.Pointer != "/a" {
		t.Errorf("%+v", v)
	}
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
		s, err := schema.Describe(typ, schema.Input)
		if err != nil {
			f.Fatal(err)
		}
		described[i] = s
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i, s := range described {
			clean, v := s.Check(data)
			if v != nil {
				continue
			}
			if !json.Valid(clean) {
				t.Fatalf("no JSON: %q became %q", data, clean)
			}
			decode(t, types[i], clean)
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
