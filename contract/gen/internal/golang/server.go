package golang

import (
	"fmt"
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// serverMessage writes what a server sends: its type, its lenient decoder, its
// encoder.
func serverMessage(f *file, m *model.Model) error {
	d := &m.Server
	if len(d.Fields) > 64 {
		return fmt.Errorf("the %d fields of a server's messages do not fit into 64 bits", len(d.Fields))
	}
	f.line("import \"encoding/json\"")
	if err := structure(f, "ServerMessage", d.Doc, d.Fields, d.Messages); err != nil {
		return err
	}
	bits(f, "server", "uint64", d)
	serverForms(f, d)
	f.line("")
	f.comment("field reads the value of one field, and returns its bit: 0 when no message has the field. inside reports that the message is inside another one.")
	f.line("func (m *ServerMessage) field(s *scanner, key []byte, inside bool) (bit uint64, err *Error) {\n\tswitch string(key) {")
	for _, field := range d.Fields {
		f.line("\tcase %q:\n\t\tbit = %s", field.Name, bit("server", field.Name))
		if err := lenient(f, "m", field, absentMeans(field, d.Messages)); err != nil {
			return err
		}
	}
	f.line("\tdefault:\n\t\ts.SkipValue()\n\t}\n\treturn bit, err\n}")
	return appendMessage(f, "ServerMessage", d)
}

// serverRecords writes the records in a server's messages: their
// types, decoders and encoders.
func serverRecords(f *file, m *model.Model) error {
	for _, r := range m.Records {
		if err := structure(f, recordName(r.Name), r.Doc, r.Fields, nil); err != nil {
			return err
		}
		if err := record(f, r); err != nil {
			return err
		}
	}
	for _, field := range m.Server.Fields {
		if v := field.Value; v.Kind == model.Array && v.Record != "" {
			f.line(decodeRecords, recordName(v.Record), plural(v.Record))
		}
	}
	return nil
}

// serverForms writes which message has which fields.
func serverForms(f *file, d *model.Direction) {
	f.line("")
	f.comment("serverForm returns which fields a type of message has. An unknown type may have any field.")
	f.line("func serverForm(kind string) uint64 {\n\tswitch kind {")
	for _, m := range d.Messages {
		f.line("\tcase Type%s:\n\t\treturn %s", exported(m.Type), bitsOf("server", m.Fields, func(model.Field) bool { return true }))
	}
	f.line("\t}\n\treturn 1<<64 - 1\n}")
}

// decodeRecord is the decoder of a record. It is generated for each: a function
// with the decoder of a field as its argument would move the scanner to the heap.
const decodeRecord = `
// decode reads the record to its end, also after a field of the wrong type.
func (r *%s) decode(s *scanner) (why *Error) {
	if s.Peek() != '{' {
		return s.wrongType("", "an object")
	}
	for more := s.Enter('}'); more; more = s.More('}') {
		if err := r.field(s, s.fieldName()); err != nil {
			why = err
		}
	}
	return why
}`

// decodeRecords is the decoder of an array of records.
const decodeRecords = `
// decode%[2]s reads an array to its end, also after an element of the wrong type.
func decode%[2]s(s *scanner) (out []%[1]s, why *Error) {
	if s.Peek() != '[' {
		return nil, s.wrongType("", "an array")
	}
	for more := s.Enter(']'); more; more = s.More(']') {
		out = append(out, %[1]s{})
		if err := out[len(out)-1].decode(s); err != nil {
			why = err
		}
	}
	return out, why
}`

// plural is the Go name of several records.
func plural(name string) string {
	name = recordName(name)
	if stem, ok := strings.CutSuffix(name, "y"); ok {
		return stem + "ies"
	}
	if strings.HasSuffix(name, "s") {
		return name + "es"
	}
	return name + "s"
}

// record writes a record's decoder and encoder.
func record(f *file, r model.Record) error {
	name := recordName(r.Name)
	f.line(decodeRecord, name)
	f.line("\n// field reads the value of one field.\nfunc (r *%s) field(s *scanner, key []byte) (err *Error) {\n\tswitch string(key) {", name)
	for _, field := range r.Fields {
		f.line("\tcase %q:", field.Name)
		if err := lenient(f, "r", field, absentMeans(field, nil)); err != nil {
			return err
		}
	}
	f.line("\tdefault:\n\t\ts.SkipValue()\n\t}\n\treturn err\n}")
	return appendRecord(f, name, r)
}

// lenient writes the decoder of a field: it checks the type, not the bounds.
func lenient(f *file, receiver string, field model.Field, pointer bool) error {
	v, into := field.Value, receiver+"."+exported(field.Name)
	wrap := func(read string, pointer bool) {
		if pointer {
			read = "pointer(" + read + ")"
		}
		f.line("\t\t%s, err = %s", into, read)
	}
	switch v.Kind {
	case model.Text:
		wrap(fmt.Sprintf("s.unbounded(%q)", field.Name), false)
	case model.Word:
		wrap(fmt.Sprintf("s.interned(%q)", field.Name), false)
	case model.Raw:
		wrap("s.anyValue()", false)
	case model.Integer:
		high := "MaxSafeInteger"
		if wholeType(v) == "int" {
			high = "maxInt"
		}
		wrap(fmt.Sprintf("whole[%s](s, %q, 0, %s)", wholeType(v), field.Name, high), pointer)
	case model.Number:
		wrap(fmt.Sprintf("s.float(%q)", field.Name), pointer)
	case model.Boolean:
		wrap(fmt.Sprintf("s.boolean(%q)", field.Name), field.Default != "false")
	case model.Object:
		f.line("\t\t%s = new(%s)\n\t\terr = %s.decode(s)", into, recordName(v.Record), into)
	case model.Array:
		if v.Record == "" {
			f.line("\t\tif inside {\n\t\t\ts.SkipValue() // messages do not nest any deeper\n\t\t\treturn 0, nil\n\t\t}")
			f.line("\t\t%s, err = decodeEvents(s)", into)
			return nil
		}
		f.line("\t\t%s, err = decode%s(s)", into, plural(v.Record))
	case model.RawObject:
		return fmt.Errorf("%s: a server's object is any JSON", field.Name)
	default:
		return fmt.Errorf("%s: kind %d has no reader", field.Name, v.Kind)
	}
	return nil
}
