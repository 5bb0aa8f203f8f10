package main

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// Vectors cover the schema: each field of each message with a value of the wrong
// type and, where it is required, without it; each bound from both sides.
func TestVectorsCoverTheSchema(t *testing.T) {
	m := contractModel(t)
	valid, invalid := vectors(t, "valid"), vectors(t, "invalid")
	for side, d := range map[string]*model.Direction{"client": &m.Client, "server": &m.Server} {
		t.Run(side, func(t *testing.T) {
			want, have := claims{}, claims{}
			for i := range d.Messages {
				want.broken(&d.Messages[i], m)
			}
			for _, v := range invalid {
				if v.direction == side {
					for _, text := range v.messages() {
						have.breaks(d, m, text)
					}
				}
			}
			want.compare(t, have, "no invalid vector tries")
		})
		t.Run(side+", the right way", func(t *testing.T) {
			want, have := claims{}, claims{}
			for i := range d.Messages {
				want.kept(&d.Messages[i], m, side == "client")
			}
			for _, v := range valid {
				if v.direction == side {
					for _, text := range v.messages() {
						have.keeps(d, m, text)
					}
				}
			}
			want.compare(t, have, "no valid vector shows")
		})
	}
	t.Run("frames", func(t *testing.T) {
		count := map[string]int{}
		for _, v := range invalid {
			count[v.direction+" "+v.Code]++
			if v.Close != 0 && len(v.bytes) == m.Client.MaxBytes+1 {
				count["one byte too many"]++
			}
		}
		for _, v := range valid {
			if len(v.bytes) == m.Client.MaxBytes {
				count["as many bytes as can be"]++
			}
			if v.direction == "client" && len(v.messages()) == m.Client.MaxBatch {
				count["as many messages as can be"]++
			}
		}
		for _, what := range []string{
			"client malformed", "client invalid_message", "client invalid_batch", "server malformed", "one byte too many", "as many bytes as can be", "as many messages as can be",
		} {
			if count[what] == 0 {
				t.Errorf("there is no vector for: %s", what)
			}
		}
	})
}

// claims are the cases that must be covered, or that are.
type claims map[string]bool

func (c claims) compare(t *testing.T, have claims, text string) {
	t.Helper()
	if len(c) == 0 {
		t.Fatal("nothing is asked for")
	}
	for _, what := range slices.Sorted(maps.Keys(c)) {
		if !have[what] {
			t.Errorf("%s %s", text, what)
		}
	}
}

// broken adds the ways in which each field of a message can be wrong.
func (c claims) broken(m *model.Message, all *model.Model) {
	for i := range m.Fields {
		if f := &m.Fields[i]; f.Name != "type" {
			c.wrong(m.Type, f, all)
		}
	}
}

func (c claims) wrong(in string, f *model.Field, all *model.Model) {
	where, v := in+"."+f.Name, &f.Value
	if v.Kind != model.Raw {
		c[where+": wrong type"] = true
	}
	if f.Required {
		c[where+": missing"] = true
	}
	for bound := range bounds(v) {
		c[f.Name+": "+bound] = true
	}
	if r := record(all, v.Record); r != nil {
		for i := range r.Fields {
			c.wrong(r.Name, &r.Fields[i], all)
		}
	}
}

// breaks adds what is wrong with an invalid message.
func (c claims) breaks(d *model.Direction, all *model.Model, text []byte) {
	object, fields := message(d, text)
	if object != nil {
		c.breaksIn(fields.Type, fields.Fields, all, object)
	}
}

func (c claims) breaksIn(in string, fields []model.Field, all *model.Model, object map[string]json.RawMessage) {
	for i := range fields {
		f := &fields[i]
		text, there := object[f.Name]
		switch {
		case !there:
			c[in+"."+f.Name+": missing"] = true
			continue
		case !hasType(&f.Value, text):
			c[in+"."+f.Name+": wrong type"] = true
			continue
		}
		for bound, b := range bounds(&f.Value) {
			if b.broken(text) {
				c[f.Name+": "+bound] = true
			}
		}
		for _, o := range objects(all, &f.Value, text) {
			c.breaksIn(f.Value.Record, record(all, f.Value.Record).Fields, all, o)
		}
	}
}

// kept adds the fields that must occur, and the bounds that must be reached.
func (c claims) kept(m *model.Message, all *model.Model, reached bool) {
	for i := range m.Fields {
		f := &m.Fields[i]
		c[m.Type+"."+f.Name] = true
		if f.Name != "type" {
			c.limits(f, reached)
		}
		if r := record(all, f.Value.Record); r != nil {
			for k := range r.Fields {
				c[r.Name+"."+r.Fields[k].Name] = true
			}
		}
	}
}

func (c claims) limits(f *model.Field, reached bool) {
	if reached {
		for bound, b := range bounds(&f.Value) {
			if b.reached != nil {
				c[f.Name+" at its "+bound] = true
			}
		}
	}
	for _, w := range f.Value.Words {
		if f.Name != "status" || reached {
			c[f.Name+" "+w] = true
		}
	}
}

// keeps adds the fields and bounds of a valid message.
func (c claims) keeps(d *model.Direction, all *model.Model, text []byte) {
	object, m := message(d, text)
	if object != nil {
		c.keepsIn(m.Type, m.Fields, all, object)
	}
}

func (c claims) keepsIn(in string, fields []model.Field, all *model.Model, object map[string]json.RawMessage) {
	for i := range fields {
		f := &fields[i]
		text, there := object[f.Name]
		if !there {
			continue
		}
		c[in+"."+f.Name] = true
		for bound, b := range bounds(&f.Value) {
			if b.reached != nil && b.reached(text) {
				c[f.Name+" at its "+bound] = true
			}
		}
		c[f.Name+" "+plain(text)] = true
		for _, o := range objects(all, &f.Value, text) {
			c.keepsIn(f.Value.Record, record(all, f.Value.Record).Fields, all, o)
		}
	}
}
