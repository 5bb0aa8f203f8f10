package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pay-theory/streamer/contract/gen/internal/schema"
)

// value returns the values that a resolved schema allows in a field.
func (b *builder) value(s *schema.Schema, def string) (Value, error) {
	v := Value{
		Name: def, Limit: s.Limit, Words: s.Enum, Pattern: s.Pattern, Rule: s.Rule,
		MinLength: orZero(s.MinLength), MaxLength: orZero(s.MaxLength), MaxBytes: orZero(s.MaxBytes),
	}
	switch {
	case s.Const != "":
		v.Kind, v.Words = Word, []string{s.Const}
	case len(s.Enum) > 0:
		v.Kind = Word
	case s.Raw && s.Type == "":
		v.Kind = Raw
	case s.Raw && s.Type == "object":
		v.Kind = RawObject
	case s.Type == "string":
		v.Kind = Text
	case s.Type == "integer", s.Type == "number":
		if s.Minimum == nil || s.Maximum == nil {
			return v, errors.New("a number has a minimum and a maximum")
		}
		v.Kind, v.Min, v.Max = Integer, *s.Minimum, *s.Maximum
		if s.Type == "number" {
			v.Kind = Number
		}
	case s.Type == "boolean":
		v.Kind = Boolean
	case s.Type == "object":
		v.Kind, v.Record = Object, def
		return v, b.record(s, def)
	case s.Type == "array":
		return b.array(s, v)
	default:
		return v, fmt.Errorf("a value of type %q is not understood", s.Type)
	}
	return v, b.bound(s, &v)
}

// orZero returns the bound, or 0 if it is absent.
func orZero(bound *int) int {
	if bound == nil {
		return 0
	}
	return *bound
}

// bound adds the value's upper bound to the limits if it has a name.
func (b *builder) bound(s *schema.Schema, v *Value) error {
	if s.Limit == "" {
		return nil
	}
	switch {
	case v.Kind == Integer:
		def := s.Default
		if string(def) == "0" {
			def = nil
		}
		return b.limit(s.Limit, v.Max, def)
	case v.MaxBytes > 0:
		return b.limit(s.Limit, int64(v.MaxBytes), nil)
	case v.MaxLength > 0:
		return b.limit(s.Limit, int64(v.MaxLength), nil)
	}
	return fmt.Errorf("x-limit %s names no bound", s.Limit)
}

// array reads an array of records or events.
func (b *builder) array(s *schema.Schema, v Value) (Value, error) {
	v.Kind = Array
	if s.Items == nil {
		return v, errors.New("an array has items")
	}
	if s.MaxPageBytes != nil {
		v.MaxBytes = *s.MaxPageBytes
		if err := b.limit(s.Limit, int64(v.MaxBytes), nil); err != nil {
			return v, err
		}
	}
	if s.Items.Ref == "#/$defs/event" {
		return v, nil
	}
	item, def, err := b.resolve(*s.Items)
	if err != nil {
		return v, err
	}
	v.Record = def
	return v, b.record(item, def)
}

// record reads a record the first time that a field holds it.
func (b *builder) record(s *schema.Schema, name string) (err error) {
	if slices.ContainsFunc(b.model.Records, func(r Record) bool { return r.Name == name }) {
		return nil
	}
	if name == "" {
		return errors.New("a record is a definition of its own")
	}
	r := Record{Name: name}
	if own := b.defs.Get(name); own != nil {
		r.Doc = own.Description
	}
	if r.Fields, err = b.fields(s, nil); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.model.Records = append(b.model.Records, r)
	return nil
}
