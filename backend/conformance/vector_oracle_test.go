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
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// oracle judges frames by schema.json: by a JSON Schema validator that knows
// nothing of Streamer, and by the x- keywords, read here a second time and in
// another way than the generator's.
type oracle struct {
	defs           map[string]any
	client, server *jsonschema.Schema
	// These are the schema's; nothing is written twice.
	maxClient, maxServer, maxDepth, maxBatch int
}

const schemaURL = "https://github.com/pay-theory/streamer/contract/schema.json"

func newOracle(t testing.TB) *oracle {
	t.Helper()
	conformance.NeedContract(t)
	text, err := os.ReadFile(filepath.Join(contract, "schema.json"))
	require.NoError(t, err)
	o := &oracle{}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	o.defs = document.(map[string]any)["$defs"].(map[string]any)
	c := jsonschema.NewCompiler()
	require.NoError(t, c.AddResource(schemaURL, document))
	for def, into := range map[string]**jsonschema.Schema{"clientMessage": &o.client, "serverMessage": &o.server} {
		*into, err = c.Compile(schemaURL + "#/$defs/" + def)
		require.NoError(t, err)
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

// refusal is what the oracle finds wrong, and by whom it is seen.
type refusal struct {
	by   conformance.Detector
	code string
	why  string
	// index is the place of the message; -1: the frame is wrong.
	index int
}

func (r *refusal) Error() string {
	return fmt.Sprintf("%s (%s, message %d): %v", r.code, r.by, r.index, r.why)
}

// text judges a frame as far as that can be done without a schema.
func (o *oracle) text(frame []byte) *refusal {
	switch {
	case !utf8.Valid(frame):
		return &refusal{conformance.ByGrammar, "malformed", "not UTF-8", -1}
	case !json.Valid(frame):
		return &refusal{conformance.ByGrammar, "malformed", "not JSON", -1}
	case depth(frame) > o.maxDepth:
		return &refusal{conformance.ByRule, "malformed", "too deep", -1}
	}
	return nil
}

// clientFrame judges a client's frame that is not too big: refused as a whole,
// or message by message.
func (o *oracle) clientFrame(frame []byte) (whole *refusal, messages []*refusal) {
	if whole = o.text(frame); whole != nil {
		return whole, nil
	}
	list := conformance.MessagesOf(frame)
	if isArray(frame) && (slices.ContainsFunc(list, isArray) || len(list) == 0 || len(list) > o.maxBatch) {
		return &refusal{conformance.BySchema, "invalid_batch", "nested, empty or too long", -1}, nil
	}
	messages = make([]*refusal, len(list))
	for i, m := range list {
		messages[i] = o.message(o.client, "clientMessage", m, i)
	}
	return nil, messages
}

// serverFrame judges a server's frame.
func (o *oracle) serverFrame(frame []byte) *refusal {
	if r := o.text(frame); r != nil {
		return r
	}
	list := conformance.MessagesOf(frame)
	switch {
	case len(frame) > o.maxServer:
		return &refusal{conformance.ByRule, "", "too big", -1}
	case len(list) == 0:
		return &refusal{conformance.BySchema, "", "an empty batch", -1}
	}
	for i, m := range list {
		if r := o.message(o.server, "serverMessage", m, i); r != nil {
			return r
		}
	}
	return nil
}

// message judges one message.
func (o *oracle) message(s *jsonschema.Schema, def string, text []byte, index int) *refusal {
	text = bytes.TrimSpace(text) // walk looks at the first character
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return &refusal{conformance.ByGrammar, "malformed", err.Error(), index}
	}
	if err := s.Validate(instance); err != nil {
		return &refusal{conformance.BySchema, "invalid_message", err.Error(), index}
	}
	if err := o.walk(o.defs[def].(map[string]any), text); err != nil {
		return &refusal{conformance.ByRule, "invalid_message", err.Error(), index}
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

// walk checks a value that JSON Schema allows by the x- keywords.
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
		value, lone := decodeText(text)
		if lone {
			return errors.New("a lone surrogate")
		}
		if most > 0 && len(value) > most {
			return fmt.Errorf("%d bytes, and not %d", len(value), most)
		}
	case '{':
		properties, _ := s["properties"].(map[string]any)
		seen := map[string]bool{}
		for key, value := range conformance.Members(text) {
			if seen[key] {
				return fmt.Errorf("duplicate key %s", key)
			}
			seen[key] = true
			if p, ok := properties[key].(map[string]any); ok {
				if err := o.walk(p, value); err != nil {
					return err
				}
			}
		}
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
	var fields map[string]json.RawMessage
	kind := ""
	_ = json.Unmarshal(text, &fields)
	_ = json.Unmarshal(fields["type"], &kind)
	for _, c := range choices {
		s := o.resolved(c.(map[string]any))
		if s["properties"].(map[string]any)["type"].(map[string]any)["const"] == kind {
			return o.walk(s, text)
		}
	}
	return fmt.Errorf("no message is of type %q", kind)
}

var escape = regexp.MustCompile(`\\(?:u([0-9a-fA-F]{4})|.)`)

// decodeText decodes a string, and reports whether half a surrogate pair is in
// it: each becomes U+FFFD, which then stands in the value more often than in
// the text.
func decodeText(text []byte) (value string, lone bool) {
	_ = json.Unmarshal(text, &value)
	written := bytes.Count(text, []byte("\ufffd"))
	for _, e := range escape.FindAllSubmatch(text, -1) {
		if strings.EqualFold(string(e[1]), "fffd") {
			written++
		}
	}
	return value, strings.Count(value, "\ufffd") > written
}

// depth is how deep a JSON text is nested.
func depth(text []byte) (deepest int) {
	d, now := json.NewDecoder(bytes.NewReader(text)), 0
	d.UseNumber() // 1e400 is no float64
	for {
		switch t, err := d.Token(); {
		case err != nil:
			return deepest
		case t == json.Delim('{') || t == json.Delim('['):
			now++
			deepest = max(deepest, now)
		case t == json.Delim('}') || t == json.Delim(']'):
			now--
		}
	}
}

func isArray(text json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) }

// firstDefect returns the first thing wrong with a vector, or nil. What is too deep
// or too big, and invalid for another reason, too, is attributed to what finds that.
func (o *oracle) firstDefect(v *conformance.Vector) (found *refusal) {
	schema, def := o.client, "clientMessage"
	switch {
	case v.From == conformance.Server:
		found = o.serverFrame(v.Frame)
		schema, def = o.server, "serverMessage"
	case len(v.Frame) > o.maxClient:
		found = &refusal{conformance.ByRule, "", "too big", -1}
	default:
		whole, messages := o.clientFrame(v.Frame)
		for _, r := range append([]*refusal{whole}, messages...) {
			if r != nil && found == nil {
				found = r
			}
		}
	}
	if found == nil || found.by != conformance.ByRule || found.index >= 0 {
		return found
	}
	if !json.Valid(v.Frame) {
		found.by = conformance.ByGrammar
		return found
	}
	for i, m := range conformance.MessagesOf(v.Frame) {
		if r := o.message(schema, def, m, i); r != nil {
			found.by = r.by
			break
		}
	}
	return found
}
