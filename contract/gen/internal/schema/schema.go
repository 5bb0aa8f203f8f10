// Package schema reads contract/schema.json: the part of JSON Schema 2020-12
// that it uses, and its own keywords. It refuses unknown keywords, so that every
// keyword in the schema is enforced.
package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Schema is one schema. Pointers are nil where the keyword is absent.
type Schema struct {
	Meta        string `json:"$schema"`
	ID          string `json:"$id"`
	Title       string `json:"title"`
	Description string `json:"description"`

	Ref   string   `json:"$ref"`
	Defs  Members  `json:"$defs"`
	AnyOf []Schema `json:"anyOf"`
	OneOf []Schema `json:"oneOf"`

	Type    string          `json:"type"`
	Const   string          `json:"const"`
	Enum    []string        `json:"enum"`
	Default json.RawMessage `json:"default"`

	MinLength *int   `json:"minLength"`
	MaxLength *int   `json:"maxLength"`
	Pattern   string `json:"pattern"`

	Minimum *int64 `json:"minimum"`
	Maximum *int64 `json:"maximum"`

	Items    *Schema `json:"items"`
	MinItems *int    `json:"minItems"`
	MaxItems *int    `json:"maxItems"`

	Properties           Members  `json:"properties"`
	Required             []string `json:"required"`
	AdditionalProperties *bool    `json:"additionalProperties"`

	// The keywords of contract/README.md.
	Raw          bool   `json:"x-raw"`
	Strict       bool   `json:"x-strict"`
	MaxBytes     *int   `json:"x-maxBytes"`
	MaxPageBytes *int   `json:"x-maxPageBytes"`
	MaxDepth     *int   `json:"x-maxDepth"`
	Limit        string `json:"x-limit"`
	Rule         string `json:"x-rule"`
}

// Member is one named schema of several.
type Member struct {
	Name   string
	Schema Schema
}

// Members are named schemas in the order in which they are written.
type Members []Member

// Get returns the schema of that name, or nil.
func (m Members) Get(name string) *Schema {
	for i := range m {
		if m[i].Name == name {
			return &m[i].Schema
		}
	}
	return nil
}

// UnmarshalJSON reads an object of schemas, and refuses duplicate names.
func (m *Members) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("an object of schemas is expected: %w", err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if m.Get(name) != nil {
			return fmt.Errorf("%s stands twice", name)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		one := Member{Name: name}
		if err := decode(raw, &one.Schema); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*m = append(*m, one)
	}
	return nil
}

// Parse reads a schema. A keyword that Schema does not have is an error.
func Parse(data []byte) (*Schema, error) {
	s := &Schema{}
	return s, decode(data, s)
}

func decode(data []byte, s *Schema) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the schema")
	}
	return nil
}
