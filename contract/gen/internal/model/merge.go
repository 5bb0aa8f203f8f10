package model

import (
	"fmt"
	"reflect"
	"slices"
)

// merge returns the fields of all messages, each once, in an order that agrees with
// every message; of several possible next fields it takes the one that was read
// first. In a strict direction a field is the same in all messages, because it is
// checked before the message's type is known.
func merge(messages []Message, strict bool) ([]Field, error) {
	var all []Field
	behind := map[string][]string{} // field → the fields before it
	for _, m := range messages {
		for k, f := range m.Fields {
			if k > 0 {
				behind[f.Name] = append(behind[f.Name], m.Fields[k-1].Name)
			}
			at := indexOf(all, f.Name)
			if at < 0 {
				at = len(all)
				all = append(all, f)
			}
			have := &all[at]
			have.In = append(have.In, m.Type)
			have.Required = have.Required && f.Required
			if f.Name != "type" && !compatible(have.Value, f.Value, strict) {
				return nil, fmt.Errorf("%s: %s is something else in %s", m.Type, f.Name, have.In[0])
			}
		}
	}
	return order(all, behind)
}

func indexOf(fields []Field, name string) int {
	return slices.IndexFunc(fields, func(f Field) bool { return f.Name == name })
}

// compatible reports whether two messages may share a field with these values.
func compatible(a, b Value, strict bool) bool {
	return a.Kind == b.Kind && a.Record == b.Record && (!strict || reflect.DeepEqual(a, b))
}

// order sorts fields so that each follows those that precede it in a message.
func order(all []Field, behind map[string][]string) ([]Field, error) {
	out := make([]Field, 0, len(all))
	isOut := func(name string) bool { return indexOf(out, name) >= 0 }
	for len(out) < len(all) {
		next := slices.IndexFunc(all, func(f Field) bool {
			return !isOut(f.Name) && !slices.ContainsFunc(behind[f.Name], func(before string) bool { return !isOut(before) })
		})
		if next < 0 {
			return nil, fmt.Errorf("the messages contradict each other in the order of their fields, after %s", out[len(out)-1].Name)
		}
		out = append(out, all[next])
	}
	return out, nil
}
