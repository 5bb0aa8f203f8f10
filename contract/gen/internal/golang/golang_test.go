package golang

import (
	"strings"
	"testing"

	"github.com/pay-theory/streamer/contract/gen/internal/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// one returns a contract with one message in each direction, modified by change.
func one(change func(m *model.Model)) *model.Model {
	text := func(name string) model.Field {
		return model.Field{Name: name, Required: true, Value: model.Value{Kind: model.Text, MinLength: 1, MaxLength: 9, MaxBytes: 9}}
	}
	kind := func(of string) model.Field {
		return model.Field{Name: "type", Required: true, Value: model.Value{Kind: model.Word, Words: []string{of}}}
	}
	m := &model.Model{}
	for d, of := range map[*model.Direction]string{&m.Client: "ask", &m.Server: "tell"} {
		d.Doc = "Any message."
		d.Fields = []model.Field{kind(of), text("word")}
		d.Messages = []model.Message{{Type: of, Fields: d.Fields}}
	}
	change(m)
	return m
}

func TestFieldsBecomeGo(t *testing.T) {
	for name, tc := range map[string]struct {
		field  model.Field
		client []string
		server []string
	}{
		"a bounded text": {
			model.Field{Name: "name", Value: model.Value{Kind: model.Text, MinLength: 1, MaxBytes: 128, Limit: "name"}},
			[]string{"Name string `json:\"name,omitempty\"`", `s.bounded("name", 1, MaxName)`, `w.stringField("name", m.Name, false)`},
			[]string{`s.unbounded("name")`},
		},
		"characters": {
			model.Field{Name: "ref", Value: model.Value{Kind: model.Text, MinLength: 1, MaxLength: 36}},
			[]string{`s.characters("ref", 1, 36)`},
			nil,
		},
		"a pattern": {
			model.Field{Name: "id", Value: model.Value{Kind: model.Text, Name: "id", Pattern: "x", Rule: "must be an id"}},
			[]string{`!ValidID(m.ID)`, `invalid("id", "id must be an id")`},
			nil,
		},
		"a word": {
			model.Field{Name: "mode", Value: model.Value{Kind: model.Word, Words: []string{"auto", "sync"}}},
			[]string{`s.oneOf("mode", "auto", "sync")`},
			[]string{`s.interned("mode")`},
		},
		"an integer whose zero means something": {
			model.Field{Name: "afterMs", Value: model.Value{Kind: model.Integer, Max: 1 << 40}},
			[]string{"AfterMs *int64", `pointer(whole[int64](s, "afterMs", 0, 1099511627776))`, "if m.AfterMs != nil {"},
			[]string{`pointer(whole[int64](s, "afterMs", 0, MaxSafeInteger))`},
		},
		"an integer whose absence means zero": {
			model.Field{Name: "delayMs", Default: "0", Value: model.Value{Kind: model.Integer, Max: 1 << 40}},
			[]string{"DelayMs int64", `w.integerField("delayMs", m.DelayMs, false)`},
			nil,
		},
		"a required integer that may be zero": {
			model.Field{Name: "size", Required: true, Value: model.Value{Kind: model.Integer, Max: 5}},
			[]string{"Size int ", `w.integerField("size", int64(m.Size), m.Type == TypeAsk)`},
			[]string{`whole[int](s, "size", 0, maxInt)`},
		},
		"a position": {
			model.Field{Name: "seq", Value: model.Value{Kind: model.Integer, Name: "seq", Min: 1, Max: maxSafe}},
			[]string{"Seq uint64", `whole[uint64](s, "seq", 1, MaxSafeInteger)`},
			nil,
		},
		"an object that is kept as it is": {
			model.Field{Name: "metadata", Value: model.Value{Kind: model.RawObject, MaxBytes: 4096}},
			[]string{"Metadata json.RawMessage", `s.rawObject("metadata", 4096)`, `w.rawField("metadata", m.Metadata)`},
			nil,
		},
		"anything": {
			model.Field{Name: "data", Value: model.Value{Kind: model.Raw}},
			[]string{"s.anyValue()"},
			[]string{"s.anyValue()"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := Wire(one(func(m *model.Model) {
				ds := []*model.Direction{&m.Client, &m.Server}
				if tc.server == nil {
					ds = ds[:1]
				}
				for _, d := range ds {
					f := tc.field
					f.In = []string{d.Messages[0].Type}
					d.Fields = append(d.Fields, f)
					d.Messages[0].Fields = d.Fields
				}
			}))
			require.NoError(t, err)
			containsCode(t, files["client_message_gen.go"], tc.client)
			containsCode(t, files["server_message_gen.go"], tc.server)
		})
	}
}

// containsCode checks that the text contains pieces of code, ignoring white space.
func containsCode(t *testing.T, text []byte, pieces []string) {
	t.Helper()
	plain := strings.Join(strings.Fields(string(text)), " ")
	for _, p := range pieces {
		assert.Contains(t, plain, strings.TrimSpace(p))
	}
}

// The generator refuses a rule that the strict decoder could not enforce.
func TestWhatCannotBeKeptIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		client, server model.Value
		want           string
	}{
		"a text without a bound":       {model.Value{Kind: model.Text}, model.Value{}, "without a bound"},
		"a pattern without a name":     {model.Value{Kind: model.Text, Pattern: "x"}, model.Value{}, "needs a definition of its own"},
		"anything, bounded":            {model.Value{Kind: model.Raw, MaxBytes: 5}, model.Value{}, "not judged"},
		"an object without a bound":    {model.Value{Kind: model.RawObject}, model.Value{}, "without a bound"},
		"a number of a client's":       {model.Value{Kind: model.Number, Max: 5}, model.Value{}, "not judged"},
		"an object of a server's":      {model.Value{}, model.Value{Kind: model.RawObject}, "any JSON"},
		"a kind that nobody has heard": {model.Value{}, model.Value{Kind: 99}, "kind 99"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Wire(one(func(m *model.Model) {
				for d, v := range map[*model.Direction]model.Value{&m.Client: tc.client, &m.Server: tc.server} {
					if v.Kind != 0 {
						d.Fields = append(d.Fields, model.Field{Name: "new", Value: v})
						d.Messages[0].Fields = d.Fields
					}
				}
			}))
			require.ErrorContains(t, err, tc.want)
		})
	}
	_, err := Wire(one(func(m *model.Model) {
		for range 40 {
			m.Client.Fields = append(m.Client.Fields, m.Client.Fields[1])
		}
	}))
	assert.ErrorContains(t, err, "do not fit")
}

func TestNames(t *testing.T) {
	for from, want := range map[string]string{
		"id": "ID", "ok": "OK", "lastSeq": "LastSeq", "token_expired": "TokenExpired", "expired_id": "ExpiredID", "timeoutMs": "TimeoutMs",
	} {
		assert.Equal(t, want, exported(from))
	}
	for from, want := range map[string]string{"summary": "Summaries", "call": "Calls", "progressState": "Progresses"} {
		assert.Equal(t, want, plural(from))
	}
}
