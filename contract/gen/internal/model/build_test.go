package model

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func contract(t *testing.T) (schema, codes string) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile("../../../" + name)
		require.NoError(t, err)
		return string(text)
	}
	return read("schema.json"), read("codes.json")
}

func TestBuild(t *testing.T) {
	schema, codes := contract(t)
	m, err := Build([]byte(schema), []byte(codes))
	require.NoError(t, err)
	types := func(list []Message) string {
		var out []string
		for _, message := range list {
			out = append(out, message.Type)
		}
		return strings.Join(out, " ")
	}
	assert.Equal(t, "request cancel subscribe unsubscribe list seal auth ping", types(m.Client.Messages))
	assert.Equal(t, "ack chunk attempt result error", types(m.Server.Events))
	assert.Equal(t, []int{32 << 10, 64, 64}, []int{m.Client.MaxBytes, m.Client.MaxBatch, m.Client.MaxDepth})
	assert.Equal(t, []int{128 << 10, 0}, []int{m.Server.MaxBytes, m.Server.MaxBatch})
	// Additional requirements of the choice apply only to it.
	ack, event := m.Server.Messages[0], m.Server.Events[0]
	assert.True(t, ack.Field("id").Required)
	assert.False(t, event.Field("id").Required, "inside a snapshot")
	// A reference with other keywords has both.
	action := m.Client.Messages[0].Field("action").Value
	assert.Equal(t, []any{"action", 128, "name"}, []any{action.Name, action.MaxBytes, action.Limit})
	assert.NotEmpty(t, action.Pattern)
	assert.NotEmpty(t, action.Rule)
	assert.Contains(t, m.Limits, Limit{Name: "list", Value: 100, Default: 50})
	assert.NotEmpty(t, m.Codes)
	assert.NotEmpty(t, m.Closes)
	assert.Len(t, m.Records, 2)
}

// The order of the union's fields agrees with every message.
func TestOrder(t *testing.T) {
	schema, codes := contract(t)
	m, err := Build([]byte(schema), []byte(codes))
	require.NoError(t, err)
	for _, d := range []*Direction{&m.Client, &m.Server} {
		for _, message := range d.Messages {
			own := message.Fields
			for k := 1; k < len(own); k++ {
				before, after := indexOf(d.Fields, own[k-1].Name), indexOf(d.Fields, own[k].Name)
				assert.Less(t, before, after, "%s: %s stands behind %s", message.Type, own[k-1].Name, own[k].Name)
			}
		}
	}
}

// The generator refuses a contract that it cannot enforce.
func TestBuildRefuses(t *testing.T) {
	schema, codes := contract(t)
	for name, tc := range map[string]struct{ from, to, want string }{
		"a keyword that nobody enforces": {`"x-rule": "must`, `"format": "uuid", "x-rule": "must`, `unknown field "format"`},
		"a reference to nothing":         {`"$ref": "#/$defs/name"`, `"$ref": "#/$defs/nobody"`, "refers to no definition"},
		"a circle":                       {`"type": "string", "minLength": 1, "maxLength": 128, "x-maxBytes": 128, "x-limit": "name"`, `"$ref": "#/$defs/action"`, "refers to itself"},
		"one limit with two values":      {`"maximum": 2592000000, "x-limit": "durationMs", "description"`, `"maximum": 5, "x-limit": "durationMs", "description"`, "x-limit durationMs is"},
		"an open message of a client's": {`"required": ["type", "ref", "token"],
      "additionalProperties": false`, `"required": ["type", "ref", "token"],
      "additionalProperties": true`, "auth: servers refuse unknown fields"},
		"a closed message of a server's": {`"required": ["type", "id", "lastSeq"],
      "additionalProperties": true`, `"required": ["type", "id", "lastSeq"],
      "additionalProperties": false`, "lag: clients ignore unknown fields"},
		"a required field that is not there": {`"required": ["type", "ref", "token"]`, `"required": ["type", "ref", "tokens"]`, "tokens is required, and not there"},
		"a type that is another's":           {`"type": {"const": "auth"}`, `"type": {"const": "login"}`, `auth: a message begins with its required type`},
		"an unbounded number":                {`"minimum": 0, "maximum": 100`, `"minimum": 0`, "a minimum and a maximum"},
		"a limit without a bound":            {`"type": "string", "minLength": 1, "maxLength": 36`, `"type": "string", "minLength": 1`, "x-limit ref names no bound"},
		"a field that means two things":      {`"status": {"$ref": "#/$defs/status", "description": "Only`, `"status": {"$ref": "#/$defs/status"}, "id": {"$ref": "#/$defs/name", "description": "Only`, "id is something else"},
		"a field twice":                      {`"limit": {"type"`, `"ref": {"type": "string"}, "limit": {"type"`, "ref stands twice"},
		"frames unbound":                     {`"x-maxBytes": 131072, `, ``, "no x-maxBytes"},
		"something extra":                    {`"$defs": {`, `"x-new": 1, "$defs": {`, `unknown field "x-new"`},
		"no schema":                          {`{`, ``, "schema: "},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(schema, tc.from, tc.to, 1)
			require.NotEqual(t, schema, changed, "the schema has changed: there is nothing to break here any more")
			_, err := Build([]byte(changed), []byte(codes))
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := Build([]byte(schema), []byte(strings.Replace(codes, `"retryable"`, `"retriable"`, 1)))
	require.ErrorContains(t, err, "codes: ")
}

func TestMergeRefusesContradictions(t *testing.T) {
	message := func(kind string, names ...string) Message {
		m := Message{Type: kind}
		for _, name := range names {
			m.Fields = append(m.Fields, Field{Name: name, Value: Value{Kind: Text}})
		}
		return m
	}
	fields, err := merge([]Message{message("a", "type", "x", "z"), message("b", "type", "y", "z"), message("c", "type", "x", "y")}, true)
	require.NoError(t, err)
	got := ""
	for _, f := range fields {
		got += f.Name + " "
	}
	assert.Equal(t, "type x y z ", got)
	assert.Equal(t, []string{"a", "b"}, fields[3].In)
	_, err = merge([]Message{message("a", "type", "x", "y"), message("b", "type", "y", "x")}, true)
	assert.ErrorContains(t, err, "contradict")
}
