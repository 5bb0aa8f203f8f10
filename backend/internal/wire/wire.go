// Package wire holds the messages of the Streamer protocol, version 1, and
// decoders for them: strict ones for what clients send, lenient ones for what
// servers send. contract/PROTOCOL.md specifies them. Types, fields and limits
// are generated from contract/schema.json. The package is kept the same in the
// server's and the client's module, except for import paths.
package wire

import "github.com/pay-theory/streamer/backend/internal/jsonscan"

// Subprotocol is the WebSocket subprotocol that a client offers and a server
// selects.
const Subprotocol = "streamer.v1"

// BearerPrefix begins the subprotocol entry in which browsers send a token.
const BearerPrefix = "streamer.bearer."

const (
	// MaxCheckpoint is how many bytes a handler's checkpoint may have. It is
	// never sent.
	MaxCheckpoint = 8 << 10
	// MaxSafeInteger is the largest integer that all readers of JSON keep
	// exactly; its negative is the smallest.
	MaxSafeInteger = jsonscan.MaxSafeInteger
)

// CodeInfo is what an error code means to a client.
type CodeInfo struct {
	// Retryable reports whether sending the same again can help.
	Retryable bool
	// Fatal reports that a client must not reconnect.
	Fatal bool
	// Hint is what the client should do.
	Hint string
}

// Error is a refusal: what a decoder has found, or what a server answers.
type Error struct {
	Code    string
	Message string
	// Field names the field that was wrong, or is a JSON Pointer into a payload.
	Field string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ErrorMessage makes the error message for a refusal, with retryable from
// Codes.
func ErrorMessage(code, text string, final bool) ServerMessage {
	retryable := Codes[code].Retryable
	return ServerMessage{Type: TypeError, Code: code, Message: text, Final: &final, Retryable: &retryable}
}
