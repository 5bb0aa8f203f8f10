package model

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/schema"
)

// Build makes the model of a schema and of codes.json. Errors name the
// definition that breaks a rule of the generator.
func Build(schemaJSON, codesJSON []byte) (*Model, error) {
	root, err := schema.Parse(schemaJSON)
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	b := &builder{defs: root.Defs, model: &Model{}}
	if err := b.build(); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	codes := struct {
		Errors []Code  `json:"errors"`
		Closes []Close `json:"closes"`
	}{}
	dec := json.NewDecoder(bytes.NewReader(codesJSON))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&codes); err != nil {
		return nil, fmt.Errorf("codes: %w", err)
	}
	b.model.Codes, b.model.Closes = codes.Errors, codes.Closes
	return b.model, nil
}

type builder struct {
	defs  schema.Members
	model *Model
}

func (b *builder) build() (err error) {
	if err := b.direction(&b.model.Client, "client"); err != nil {
		return err
	}
	if err := b.direction(&b.model.Server, "server"); err != nil {
		return err
	}
	if b.model.Server.Events, err = b.variants("event"); err != nil {
		return err
	}
	for _, m := range b.model.Client.Messages {
		if !m.Closed {
			return fmt.Errorf("%s: servers refuse unknown fields, so additionalProperties is false", m.Type)
		}
	}
	for _, m := range b.model.Server.Messages {
		if m.Closed {
			return fmt.Errorf("%s: clients ignore unknown fields, so additionalProperties is true", m.Type)
		}
	}
	return nil
}

// direction reads the definitions of one side's frames.
func (b *builder) direction(d *Direction, side string) (err error) {
	frame, batch, message := b.defs.Get(side+"Frame"), b.defs.Get(side+"Batch"), b.defs.Get(side+"Message")
	switch {
	case frame == nil || batch == nil || message == nil:
		return fmt.Errorf("%sFrame, %sBatch and %sMessage are expected", side, side, side)
	case frame.MaxBytes == nil || frame.MaxDepth == nil:
		return fmt.Errorf("%sFrame has no x-maxBytes or x-maxDepth", side)
	}
	d.Doc, d.MaxBytes, d.MaxDepth, d.Strict = message.Description, *frame.MaxBytes, *frame.MaxDepth, frame.Strict
	err = errors.Join(b.limit(frame.Limit, int64(d.MaxBytes), nil), b.limit("depth", int64(d.MaxDepth), nil))
	if batch.MaxItems != nil {
		d.MaxBatch = *batch.MaxItems
		err = errors.Join(err, b.limit(batch.Limit, int64(d.MaxBatch), nil))
	}
	if err != nil {
		return err
	}
	if d.Messages, err = b.variants(side + "Message"); err != nil {
		return err
	}
	d.Fields, err = merge(d.Messages, d.Strict)
	return err
}

// variants reads the messages among which a definition chooses.
func (b *builder) variants(def string) ([]Message, error) {
	s := b.defs.Get(def)
	if s == nil || len(s.OneOf) == 0 {
		return nil, fmt.Errorf("%s: a choice of messages is expected", def)
	}
	out := make([]Message, 0, len(s.OneOf))
	for _, choice := range s.OneOf {
		m, err := b.message(choice.Ref, choice.Required)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", def, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// message reads the message that a choice refers to; the choice may require
// more of its fields.
func (b *builder) message(ref string, required []string) (Message, error) {
	name, s, err := b.refer(ref)
	if err != nil {
		return Message{}, err
	}
	m := Message{Type: name, Doc: s.Description, Closed: s.AdditionalProperties != nil && !*s.AdditionalProperties}
	if m.Fields, err = b.fields(s, required); err != nil {
		return m, fmt.Errorf("%s: %w", name, err)
	}
	kind := s.Properties.Get("type")
	if kind == nil || kind.Const != name || m.Fields[0].Name != "type" || !m.Fields[0].Required {
		return m, fmt.Errorf("%s: a message begins with its required type, %q", name, name)
	}
	return m, nil
}

// fields reads the properties of an object.
func (b *builder) fields(s *schema.Schema, required []string) ([]Field, error) {
	required = slices.Concat(s.Required, required)
	if s.Type != "object" || len(s.Properties) == 0 || s.AdditionalProperties == nil {
		return nil, errors.New("an object with properties and additionalProperties is expected")
	}
	for _, name := range required {
		if s.Properties.Get(name) == nil {
			return nil, fmt.Errorf("%s is required, and not there", name)
		}
	}
	out := make([]Field, 0, len(s.Properties))
	for _, p := range s.Properties {
		resolved, def, err := b.resolve(p.Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		value, err := b.value(resolved, def)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		out = append(out, Field{
			Name: p.Name, Doc: resolved.Description, Required: slices.Contains(required, p.Name),
			Default: string(resolved.Default), Value: value,
		})
	}
	return out, nil
}

// refer finds the definition that a reference names.
func (b *builder) refer(ref string) (string, *schema.Schema, error) {
	name, ok := strings.CutPrefix(ref, "#/$defs/")
	s := b.defs.Get(name)
	if !ok || s == nil {
		return "", nil, fmt.Errorf("%q refers to no definition", ref)
	}
	return name, s, nil
}

// resolve returns a schema merged with the one that it refers to; its own keywords
// take precedence. name is the definition it began with.
func (b *builder) resolve(own schema.Schema) (out *schema.Schema, name string, err error) {
	for ref, hops := own.Ref, 0; ref != ""; hops++ {
		if hops == len(b.defs) {
			return nil, "", fmt.Errorf("%s refers to itself", ref)
		}
		def, base, err := b.refer(ref)
		if err != nil {
			return nil, "", err
		}
		name = cmp.Or(name, def)
		into, from := reflect.ValueOf(&own).Elem(), reflect.ValueOf(base).Elem()
		for i := range into.NumField() {
			if into.Field(i).IsZero() {
				into.Field(i).Set(from.Field(i))
			}
		}
		ref = base.Ref
	}
	return &own, name, nil
}

// limit adds a bound that has a name. A name has one value.
func (b *builder) limit(name string, value int64, def json.RawMessage) error {
	if name == "" {
		return nil
	}
	l := Limit{Name: name, Value: value}
	if len(def) > 0 {
		if err := json.Unmarshal(def, &l.Default); err != nil {
			return fmt.Errorf("x-limit %s: %w", name, err)
		}
	}
	for i := range b.model.Limits {
		switch have := &b.model.Limits[i]; {
		case have.Name != name:
		case have.Value != value:
			return fmt.Errorf("x-limit %s is %d here and %d elsewhere", name, value, have.Value)
		default:
			have.Default = max(have.Default, l.Default)
			return nil
		}
	}
	b.model.Limits = append(b.model.Limits, l)
	return nil
}
