package conformance_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
)

// Every vector, held against schema.json: the valid ones are valid, the invalid
// ones are refused, with the code that they name, and by the judge that they
// name and no sooner.
func TestVectorsAndSchema(t *testing.T) {
	o := newOracle(t)
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			found := o.judge(v)
			switch {
			case v.Valid && found != nil:
				t.Fatalf("it is valid, and the schema refuses it: %v", found)
			case v.Valid:
				return
			case found == nil:
				t.Fatal("it is invalid, and the schema allows it")
			}
			if found.by != v.By {
				t.Errorf("it is said that the %s refuses it, and it is the %s: %v", v.By, found.by, found)
			}
			if v.From == conformance.Client && v.Answer.Close == 0 && (found.code != v.Answer.Code || found.index >= 0 && v.Answer.Index >= 0 && found.index != v.Answer.Index) {
				t.Errorf("it is to get %+v, and the schema says %v", v.Answer, found)
			}
		})
	}
}

// judge returns the first thing wrong with a vector, or nil. What is too deep
// or too big, and invalid for another reason, too, is seen by whoever sees that.
func (o *oracle) judge(v *conformance.Vector) *refusal {
	var found *refusal
	switch {
	case v.From == conformance.Server:
		errors.As(o.server(v.Frame), &found)
	case len(v.Frame) > o.maxClient:
		found = &refusal{conformance.ByRule, "", errors.New("too big"), -1}
	default:
		got := o.clientFrame(v.Frame)
		found = got.frame
		for _, m := range got.messages {
			if m != nil && found == nil {
				found = m
			}
		}
	}
	if found != nil && found.by == conformance.ByRule && found.index < 0 {
		found.by = o.sooner(v)
	}
	return found
}

// sooner says who would refuse a frame whose size and depth were not judged.
func (o *oracle) sooner(v *conformance.Vector) conformance.Judge {
	if !json.Valid(v.Frame) {
		return conformance.ByGrammar
	}
	def, s := "clientMessage", o.client
	if v.From == conformance.Server {
		def, s = "serverMessage", o.answer
	}
	for i, m := range messages(v.Frame) {
		if r := o.message(s, def, m, i); r != nil {
			return r.by
		}
	}
	return conformance.ByRule
}
