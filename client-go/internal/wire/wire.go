// Package wire holds the messages of the Streamer protocol, version 1, and
// decoders for them: strict ones for what clients send, lenient ones for what
// servers send. contract/PROTOCOL.md is its law. Types, fields and limits are
// generated from contract/schema.json; what is written by hand is the scanner
// and writer that they call. The package is kept byte for byte the same in the
// server's and the client's module.
package wire

// Subprotocol is what a client offers and a server picks.
const Subprotocol = "streamer.v1"

// BearerPrefix begins the subprotocol entry by which browsers bring a token.
const BearerPrefix = "streamer.bearer."

const (
	// MaxCheckpoint is how many bytes a handler's checkpoint may have. It never
	// travels.
	MaxCheckpoint = 8 << 10
	// MaxSafeInteger is the largest integer that all readers of JSON keep
	// exactly; its negative is the smallest.
	MaxSafeInteger = 1<<53 - 1
)

// CodeInfo says what an error code means to a client.
type CodeInfo struct {
	// Retryable tells whether sending the same again can help.
	Retryable bool
	// Fatal codes end a client's reconnecting.
	Fatal bool
	// Hint is what the client should do.
	Hint string
}

// Error is a refusal: what a decoder found, or what a server answers.
type Error struct {
	Code    string
	Message string
	// Field names the field that was wrong, or is a JSON Pointer into a payload.
	Field string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Final, retryable and the like are pointers on the wire, since false is said.
func boolPtr(b bool) *bool { return &b }

// ErrorMessage makes the error message for a refusal, with retryable from
// Codes.
func ErrorMessage(code, text string, final bool) ServerMessage {
	return ServerMessage{
		Type: TypeError, Code: code, Message: text,
		Final: boolPtr(final), Retryable: boolPtr(Codes[code].Retryable),
	}
}
