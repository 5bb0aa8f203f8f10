// Package wire holds the messages of the Streamer protocol, version 1, and
// strict decoders for them. contract/PROTOCOL.md is its law. The package is
// kept byte for byte the same in the server's and the client's module.
package wire

import "encoding/json"

// Subprotocol is what a client offers and a server picks.
const Subprotocol = "streamer.v1"

// BearerPrefix begins the subprotocol entry by which browsers bring a token.
const BearerPrefix = "streamer.bearer."

// Limits of the protocol. Sizes are in bytes.
const (
	MaxClientMessage = 32 << 10
	MaxServerMessage = 128 << 10
	MaxBatch         = 64
	MaxDepth         = 64
	MaxRef           = 36
	MaxName          = 128
	MaxMetadata      = 4 << 10
	MaxToken         = 8 << 10
	MaxChunk         = 64 << 10
	MaxResult        = 96 << 10
	MaxCheckpoint    = 8 << 10
	MaxProgressText  = 256
	MaxPage          = 96 << 10
	MaxList          = 100
	DefaultList      = 50
	MaxDurationMs    = 30 * 24 * 60 * 60 * 1000
	MaxSafeInteger   = 1<<53 - 1
)

// Types of messages.
const (
	TypeRequest     = "request"
	TypeCancel      = "cancel"
	TypeSubscribe   = "subscribe"
	TypeUnsubscribe = "unsubscribe"
	TypeList        = "list"
	TypeSeal        = "seal"
	TypeAuth        = "auth"
	TypePing        = "ping"

	TypeAck      = "ack"
	TypeProgress = "progress"
	TypeChunk    = "chunk"
	TypeAttempt  = "attempt"
	TypeResult   = "result"
	TypeError    = "error"
	TypeSnapshot = "snapshot"
	TypeCalls    = "calls"
	TypeLag      = "lag"
	TypeOK       = "ok"
	TypeClosing  = "closing"
	TypePong     = "pong"
)

// Modes of a request.
const (
	ModeAuto  = "auto"
	ModeSync  = "sync"
	ModeAsync = "async"
)

// words are the names of fields, types and states: strings that need no memory
// of their own when they are read.
var words = func() map[string]string {
	all := []string{
		TypeRequest, TypeCancel, TypeSubscribe, TypeUnsubscribe, TypeList, TypeSeal, TypeAuth, TypePing, TypeAck, TypeProgress,
		TypeChunk, TypeAttempt, TypeResult, TypeError, TypeSnapshot, TypeCalls, TypeLag, TypeOK, TypeClosing, TypePong,
		"type", "ref", "id", "for", "index", "seq", "epoch", "keep", "from", "rev", "percent", "message", "data", "payload", "code",
		"final", "retryable", "field", "hint", "retryAfterMs", "details", "recovered", "action", "status", "lastSeq", "due",
		"cancelRequested", "events", "more", "cursor", "reason", "reconnect", "afterMs", "createdAt", "endedAt", "mode", "timeoutMs",
		"idempotencyKey", "group", "delayMs", "cancelAfterMs", "metadata", "after", "limit", "size", "token",
		"queued", "running", "succeeded", "failed", "cancelled",
	}
	m := make(map[string]string, len(all))
	for _, w := range all {
		m[w] = w
	}
	return m
}()

// longestWord is how many bytes the longest of them has.
const longestWord = 15

// CodeInfo says what an error code means to a client.
type CodeInfo struct {
	// Retryable tells whether sending the same again can help.
	Retryable bool
	// Fatal codes end a client's reconnecting.
	Fatal bool
	// Hint is what the client should do.
	Hint string
}

