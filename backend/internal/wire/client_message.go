package wire

import (
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// ClientItem is one message of a client's frame: decoded, or refused.
type ClientItem struct {
	Message ClientMessage
	// Err is why the message is refused. Message then holds Type, ID and Ref as
	// far as they could be read, for the answer.
	Err *Error
}

// DecodeClientFrame reads a frame from a client: one message, or a batch. A
// fault of a single message is in its item; an error is about the frame as a
// whole. The items' raw fields point into data. The caller limits the frame's
// size.
func DecodeClientFrame(data []byte) (items []ClientItem, batch bool, err *Error) {
	var s scanner
	s.Reset(data, MaxDepth)
	var refusal *Error
	if batch = s.Peek() == '['; batch {
		items, refusal = decodeBatch(&s)
	} else {
		items = make([]ClientItem, 1)
		items[0].decode(&s)
	}
	if err = s.expectEnd(); err == nil {
		err = refusal
	}
	if err != nil {
		return nil, batch, err
	}
	return items, batch, nil
}

// decodeBatch reads the messages of a batch. A batch that is refused is still
// read to its end: if it is not JSON, the error is that it is malformed.
func decodeBatch(s *scanner) (items []ClientItem, refusal *Error) {
	for more := s.Enter(']'); more; more = s.More(']') {
		switch {
		case refusal != nil:
		case len(items) == MaxBatch:
			refusal = invalidBatch("a batch holds at most 64 messages")
		case s.Peek() == '[':
			refusal = invalidBatch("batches do not nest")
		}
		if refusal != nil {
			s.SkipValue()
			continue
		}
		items = append(items, ClientItem{})
		items[len(items)-1].decode(s)
	}
	if refusal == nil && len(items) == 0 {
		refusal = invalidBatch("a batch holds at least one message")
	}
	return items, refusal
}

func invalidBatch(text string) *Error { return &Error{Code: CodeInvalidBatch, Message: text} }

// decode reads one message. After a refusal it reads on, to leave the scanner
// after the message and to find its id and ref.
func (item *ClientItem) decode(s *scanner) {
	if s.Peek() != '{' {
		s.SkipValue()
		item.Err = invalid("", "a message is an object")
		return
	}
	var seen uint32
	for more := s.Enter('}'); more; more = s.More('}') {
		if err := item.field(s, s.fieldName(), &seen); err != nil && item.Err == nil {
			item.Err = err
		}
	}
	if item.Err == nil {
		item.Err = checkForm(item.Message.Type, seen)
	}
}

// field reads one field. seen holds the fields that came before it.
func (item *ClientItem) field(s *scanner, key []byte, seen *uint32) *Error {
	bit := clientBit(key)
	if bit == 0 {
		s.SkipValue()
		name := shorten(string(key))
		return invalid(name, "unknown field "+strconv.Quote(name))
	}
	if *seen&bit != 0 {
		s.SkipValue()
		name := clientName(bit)
		return invalid(name, "the field "+name+" stands twice")
	}
	*seen |= bit
	return item.Message.field(s, bit)
}

// clientName returns the name of the field with the lowest bit.
func clientName(bit uint32) string { return clientNames[bits.TrailingZeros32(bit)] }

// shorten bounds the length of a text from a client that an error repeats.
func shorten(text string) string {
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
func checkForm(kind string, seen uint32) *Error {
	if seen&clientHasType == 0 {
		return invalid("type", "type is missing")
	}
	must, may, known := clientForm(kind)
	if !known {
		return invalid("type", "unknown type "+strconv.Quote(shorten(kind)))
	}
	if missing := must &^ seen; missing != 0 {
		name := clientName(missing)
		return invalid(name, kind+" needs "+name)
	}
	if extra := seen &^ (must | may); extra != 0 {
		name := clientName(extra)
		return invalid(name, kind+" has no field "+name)
	}
	return nil
}

// ValidAction reports whether a name may be an action's: 1 to 128 letters,
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
