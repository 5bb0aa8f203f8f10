package golang

import (
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// maxSafe is the largest integer of JSON that every reader keeps exactly.
const maxSafe = 1<<53 - 1

// protocol writes the constants: limits, types, words.
func protocol(f *file, m *model.Model) error {
	f.line("// Limits of the protocol. Names and texts are in bytes, MaxRef in characters.\nconst (")
	for _, l := range m.Limits {
		f.line("\tMax%s = %d", exported(l.Name), l.Value)
		if l.Default != 0 {
			f.line("\tDefault%s = %d", exported(l.Name), l.Default)
		}
	}
	f.line(")\n\n// Types of messages.\nconst (")
	for _, d := range []*model.Direction{&m.Client, &m.Server} {
		for i := range d.Messages {
			f.line("\tType%s = %q", exported(d.Messages[i].Type), d.Messages[i].Type)
		}
		f.line("")
	}
	f.line(")")
	for _, v := range m.Vocabularies() {
		f.line("")
		f.comment("Values of the field " + v.Name + ".")
		f.line("const (")
		for _, w := range v.Value.Words {
			f.line("\t%s%s = %q", exported(v.Name), exported(w), w)
		}
		f.line(")")
	}
	words, longest := m.Words(), 0
	for _, w := range words {
		longest = max(longest, len(w))
	}
	f.line("\n// longestWord is the length of the longest of the words in bytes.\nconst longestWord = %d\n", longest)
	f.comment("internWord returns a message type, or a value of a field with few values, without allocating it; or false.")
	f.line("func internWord(text []byte) (string, bool) {\n\tswitch string(text) {")
	for _, w := range words {
		f.line("\tcase %q:\n\t\treturn %q, true", w, w)
	}
	f.line("\t}\n\treturn \"\", false\n}")
	return nil
}

// bits writes a bit for each field of a direction's messages.
func bits(f *file, side, width string, d *model.Direction) {
	f.line("\n// The fields of a %s's messages, one bit each.\nconst (", side)
	for i := range d.Fields {
		kind := ""
		if i == 0 {
			kind = " " + width + " = 1 << iota"
		}
		f.line("\t%s%s", bit(side, d.Fields[i].Name), kind)
	}
	f.line(")")
}

func bit(side, name string) string { return side + "Has" + exported(name) }

// bitsOf joins the bits of those fields that are picked.
func bitsOf(side string, fields []model.Field, pick func(*model.Field) bool) string {
	var names []string
	for i := range fields {
		if pick(&fields[i]) {
			names = append(names, bit(side, fields[i].Name))
		}
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, " | ")
}

// structure writes the struct that holds any message of a direction.
func structure(f *file, name string, d *model.Direction) error {
	f.line("")
	f.comment(name + " is " + strings.ToLower(d.Doc[:1]) + d.Doc[1:])
	f.line("type %s struct {", name)
	for i := range d.Fields {
		field := &d.Fields[i]
		kind, err := goType(field, absentMeans(d.Messages, field.Name))
		if err != nil {
			return err
		}
		if field.Name == "type" {
			f.line("\tType string `json:\"type\"`")
			continue
		}
		doc := sentence(exported(field.Name), field.Doc)
		if len(field.In) < len(d.Messages) {
			doc += " In " + strings.Join(field.In, ", ") + "."
		}
		f.comment(doc)
		f.line("\t%s %s `json:\"%s,omitempty\"`", exported(field.Name), kind, field.Name)
	}
	f.line("}")
	return nil
}

// recordStructure writes the struct of a record.
func recordStructure(f *file, r *model.Record) error {
	name := recordName(r.Name)
	f.line("")
	f.comment(name + " is " + strings.ToLower(r.Doc[:1]) + r.Doc[1:])
	f.line("type %s struct {", name)
	for i := range r.Fields {
		field := &r.Fields[i]
		kind, err := goType(field, absentMeansIn(field))
		if err != nil {
			return err
		}
		tag := field.Name
		if !field.Required {
			tag += ",omitempty"
		}
		f.comment(sentence(exported(field.Name), field.Doc))
		f.line("\t%s %s `json:\"%s\"`", exported(field.Name), kind, tag)
	}
	f.line("}")
	return nil
}
