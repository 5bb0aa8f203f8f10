package main

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Vectors cover the schema: each field of each message with a value of the wrong
// type and, where it is required, without it; each bound from both sides.
func TestVectorsCoverTheSchema(t *testing.T) {
	m := contractModel(t)
	valid, invalid := vectors(t, "valid"), vectors(t, "invalid")
	for side, d := range map[string]*model.Direction{"client": &m.Client, "server": &m.Server} {
		t.Run(side, func(t *testing.T) {
			want, have := claims{}, claims{}
			for _, message := range d.Messages {
				eachField(m, message.Type, message.Fields, want.addFaults)
			}
			for _, v := range invalid {
				if v.direction == side {
					v.eachValue(m, d, have.addBroken)
				}
			}
			want.compare(t, have, "no invalid vector tries")
		})
		t.Run(side+", the right way", func(t *testing.T) {
			want, have := claims{}, claims{}
			for _, message := range d.Messages {
				want.addLimits(&message, side == "client")
				eachField(m, message.Type, message.Fields, func(in string, f *model.Field) { want[in+"."+f.Name] = true })
			}
			for _, v := range valid {
				if v.direction == side {
					v.eachValue(m, d, have.addReached)
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
			"client malformed", "client invalid_message", "client invalid_batch", "server malformed",
			"one byte too many", "as many bytes as can be", "as many messages as can be",
		} {
			assert.NotZero(t, count[what], "there is no vector for: %s", what)
		}
	})
}

// claims are the cases that must be covered, or that are.
type claims map[string]bool

func (c claims) compare(t *testing.T, have claims, text string) {
	t.Helper()
	require.NotEmpty(t, c)
	for _, what := range slices.Sorted(maps.Keys(c)) {
		assert.True(t, have[what], "%s %s", text, what)
	}
}

// addFaults adds the ways in which a field can be wrong.
func (c claims) addFaults(in string, f *model.Field) {
	if f.Name == "type" {
		return
	}
	if f.Value.Kind != model.Raw {
		c[in+"."+f.Name+": wrong type"] = true
	}
	if f.Required {
		c[in+"."+f.Name+": missing"] = true
	}
	for bound := range bounds(&f.Value) {
		c[f.Name+": "+bound] = true
	}
}

// addBroken adds what is wrong with a value, and reports whether its type is right.
func (c claims) addBroken(in string, f *model.Field, text json.RawMessage) bool {
	switch {
	case text == nil:
		c[in+"."+f.Name+": missing"] = true
		return false
	case !hasType(&f.Value, text):
		c[in+"."+f.Name+": wrong type"] = true
		return false
	}
	for bound, compare := range bounds(&f.Value) {
		if compare(text) > 0 {
			c[f.Name+": "+bound] = true
		}
	}
	return true
}

// addLimits adds the words of a message's fields and, if reached, their bounds.
func (c claims) addLimits(m *model.Message, reached bool) {
	for _, f := range m.Fields[1:] { // the first one is type
		for bound := range bounds(&f.Value) {
			if reached && slices.Contains(edges, bound) {
				c[f.Name+" at its "+bound] = true
			}
		}
		for _, w := range f.Value.Words {
			if f.Name != "status" || reached {
				c[f.Name+" "+w] = true
			}
		}
	}
}

// addReached adds a valid value and the bounds that it reaches, and reports whether
// the field is there.
func (c claims) addReached(in string, f *model.Field, text json.RawMessage) bool {
	if text == nil {
		return false
	}
	c[in+"."+f.Name] = true
	c[f.Name+" "+plain(text)] = true
	for bound, compare := range bounds(&f.Value) {
		if compare(text) == 0 {
			c[f.Name+" at its "+bound] = true
		}
	}
	return true
}
