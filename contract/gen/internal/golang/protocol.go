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
		for _, message := range d.Messages {
			f.line("\tType%s = %q", exported(message.Type), message.Type)
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
	for i, field := range d.Fields {
		kind := ""
		if i == 0 {
			kind = " " + width + " = 1 << iota"
		}
		f.line("\t%s%s", bit(side, field.Name), kind)
	}
	f.line(")")
}

func bit(side, name string) string { return side + "Has" + exported(name) }

// bitsOf joins the bits of those fields that are picked.
func bitsOf(side string, fields []model.Field, pick func(model.Field) bool) string {
	var names []string
	for _, field := range fields {
		if pick(field) {
			names = append(names, bit(side, field.Name))
		}
	}
	if len(names) == 0 {
		return "0"
	}
	return strings.Join(names, " | ")
}

// structure writes a struct: a record, or one that holds any of several messages.
func structure(f *file, name, doc string, fields []model.Field, messages []model.Message) error {
	f.line("")
	f.comment(name + " is " + strings.ToLower(doc[:1]) + doc[1:])
	f.line("type %s struct {", name)
	for _, field := range fields {
		kind, err := goType(field, absentMeans(field, messages))
		if err != nil {
			return err
		}
		if field.Name == "type" {
			f.line("\tType string `json:\"type\"`")
			continue
		}
		about, tag := sentence(exported(field.Name), field.Doc), field.Name
		if len(field.In) < len(messages) {
			about += " In " + strings.Join(field.In, ", ") + "."
		}
		if len(messages) > 0 || !field.Required {
			tag += ",omitempty"
		}
		f.comment(about)
		f.line("\t%s %s `json:\"%s\"`", exported(field.Name), kind, tag)
	}
	f.line("}")
	return nil
}
