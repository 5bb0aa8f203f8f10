package conformance

import (
	"encoding/json"
	"fmt"
	"slices"
)

// operators holds what each operator takes, so that a transcript which uses one
// wrongly is refused when it is read, and not on the day on which a server
// comes to it.
var operators = map[string]kind{
	"$any":      oneOf("string", "integer", "number", "boolean", "object", "array", "null"),
	"$optional": isAny,
	"$oneOf":    isList,
	"$between":  func(n any) bool { l, ok := n.([]any); return ok && len(l) == 2 && isTerm(l[0]) && isTerm(l[1]) },
	"$contains": isText,
	"$length":   isAny,
	"$raw":      func(n any) bool { s, ok := n.(string); return ok && json.Valid([]byte(s)) },
	"$plus": func(n any) bool {
		l, ok := n.([]any)
		return ok && !slices.ContainsFunc(l, func(e any) bool { return !isTerm(e) })
	},
	"$repeat": func(n any) bool { what, _, err := repetition(n); return err == nil && isString(what) },
	"$times":  func(n any) bool { _, _, err := repetition(n); return err == nil },
	"$token":  isText,
}

// isTerm tells whether a node can stand for a whole number.
func isTerm(n any) bool {
	switch v := n.(type) {
	case json.Number:
		_, ok := integer(v)
		return ok
	case string:
		_, ok := variable(v)
		return ok
	case object:
		name, _, ok := operator(v)
		return ok && name == "$plus"
	}
	return false
}

// checkOperators refuses operators that do not exist or take something else.
func checkOperators(n any) error {
	switch v := n.(type) {
	case []any:
		for _, e := range v {
			if err := checkOperators(e); err != nil {
				return err
			}
		}
	case object:
		if name, arg, ok := operator(v); ok {
			takes, known := operators[name]
			switch {
			case !known:
				return fmt.Errorf("there is no %s; write a field of that name with $raw", name)
			case !takes(arg):
				return fmt.Errorf("%s cannot take %s", name, brief(appendNode(nil, arg)))
			}
		}
		for _, m := range v {
			if err := checkOperators(m.value); err != nil {
				return err
			}
		}
	}
	return nil
}
