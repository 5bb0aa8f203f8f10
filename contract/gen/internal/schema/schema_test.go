package schema

import (
	"strings"
	"testing"
)

func TestParseKeepsTheOrder(t *testing.T) {
	s, err := Parse([]byte(`{"properties": {"z": {"minLength": 0}, "a": {"x-raw": true}, "m": {"$ref": "#/$defs/x", "default": 0}}, "required": ["z"]}`))
	if err != nil {
		t.Fatal(err)
	}
	names := ""
	for _, p := range s.Properties {
		names += p.Name
	}
	if names != "zam" {
		t.Error(names)
	}
	z := s.Properties.Get("z")
	if z.MinLength == nil || *z.MinLength != 0 || z.MaxLength != nil {
		t.Error("a bound of 0 is there, and one that is absent is not")
	}
	if !s.Properties.Get("a").Raw || string(s.Properties.Get("m").Default) != "0" || s.Properties.Get("none") != nil {
		t.Errorf("%+v", s.Properties)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"format": "uuid"}`:                     `unknown field "format"`,
		`{"properties": {"a": {"format": "x"}}}`: `a: json: unknown field "format"`,
		`{"properties": {"a": {}, "a": {}}}`:     "a stands twice",
		`{"properties": []}`:                     "an object of schemas",
		`{"minLength": "1"}`:                     "minLength",
		`{} {}`:                                  "something follows",
		`{`:                                      "unexpected EOF",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q is expected, and this came: %v", text, want, err)
		}
	}
}
