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

// DecodeClientFrame reads a frame from a client: one message, or a batch. What
// is wrong with a single message stands in its item; an error is about the
// frame as a whole. The items' raw fields point into data. The frame's size is
// for the socket to judge.
func DecodeClientFrame(data []byte) (items []ClientItem, batch bool, err *Error) {
	if !utf8.Valid(data) {
		return nil, false, malformed("not UTF-8")
	}
	s := scanner{data: data}
	if s.peek() != '[' {
		item := make([]ClientItem, 1)
		if err := item[0].decode(&s); err != nil {
			return nil, false, err
		}
		if err := s.end(); err != nil {
			return nil, false, err
		}
		return item, false, nil
	}
	items, err = decodeBatch(&s)
	if err == nil || err.Code != CodeMalformed {
		if end := s.end(); end != nil {
			err = end
		}
	}
	if err != nil {
		return nil, true, err
	}
	return items, true, nil
}

// decodeBatch reads the messages of a batch. A batch that is refused is read to
// its end all the same: what is no JSON is malformed, whatever else it is.
func decodeBatch(s *scanner) (items []ClientItem, refusal *Error) {
	if err := s.array(); err != nil {
		return nil, err
	}
	for {
		more, err := s.more(']')
		switch {
		case err != nil:
			return nil, err
		case !more && refusal == nil && len(items) == 0:
			return nil, invalidBatch("a batch holds at least one message")
		case !more:
			return items, refusal
		case refusal != nil:
		case len(items) == MaxBatch:
			refusal = invalidBatch("a batch holds at most 64 messages")
		case s.peek() == '[':
			refusal = invalidBatch("batches do not nest")
		}
		if refusal != nil {
			err = s.skip()
		} else {
			items = append(items, ClientItem{})
			err = items[len(items)-1].decode(s)
		}
		if err != nil {
			return nil, err
		}
	}
}

func invalidBatch(text string) *Error { return &Error{Code: CodeInvalidBatch, Message: text} }

// decode reads one message. After a refusal it reads on, to leave the scanner
// behind the message and to find its id and ref. An error is about the frame:
// nothing behind it can be read.
func (item *ClientItem) decode(s *scanner) *Error {
	if s.peek() != '{' {
		if err := s.skip(); err != nil {
			return err
		}
		item.Err = invalid("", "a message is an object")
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	var seen uint32
	for {
		more, err := s.more('}')
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, err := s.key()
		if err != nil {
			return err
		}
		err = item.field(s, key, &seen)
		switch {
		case err == nil:
		case err.Code == CodeMalformed:
			return err
		case item.Err == nil:
			item.Err = err
		}
	}
	if item.Err == nil {
		item.Err = checkForm(item.Message.Type, seen)
	}
	return nil
}

// field reads one field. seen holds those that were there before.
func (item *ClientItem) field(s *scanner, key []byte, seen *uint32) *Error {
	bit := clientBit(key)
	if bit == 0 {
		if err := s.skip(); err != nil {
			return err
		}
		name := cut(string(key))
		return invalid(name, "unknown field "+strconv.Quote(name))
	}
	if *seen&bit != 0 {
		if err := s.skip(); err != nil {
			return err
		}
		name := clientName(bit)
		return invalid(name, "the field "+name+" stands twice")
	}
	*seen |= bit
	return item.Message.field(s, bit)
}

// clientName returns the name of the field with the lowest bit.
func clientName(bit uint32) string { return clientNames[bits.TrailingZeros32(bit)] }

// cut shortens what a client has sent, where it is long.
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
func checkForm(kind string, seen uint32) *Error {
	if seen&clientHasType == 0 {
		return invalid("type", "type is missing")
	}
	must, may, known := clientForm(kind)
	if !known {
		return invalid("type", "unknown type "+strconv.Quote(cut(kind)))
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
