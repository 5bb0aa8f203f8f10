package golang

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// appendMessage writes the encoder of any message of a direction.
func appendMessage(f *file, name string, d *model.Direction) error {
	f.line("\n// Append appends the message as JSON. Raw fields are copied byte for byte.")
	f.line("func (m *%s) Append(b []byte) []byte {\n\tw := writer{b: append(b, '{')}", name)
	for _, field := range d.Fields {
		var must, zero []string
		for _, message := range d.Messages {
			if own := message.Field(field.Name); own != nil && own.Required {
				is := "m.Type == Type" + exported(message.Type)
				must = append(must, is)
				if holdsZero(own.Value) {
					zero = append(zero, is)
				}
			}
		}
		if err := appendField(f, "m", field, absentMeans(field, d.Messages), strings.Join(must, " || "), strings.Join(zero, " || ")); err != nil {
			return err
		}
	}
	f.line("\treturn append(w.b, '}')\n}")
	return nil
}

// appendRecord writes the encoder of a record.
func appendRecord(f *file, name string, r model.Record) error {
	f.line("\nfunc (r *%s) append(b []byte) []byte {\n\tw := writer{b: append(b, '{')}", name)
	for _, field := range r.Fields {
		zero := ""
		if field.Required && holdsZero(field.Value) {
			zero = "true"
		}
		if err := appendField(f, "r", field, absentMeans(field, nil), "true", zero); err != nil {
			return err
		}
	}
	f.line("\treturn append(w.b, '}')\n}")
	return nil
}

// appendField writes the encoding of a field. must is the condition under which
// it is required, zero the one under which it is written even if it is zero;
// empty: never.
func appendField(f *file, receiver string, field model.Field, pointer bool, must, zero string) error {
	v, from := field.Value, receiver+"."+exported(field.Name)
	switch v.Kind {
	case model.Text, model.Word:
		f.line("\tw.stringField(%q, %s, %s)", field.Name, from, cmp.Or(zero, "false"))
	case model.Raw, model.RawObject:
		f.line("\tw.rawField(%q, %s)", field.Name, from)
	case model.Integer:
		value := pointed(from, pointer)
		if wholeType(v) != "int64" {
			value = "int64(" + value + ")"
		}
		if pointer {
			f.line("\tif %s != nil {\n\t\tw.integerField(%q, %s, true)\n\t}", from, field.Name, value)
			return nil
		}
		f.line("\tw.integerField(%q, %s, %s)", field.Name, value, cmp.Or(zero, "false"))
	case model.Number:
		if !pointer {
			return fmt.Errorf("%s: a number that is always there has no writer", field.Name)
		}
		f.line("\tw.floatField(%q, %s)", field.Name, from)
	case model.Boolean:
		if field.Default == "false" {
			f.line("\tw.flagField(%q, %s)", field.Name, from)
			return nil
		}
		f.line("\tw.booleanField(%q, %s)", field.Name, from)
	case model.Object:
		f.line("\tif %s != nil {\n\t\tw.fieldName(%q)\n\t\tw.b = %s.append(w.b)\n\t}", from, field.Name, from)
	case model.Array:
		if must == "" {
			return fmt.Errorf("%s: an array that may be absent has no writer", field.Name)
		}
		method := "append"
		if v.Record == "" {
			method = "Append"
		}
		f.line("\tif %s {\n\t\tw.openArray(%q)\n\t\tfor i := range %s {\n\t\t\tw.comma(i)", must, field.Name, from)
		f.line("\t\t\tw.b = %s[i].%s(w.b)\n\t\t}\n\t\tw.b = append(w.b, ']')\n\t}", from, method)
	default:
		return fmt.Errorf("%s: kind %d has no writer", field.Name, v.Kind)
	}
	return nil
}
