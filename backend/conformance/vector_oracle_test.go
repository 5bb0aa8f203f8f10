package conformance_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// oracle judges frames by schema.json: by a JSON Schema validator that knows
// nothing of Streamer, and by the x- keywords, read here a second time and in
// another way than the generator's.
type oracle struct {
	defs           map[string]any
	client, answer *jsonschema.Schema
	// numbers is where the schema's own are; nothing is written down twice.
	maxClient, maxServer, maxDepth, maxBatch int
}

const schemaURL = "https://github.com/pay-theory/streamer/contract/schema.json"

func newOracle(t testing.TB) *oracle {
	t.Helper()
	conformance.NeedContract(t)
	text, err := os.ReadFile(filepath.Join(contract, "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	o.defs = document.(map[string]any)["$defs"].(map[string]any)
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaURL, document); err != nil {
		t.Fatal(err)
	}
	for def, into := range map[string]**jsonschema.Schema{"clientMessage": &o.client, "serverMessage": &o.answer} {
		if *into, err = c.Compile(schemaURL + "#/$defs/" + def); err != nil {
			t.Fatal(err)
		}
	}
	for path, into := range map[string]*int{
		"clientFrame/x-maxBytes": &o.maxClient, "serverFrame/x-maxBytes": &o.maxServer,
		"clientFrame/x-maxDepth": &o.maxDepth, "clientBatch/maxItems": &o.maxBatch,
	} {
		def, word, _ := strings.Cut(path, "/")
		*into = number(o.defs[def].(map[string]any)[word])
	}
	return o
}

// number reads a number of the schema; absent, it is 0.
func number(v any) int {
	n, _ := v.(json.Number)
	i, _ := strconv.Atoi(n.String())
	return i
}

// refusal is what the oracle finds wrong, and who sees it.
type refusal struct {
	by   conformance.Judge
	code string
	why  error
	// index is the place of the message; -1: it is the frame.
	index int
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s (%s, message %d): %v", r.code, r.by, r.index, r.why)
}

// verdict is what becomes of a client's frame: refused as a whole, or each
// message judged by itself; nil: it is good.
type verdict struct {
	frame    *refusal
	messages []*refusal
}

// text judges a frame as far as that can be done without a schema.
func (o *oracle) text(frame []byte) *refusal {
	bad := func(by conformance.Judge, why string) *refusal {
		return &refusal{by, "malformed", errors.New(why), -1}
	}
	switch {
	case !utf8.Valid(frame):
		return bad(conformance.ByGrammar, "not UTF-8")
	case !json.Valid(frame):
		return bad(conformance.ByGrammar, "not JSON")
	case depth(frame) > o.maxDepth:
		return bad(conformance.ByRule, "too deep")
	}
	return nil
}

// client judges a client's frame that is not too big.
func (o *oracle) clientFrame(frame []byte) (v verdict) {
	if v.frame = o.text(frame); v.frame != nil {
		return v
	}
	list := messages(frame)
	if isArray(frame) {
		nested := false
		for _, m := range list {
			nested = nested || isArray(m)
		}
		if nested || len(list) == 0 || len(list) > o.maxBatch {
			v.frame = &refusal{conformance.BySchema, "invalid_batch", errors.New("nested, empty or too long"), -1}
			return v
		}
	}
	v.messages = make([]*refusal, len(list))
	for i, m := range list {
		v.messages[i] = o.message(o.client, "clientMessage", m, i)
	}
	return v
}

// server judges a server's frame; nil: it is good.
func (o *oracle) server(frame []byte) error {
	if r := o.text(frame); r != nil {
		return r
	}
	if len(frame) > o.maxServer {
		return &refusal{conformance.ByRule, "", errors.New("too big"), -1}
	}
	list := messages(frame)
	if len(list) == 0 {
		return &refusal{conformance.BySchema, "", errors.New("an empty batch"), -1}
	}
	for i, m := range list {
		if r := o.message(o.answer, "serverMessage", m, i); r != nil {
			return r
		}
	}
	return nil
}

// message judges one message.
func (o *oracle) message(s *jsonschema.Schema, def string, text []byte, index int) *refusal {
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return &refusal{conformance.ByGrammar, "malformed", err, index}
	}
	if err := s.Validate(instance); err != nil {
		return &refusal{conformance.BySchema, "invalid_message", err, index}
	}
	if err := o.walk(o.defs[def].(map[string]any), text); err != nil {
		return &refusal{conformance.ByRule, "invalid_message", err, index}
	}
	return nil
}

