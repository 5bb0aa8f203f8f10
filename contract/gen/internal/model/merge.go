package model

import (
	"fmt"
	"reflect"
)

// merge returns the fields of all messages, each once, in an order that agrees with
// every message; of several possible next fields it takes the one that was read
// first. In a strict direction a field is the same in all messages, because it is
// checked before the message's type is known.
func merge(messages []Message, strict bool) ([]Field, error) {
	var all []Field
	place := map[string]int{}
	behind := map[string]map[string]bool{} // field → the fields before it
	for i := range messages {
		m := &messages[i]
		for k := range m.Fields {
			f := m.Fields[k]
			if k > 0 {
				if behind[f.Name] == nil {
					behind[f.Name] = map[string]bool{}
				}
				behind[f.Name][m.Fields[k-1].Name] = true
			}
			at, seen := place[f.Name]
			if !seen {
				at = len(all)
				place[f.Name] = at
				all = append(all, f)
			}
			have := &all[at]
			have.In = append(have.In, m.Type)
			have.Required = have.Required && f.Required
			if err := compatible(have, &f, strict); err != nil {
				return nil, fmt.Errorf("%s: %w", m.Type, err)
			}
		}
	}
	return order(all, behind)
}

// compatible reports whether two messages may share a field.
func compatible(have, f *Field, strict bool) error {
	a, b := have.Value, f.Value
	if f.Name == "type" {
		return nil
	}
	if a.Kind != b.Kind || a.Record != b.Record || strict && !reflect.DeepEqual(a, b) {
		return fmt.Errorf("%s is something else in %s", f.Name, have.In[0])
	}
	return nil
}

// order sorts fields so that each follows those that precede it in a message.
func order(all []Field, behind map[string]map[string]bool) ([]Field, error) {
	out := make([]Field, 0, len(all))
	done := map[string]bool{}
	ready := func(name string) bool {
		for before := range behind[name] {
			if !done[before] {
				return false
			}
		}
		return true
	}
	for len(out) < len(all) {
		before := len(out)
		for i := range all {
			if name := all[i].Name; !done[name] && ready(name) {
				done[name] = true
				out = append(out, all[i])
				break
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("the messages contradict each other in the order of their fields, after %s", out[len(out)-1].Name)
		}
	}
	return out, nil
}
