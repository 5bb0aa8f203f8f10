package golang

import (
	"fmt"
	"strconv"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// clientMessage writes what a client sends: its type, its strict decoder, its
// encoder.
func clientMessage(f *file, m *model.Model) error {
	d := &m.Client
	if len(d.Fields) > 32 {
		return fmt.Errorf("the %d fields of a client's messages do not fit into 32 bits", len(d.Fields))
	}
	f.line("import \"encoding/json\"")
	if err := structure(f, "ClientMessage", d.Doc, d.Fields, d.Messages); err != nil {
		return err
	}
	bits(f, "client", "uint32", d)
	clientTables(f, d)
	f.line("\n// field reads and checks the value of one field. A refused value stays empty.")
	f.line("func (m *ClientMessage) field(s *scanner, bit uint32) (err *Error) {\n\tswitch bit {")
	for _, field := range d.Fields {
		read, err := strict(field, absentMeans(field, d.Messages))
		if err != nil {
			return fmt.Errorf("%s: %w", field.Name, err)
		}
		f.line("\tcase %s:\n\t\tm.%s, err = %s", bit("client", field.Name), exported(field.Name), read)
		if v := field.Value; v.Pattern != "" {
			if v.Name == "" || v.Rule == "" {
				return fmt.Errorf("%s: a pattern needs a definition of its own and an x-rule", field.Name)
			}
			f.line("\t\tif err == nil && !Valid%s(m.%s) {", exported(v.Name), exported(field.Name))
			f.line("\t\t\tm.%s, err = \"\", invalid(%q, %q)\n\t\t}", exported(field.Name), field.Name, field.Name+" "+v.Rule)
		}
	}
	f.line("\t}\n\treturn err\n}")
	return appendMessage(f, "ClientMessage", d)
}

// clientTables writes the names of the fields, and which message has which.
func clientTables(f *file, d *model.Direction) {
	f.line("\n// clientNames are the names of the fields, in the order of their bits.\nvar clientNames = [...]string{")
	for _, field := range d.Fields {
		f.line("\t%q,", field.Name)
	}
	f.line("}\n\n// clientBit returns the bit of a field; 0: there is no such field.\nfunc clientBit(key []byte) uint32 {\n\tswitch string(key) {")
	for _, field := range d.Fields {
		f.line("\tcase %q:\n\t\treturn %s", field.Name, bit("client", field.Name))
	}
	f.line("\t}\n\treturn 0\n}")
	f.line("\n// clientForm returns which fields a type of message must and may have.")
	f.line("func clientForm(kind string) (must, may uint32, known bool) {\n\tswitch kind {")
	for _, m := range d.Messages {
		f.line("\tcase Type%s:\n\t\treturn %s,\n\t\t\t%s, true", exported(m.Type),
			bitsOf("client", m.Fields, func(f model.Field) bool { return f.Required }),
			bitsOf("client", m.Fields, func(f model.Field) bool { return !f.Required }))
	}
	f.line("\t}\n\treturn 0, 0, false\n}")
}

// strict returns the expression that reads and checks a field's value.
func strict(f model.Field, pointer bool) (string, error) {
	v := f.Value
	wrap := func(read string) string {
		if pointer {
			return "pointer(" + read + ")"
		}
		return read
	}
	switch {
	case f.Name == "type":
		return `s.interned("type")`, nil
	case v.Kind == model.Text && v.MaxBytes > 0:
		return fmt.Sprintf("s.bounded(%q, %d, %s)", f.Name, v.MinLength, bound(v.Limit, int64(v.MaxBytes))), nil
	case v.Kind == model.Text && v.MaxLength > 0:
		return fmt.Sprintf("s.characters(%q, %d, %s)", f.Name, v.MinLength, bound(v.Limit, int64(v.MaxLength))), nil
	case v.Kind == model.Text && v.Pattern != "":
		return fmt.Sprintf("s.unbounded(%q)", f.Name), nil
	case v.Kind == model.Word:
		return fmt.Sprintf("s.oneOf(%q%s)", f.Name, arguments(v.Words)), nil
	case v.Kind == model.Integer:
		return wrap(fmt.Sprintf("whole[%s](s, %q, %d, %s)", wholeType(v), f.Name, v.Min, bound(v.Limit, v.Max))), nil
	case v.Kind == model.Raw && v.MaxBytes == 0:
		return "s.anyValue()", nil
	case v.Kind == model.RawObject && v.MaxBytes > 0:
		return fmt.Sprintf("s.rawObject(%q, %s)", f.Name, bound(v.Limit, int64(v.MaxBytes))), nil
	}
	return "", fmt.Errorf("a client's field of kind %d without a bound, or with one that is not judged", v.Kind)
}

// bound writes a limit by its name if it has one.
func bound(limit string, value int64) string {
	switch {
	case limit != "":
		return "Max" + exported(limit)
	case value == maxSafe:
		return "MaxSafeInteger"
	}
	return strconv.FormatInt(value, 10)
}

func arguments(words []string) (out string) {
	for _, w := range words {
		out += ", " + strconv.Quote(w)
	}
	return out
}
