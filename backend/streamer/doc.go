// Package streamer is the API for authors of handlers. A handler is an ordinary
// typed function; a [Router] gives it a name, and a server runs it, at once or
// durably, on any substrate:
//
//	r := streamer.NewRouter(nil)
//	streamer.Handle(r, "user.get", getUser)
//	streamer.HandleStream(r, "report.generate", generate,
//		streamer.Expect(2*time.Minute), streamer.Retry(5, streamer.Backoff{}))
//
// The package is independent of sockets, stores and AWS. Package streamertest calls
// a handler in a test.
//
// # Payloads
//
// Inputs, results and chunks are JSON. JSON Schemas are derived from the Go types and
// from the bounds and enums in their field tags. They are published, and inputs are
// checked against them before the handler runs:
//
//	type Params struct {
//		Year   int      `json:"year" jsonschema:"minimum=1990,maximum=2002"`
//		States []string `json:"states,omitempty" jsonschema:"maxItems=60,minLength=1"`
//		Group  string   `json:"group" jsonschema:"enum=state,enum=month"`
//	}
//
// A field is required unless it is omitempty or omitzero. Unknown fields, names
// in another case, duplicate keys and lone surrogates are refused with
// invalid_payload and a JSON Pointer to the place. Pointers, slices and maps
// may be null unless they are omitempty or omitzero. An absent input counts as
// {} if no field is required. Numbers in interfaces are
// [encoding/json.Number]. An input or a result of type
// [encoding/json.RawMessage] passes its bytes through, unchecked and unchanged.
//
// The tag's keywords are title, description, example, minimum, maximum,
// exclusiveMinimum, exclusiveMaximum, multipleOf, minLength, maxLength, pattern,
// enum (once for each value), minItems, maxItems, uniqueItems, minProperties and
// maxProperties, separated by commas (a comma inside a value is \\,). On slices
// and maps, keywords of numbers and strings apply to the items. A keyword that
// does not fit is an error at registration.
//
// A type with MarshalText and UnmarshalText is a string. A type with JSON
// methods of its own returns from a method JSONSchemaAlias() any a value of the Go
// type whose JSON has the same form; an error of its UnmarshalJSON is
// invalid_payload, too.
//
// # Errors
//
// A handler's error ends its attempt; with [Retry] there is another one unless
// the error is [Permanent]. The caller gets the code and text of an [*Error]; any
// other error is logged, and the caller gets only "internal".
package streamer