// ClientMessage is any message from a client. Type decides which fields count.
type ClientMessage struct {
	Type string `json:"type"`
	Ref  string `json:"ref,omitempty"`
	ID   string `json:"id,omitempty"`

	// request
	Action         string          `json:"action,omitempty"` // list: a filter
	Payload        json.RawMessage `json:"payload,omitempty"`
	Mode           string          `json:"mode,omitempty"`
	TimeoutMs      int64           `json:"timeoutMs,omitempty"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
	Group          string          `json:"group,omitempty"`
	DelayMs        int64           `json:"delayMs,omitempty"`
	// CancelAfterMs is nil when the call is to outlive its followers.
	CancelAfterMs *int64          `json:"cancelAfterMs,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`

	// subscribe
	After uint64 `json:"after,omitempty"`
	Epoch int64  `json:"epoch,omitempty"`

	// list
	Status string `json:"status,omitempty"`
	Cursor string `json:"cursor,omitempty"`
	Limit  int    `json:"limit,omitempty"`

	// seal
	Size int64 `json:"size,omitempty"`

	// auth
	Token string `json:"token,omitempty"`
}

// ServerMessage is any message from a server. Type decides which fields count.
type ServerMessage struct {
	Type  string `json:"type"`
	Ref   string `json:"ref,omitempty"`
	ID    string `json:"id,omitempty"`
	For   string `json:"for,omitempty"`
	Index *int   `json:"index,omitempty"`
	Seq   uint64 `json:"seq,omitempty"`
	Epoch int64  `json:"epoch,omitempty"`

	// attempt, chunk, progress, snapshot
	Attempt int      `json:"attempt,omitempty"`
	Keep    uint64   `json:"keep,omitempty"`
	From    uint64   `json:"from,omitempty"`
	Rev     uint64   `json:"rev,omitempty"`
	Percent *float64 `json:"percent,omitempty"`
	// Message is an error's or a progress report's text.
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty"`

	// error, and attempt's Code
	Code         string          `json:"code,omitempty"`
	Final        *bool           `json:"final,omitempty"`
	Retryable    *bool           `json:"retryable,omitempty"`
	Field        string          `json:"field,omitempty"`
	Hint         string          `json:"hint,omitempty"`
	RetryAfterMs int64           `json:"retryAfterMs,omitempty"`
	Details      json.RawMessage `json:"details,omitempty"`

	// snapshot
	Recovered       *bool           `json:"recovered,omitempty"`
	Action          string          `json:"action,omitempty"`
	Status          string          `json:"status,omitempty"`
	LastSeq         uint64          `json:"lastSeq,omitempty"`
	Progress        *Progress       `json:"progress,omitempty"`
	Due             int64           `json:"due,omitempty"`
	CancelRequested bool            `json:"cancelRequested,omitempty"`
	Events          []ServerMessage `json:"events,omitempty"`
	More            *bool           `json:"more,omitempty"`

	// calls
	Calls  []Summary `json:"calls,omitempty"`
	Cursor string    `json:"cursor,omitempty"`

	// closing
	Reason    string `json:"reason,omitempty"`
	Reconnect *bool  `json:"reconnect,omitempty"`
	AfterMs   int64  `json:"afterMs,omitempty"`
}

// Progress is the newest progress of a call, inside a snapshot.
type Progress struct {
	Attempt int      `json:"attempt"`
	Rev     uint64   `json:"rev"`
	Percent *float64 `json:"percent,omitempty"`
	Message string   `json:"message,omitempty"`
}

// Summary is one call of a list.
type Summary struct {
	ID              string   `json:"id"`
	Action          string   `json:"action"`
	Status          string   `json:"status"`
	Attempt         int      `json:"attempt"`
	CreatedAt       int64    `json:"createdAt"`
	LastSeq         uint64   `json:"lastSeq"`
	EndedAt         int64    `json:"endedAt,omitempty"`
	Due             int64    `json:"due,omitempty"`
	Code            string   `json:"code,omitempty"`
	Percent         *float64 `json:"percent,omitempty"`
	CancelRequested bool     `json:"cancelRequested,omitempty"`
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
