package model

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func contract(t *testing.T) (schema, codes string) {
	t.Helper()
	read := func(name string) string {
		text, err := os.ReadFile("../../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return read("schema.json"), read("codes.json")
}

func TestBuild(t *testing.T) {
	schema, codes := contract(t)
	m, err := Build([]byte(schema), []byte(codes))
	if err != nil {
		t.Fatal(err)
	}
	types := func(list []Message) (out []string) {
		for i := range list {
			out = append(out, list[i].Type)
		}
		return out
	}
	if got := strings.Join(types(m.Client.Messages), " "); got != "request cancel subscribe unsubscribe list seal auth ping" {
		t.Error(got)
	}
	if got := strings.Join(types(m.Server.Events), " "); got != "ack chunk attempt result error" {
		t.Error(got)
	}
	if m.Client.MaxBytes != 32<<10 || m.Client.MaxBatch != 64 || m.Server.MaxBytes != 128<<10 || m.Server.MaxBatch != 0 || m.Client.MaxDepth != 64 {
		t.Errorf("%+v", m.Client)
	}
	// Additional requirements of the choice apply only to it.
	ack, event := m.Server.Messages[0], m.Server.Events[0]
	if !ack.Field("id").Required || event.Field("id").Required {
		t.Error("an ack has an id, but for one inside a snapshot")
	}
	// A reference with other keywords has both.
	action := m.Client.Messages[0].Field("action").Value
	if action.Name != "action" || action.MaxBytes != 128 || action.Limit != "name" || action.Pattern == "" || action.Rule == "" {
		t.Errorf("%+v", action)
	}
	i := slices.IndexFunc(m.Limits, func(l Limit) bool { return l.Name == "list" })
	if i < 0 || m.Limits[i].Value != 100 || m.Limits[i].Default != 50 {
		t.Errorf("%+v", m.Limits)
	}
	if len(m.Codes) == 0 || len(m.Closes) == 0 || len(m.Records) != 2 {
		t.Errorf("%d codes, %d close codes, %d records", len(m.Codes), len(m.Closes), len(m.Records))
	}
}

// The order of the union's fields agrees with every message.
func TestOrder(t *testing.T) {
	schema, codes := contract(t)
	m, err := Build([]byte(schema), []byte(codes))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Direction{&m.Client, &m.Server} {
		at := map[string]int{}
		for i := range d.Fields {
			at[d.Fields[i].Name] = i
		}
		for i := range d.Messages {
			own := d.Messages[i].Fields
			for k := 1; k < len(own); k++ {
				if at[own[k-1].Name] >= at[own[k].Name] {
					t.Errorf("%s: %s stands behind %s", d.Messages[i].Type, own[k-1].Name, own[k].Name)
				}
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
			if changed == schema {
				t.Fatal("the schema has changed: there is nothing to break here any more")
			}
			_, err := Build([]byte(changed), []byte(codes))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%q is expected, and this came: %v", tc.want, err)
			}
		})
	}
	if _, err := Build([]byte(schema), []byte(strings.Replace(codes, `"retryable"`, `"retriable"`, 1))); err == nil || !strings.Contains(err.Error(), "codes: ") {
		t.Error(err)
	}
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
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range fields {
		got += f.Name + " "
	}
	if got != "type x y z " || strings.Join(fields[3].In, " ") != "a b" {
		t.Errorf("%q, %v", got, fields[3].In)
	}
	if _, err := merge([]Message{message("a", "type", "x", "y"), message("b", "type", "y", "x")}, true); err == nil || !strings.Contains(err.Error(), "contradict") {
		t.Error(err)
	}
}
