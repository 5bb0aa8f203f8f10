package schema

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseKeepsTheOrder(t *testing.T) {
	s, err := Parse([]byte(`{"properties": {"z": {"minLength": 0}, "a": {"x-raw": true}, "m": {"$ref": "#/$defs/x", "default": 0}}, "required": ["z"]}`))
	require.NoError(t, err)
	names := ""
	for _, p := range s.Properties {
		names += p.Name
	}
	assert.Equal(t, "zam", names)
	z := s.Properties.Get("z")
	assert.Equal(t, new(int), z.MinLength, "a bound of 0 is there")
	assert.Nil(t, z.MaxLength)
	assert.True(t, s.Properties.Get("a").Raw)
	assert.Equal(t, "0", string(s.Properties.Get("m").Default))
	assert.Nil(t, s.Properties.Get("none"))
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
		_, err := Parse([]byte(text))
		assert.ErrorContains(t, err, want, text)
	}
}