// resolved is a schema with what it refers to beneath it.
func (o *oracle) resolved(s map[string]any) map[string]any {
	for {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		base := maps.Clone(o.defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any))
		own := maps.Clone(s)
		delete(own, "$ref")
		maps.Copy(base, own)
		s = base
	}
}

// walk holds a value that JSON Schema allows against the x- keywords.
func (o *oracle) walk(s map[string]any, text []byte) error {
	s = o.resolved(s)
	if choices, ok := s["oneOf"].([]any); ok {
		return o.choose(choices, text)
	}
	most := number(s["x-maxBytes"])
	if s["x-raw"] == true {
		if most > 0 && len(text) > most {
			return fmt.Errorf("%d bytes, and not %d", len(text), most)
		}
		return nil
	}
	switch text[0] {
	case '"':
		if loneSurrogate(text) {
			return errors.New("a lone surrogate")
		}
		var value string
		if err := json.Unmarshal(text, &value); err != nil {
			return err
		}
		if most > 0 && len(value) > most {
			return fmt.Errorf("%d bytes, and not %d", len(value), most)
		}
	case '{':
		properties, _ := s["properties"].(map[string]any)
		return members(text, func(key string, value []byte) error {
			if p, ok := properties[key].(map[string]any); ok {
				return o.walk(p, value)
			}
			return nil
		})
	case '[':
		return o.walkArray(s, text)
	}
	return nil
}

func (o *oracle) walkArray(s map[string]any, text []byte) error {
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	sum := 0
	for _, e := range list {
		sum += len(e)
		if err := o.walk(s["items"].(map[string]any), e); err != nil {
			return err
		}
	}
	if most := number(s["x-maxPageBytes"]); most > 0 && sum > most && len(list) > 1 {
		return fmt.Errorf("a page of %d bytes, and not %d", sum, most)
	}
	return nil
}

// choose goes on with the definition whose type the message has.
func (o *oracle) choose(choices []any, text []byte) error {
	kind := ""
	if err := members(text, func(key string, value []byte) error {
		if key == "type" {
			_ = json.Unmarshal(value, &kind)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, c := range choices {
		s := o.resolved(c.(map[string]any))
		if s["properties"].(map[string]any)["type"].(map[string]any)["const"] == kind {
			return o.walk(s, text)
		}
	}
	return fmt.Errorf("no message is of type %q", kind)
}

// members goes over an object, and refuses a key that stands in it twice.
func members(text []byte, member func(key string, value []byte) error) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name := key.(string)
		if seen[name] {
			return fmt.Errorf("the key %s stands twice", name)
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := member(name, value); err != nil {
			return err
		}
	}
	return nil
}

var (
	escape   = regexp.MustCompile(`\\(?:u([0-9a-fA-F]{4})|.)`)
	pairHigh = regexp.MustCompile(`^[dD][89abAB]`)
	pairLow  = regexp.MustCompile(`^[dD][c-fC-F]`)
)

// loneSurrogate tells whether a string's text has half a pair.
func loneSurrogate(text []byte) bool {
	open := -1 // where the low half of a pair must begin
	for _, at := range escape.FindAllSubmatchIndex(text, -1) {
		var digits []byte
		if at[2] >= 0 {
			digits = text[at[2]:at[3]]
		}
		low := digits != nil && pairLow.Match(digits)
		switch {
		case open >= 0 && (at[0] != open || !low), open < 0 && low:
			return true
		case low:
			open = -1
		case digits != nil && pairHigh.Match(digits):
			open = at[1]
		}
	}
	return open >= 0
}

// depth is how deep a JSON text is nested.
func depth(text []byte) (deepest int) {
	d, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			d++
			deepest = max(deepest, d)
		case c == '}' || c == ']':
			d--
		}
	}
	return deepest
}

// messages takes a JSON text apart: a batch's elements, or the one message.
func messages(frame []byte) (list []json.RawMessage) {
	if !isArray(frame) || json.Unmarshal(frame, &list) != nil {
		return []json.RawMessage{frame}
	}
	return list
}

func isArray(text []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("[")) }
