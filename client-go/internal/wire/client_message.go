package wire

import (
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// ClientItem is one message of a client's frame: decoded, or refused.
type ClientItem struct {
	Message ClientMessage
	// Err is why the message is refused. Then Message holds of Type, ID and
	// Ref what could be read, so that the answer finds its question.
	Err *Error
}

// The fields of client messages, a bit each.
const (
	fType = 1 << iota
	fRef
	fID
	fAction
	fPayload
	fMode
	fTimeoutMs
	fIdempotencyKey
	fGroup
	fDelayMs
	fCancelAfterMs
	fMetadata
	fAfter
	fEpoch
	fStatus
	fCursor
	fLimit
	fSize
	fToken
)

var fieldBits = map[string]uint32{
	"type": fType, "ref": fRef, "id": fID, "action": fAction, "payload": fPayload, "mode": fMode, "timeoutMs": fTimeoutMs,
	"idempotencyKey": fIdempotencyKey, "group": fGroup, "delayMs": fDelayMs, "cancelAfterMs": fCancelAfterMs, "metadata": fMetadata,
	"after": fAfter, "epoch": fEpoch, "status": fStatus, "cursor": fCursor, "limit": fLimit, "size": fSize, "token": fToken,
}

var fieldNames = func() map[uint32]string {
	names := make(map[uint32]string, len(fieldBits))
	for name, bit := range fieldBits {
		names[bit] = name
	}
	return names
}()

// form is which fields a type of message must and may have.
type form struct{ must, may uint32 }

var clientForms = map[string]form{
	TypeRequest: {
		fType | fID | fAction,
		fPayload | fMode | fTimeoutMs | fIdempotencyKey | fGroup | fDelayMs | fCancelAfterMs | fMetadata,
	},
	TypeCancel:      {fType | fRef | fID, 0},
	TypeSubscribe:   {fType | fRef | fID, fAfter | fEpoch},
	TypeUnsubscribe: {fType | fRef | fID, 0},
	TypeList:        {fType | fRef, fStatus | fAction | fCursor | fLimit},
	TypeSeal:        {fType | fRef | fID | fSize, 0},
	TypeAuth:        {fType | fRef | fToken, 0},
	TypePing:        {fType, 0},
}

// DecodeClientFrame reads a frame from a client: one message, or a batch. What
// is wrong with a single message stands in its item; an error is about the
// frame as a whole. The items' raw fields point into data.
func DecodeClientFrame(data []byte) (items []ClientItem, batch bool, err *Error) {
	if !utf8.Valid(data) {
		return nil, false, malformed("not UTF-8")
	}
	s := scanner{data: data}
	if s.peek() != '[' {
		item := make([]ClientItem, 1)
		decodeClient(&s, 0, &item[0])
		if item[0].Err != nil && item[0].Err.Code == CodeMalformed {
			return nil, false, item[0].Err
		}
		if err := s.end(); err != nil {
			return nil, false, err
		}
		return item, false, nil
	}
	err = s.array(func(i int) *Error {
		if i >= MaxBatch {
			return &Error{Code: CodeInvalidBatch, Message: "a batch holds at most 64 messages"}
		}
		if s.peek() == '[' {
			return &Error{Code: CodeInvalidBatch, Message: "batches do not nest"}
		}
		items = append(items, ClientItem{})
		item := &items[len(items)-1]
		decodeClient(&s, 1, item)
		if item.Err != nil && item.Err.Code == CodeMalformed {
			return item.Err
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, true, err
	case len(items) == 0:
		return nil, true, &Error{Code: CodeInvalidBatch, Message: "a batch holds at least one message"}
	}
	if err := s.end(); err != nil {
		return nil, true, err
	}
	return items, true, nil
}

// decodeClient reads one message. After a refusal it reads on, to leave the
// scanner behind the message and to find its id and ref.
func decodeClient(s *scanner, depth int, item *ClientItem) {
	if s.peek() != '{' {
		if item.Err = s.skip(depth); item.Err == nil {
			item.Err = invalid("", "a message is an object")
		}
		return
	}
	var seen uint32
	refuse := func(err *Error) *Error {
		if err.Code == CodeMalformed {
			return err
		}
		if item.Err == nil {
			item.Err = err
		}
		return nil
	}
	m := &item.Message
	err := s.object(func(key string) *Error {
		bit := fieldBits[key]
		if bit == 0 {
			if err := s.skip(depth + 1); err != nil {
				return err
			}
			return refuse(invalid(cut(key), "unknown field "+quoted(key)))
		}
		if seen&bit != 0 {
			if err := s.skip(depth + 1); err != nil {
				return err
			}
			return refuse(invalid(key, "the field "+key+" stands twice"))
		}
		seen |= bit
		if err := clientField(s, depth+1, key, bit, m); err != nil {
			return refuse(err)
		}
		return nil
	})
	if err != nil {
		item.Err = err
		return
	}
	if item.Err == nil {
		item.Err = checkForm(m, seen)
	}
}

// quoted quotes what a client has sent, cut where it is long.
func quoted(text string) string { return strconv.Quote(cut(text)) }

func cut(text string) string {
	if len(text) <= MaxName {
		return text
	}
	end := MaxName
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

// checkForm refuses unknown types, missing fields and fields of other types.
func checkForm(m *ClientMessage, seen uint32) *Error {
	if seen&fType == 0 {
		return invalid("type", "type is missing")
	}
	f, ok := clientForms[m.Type]
	if !ok {
		return invalid("type", "unknown type "+quoted(m.Type))
	}
	if missing := f.must &^ seen; missing != 0 {
		name := fieldNames[1<<bits.TrailingZeros32(missing)]
		return invalid(name, m.Type+" needs "+name)
	}
	if extra := seen &^ (f.must | f.may); extra != 0 {
		name := fieldNames[1<<bits.TrailingZeros32(extra)]
		return invalid(name, m.Type+" has no field "+name)
	}
	return nil
}

// clientField reads and judges the value of one field.
func clientField(s *scanner, depth int, key string, bit uint32, m *ClientMessage) (err *Error) {
	switch bit {
	case fType:
		m.Type, err = s.word(key)
	case fRef:
		m.Ref, err = s.bounded(key, 1, MaxRef)
	case fID:
		if m.ID, err = s.text(key); err == nil && !ValidID(m.ID) {
			m.ID, err = "", invalid(key, "id must be a UUIDv7 in lower case")
		}
	case fAction:
		if m.Action, err = s.bounded(key, 1, MaxName); err == nil && !ValidAction(m.Action) {
			err = invalid(key, "action may hold only letters, digits and . _ : / -")
		}
	case fPayload:
		m.Payload, err = s.raw(depth)
	case fMode:
		m.Mode, err = s.oneOf(key, ModeAuto, ModeSync, ModeAsync)
	case fTimeoutMs:
		m.TimeoutMs, err = s.integer(key, 1, MaxDurationMs)
	case fIdempotencyKey:
		m.IdempotencyKey, err = s.bounded(key, 1, MaxName)
	case fGroup:
		m.Group, err = s.bounded(key, 1, MaxName)
	case fDelayMs:
		m.DelayMs, err = s.integer(key, 0, MaxDurationMs)
	case fCancelAfterMs:
		var ms int64
		ms, err = s.integer(key, 0, MaxDurationMs)
		m.CancelAfterMs = &ms
	case fMetadata:
		if s.peek() != '{' {
			return s.wrongType(key, "an object")
		}
		if m.Metadata, err = s.raw(depth); err == nil && len(m.Metadata) > MaxMetadata {
			err = invalid(key, "metadata holds at most 4 KiB")
		}
	case fAfter:
		var n int64
		n, err = s.integer(key, 0, MaxSafeInteger)
		m.After = uint64(n)
	case fEpoch:
		m.Epoch, err = s.integer(key, 0, MaxSafeInteger)
	case fStatus:
		m.Status, err = s.oneOf(key, "queued", "running", "succeeded", "failed", "cancelled")
	case fCursor:
		m.Cursor, err = s.bounded(key, 1, 512)
	case fLimit:
		var n int64
		n, err = s.integer(key, 1, MaxList)
		m.Limit = int(n)
	case fSize:
		m.Size, err = s.integer(key, 0, MaxSafeInteger)
	case fToken:
		m.Token, err = s.bounded(key, 1, MaxToken)
	}
	return err
}

// bounded reads a string of low to high bytes.
func (s *scanner) bounded(name string, low, high int) (string, *Error) {
	text, err := s.text(name)
	if err == nil && (len(text) < low || len(text) > high) {
		return "", invalid(name, name+" must have "+strconv.Itoa(low)+" to "+strconv.Itoa(high)+" bytes")
	}
	return text, err
}

func (s *scanner) oneOf(name string, words ...string) (string, *Error) {
	text, err := s.text(name)
	if err != nil {
		return "", err
	}
	for _, w := range words {
		if text == w {
			return text, nil
		}
	}
	return "", invalid(name, name+" has an unknown value")
}

// ValidAction tells whether a name may be an action's: 1 to 128 letters,
// digits and . _ : / -
func ValidAction(name string) bool {
	if name == "" || len(name) > MaxName {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == ':', c == '/', c == '-':
		default:
			return false
		}
	}
	return true
}

// Append appends the message as JSON. Raw fields are passed on byte for byte.
func (m *ClientMessage) Append(b []byte) []byte {
	w := writer{b: append(b, '{')}
	w.text("type", m.Type)
	w.text("ref", m.Ref)
	w.text("id", m.ID)
	w.text("action", m.Action)
	w.raw("payload", m.Payload)
	w.text("mode", m.Mode)
	w.integer("timeoutMs", m.TimeoutMs)
	w.text("idempotencyKey", m.IdempotencyKey)
	w.text("group", m.Group)
	w.integer("delayMs", m.DelayMs)
	if m.CancelAfterMs != nil {
		w.key("cancelAfterMs")
		w.b = strconv.AppendInt(w.b, *m.CancelAfterMs, 10)
	}
	w.raw("metadata", m.Metadata)
	w.integer("after", int64(m.After))
	w.integer("epoch", m.Epoch)
	w.text("status", m.Status)
	w.text("cursor", m.Cursor)
	w.integer("limit", int64(m.Limit))
	w.integer("size", m.Size)
	w.text("token", m.Token)
	return append(w.b, '}')
}
