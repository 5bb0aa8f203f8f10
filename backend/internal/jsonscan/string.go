package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string, of which [Scanner.Peek] has returned the quotation mark,
// and decodes its escapes. The result is valid until the next string is read,
// and nil after an error. lone reports that the string holds lone surrogates,
// which decode to U+FFFD.
func (s *Scanner) String() (text []byte, lone bool) {
	if s.nextByte() != '"' {
		s.fail(errNotJSON)
		return nil, false
	}
	start := s.pos + 1
	end := plainEnd(s.data, start)
	if end < len(s.data) && s.data[end] == '"' {
		s.pos = end + 1
		return s.data[start:end], false
	}
	return s.escaped(start, end)
}

// skipString reads a string, whose quotation mark is next, without decoding it.
func (s *Scanner) skipString() {
	s.pos = plainEnd(s.data, s.pos+1)
	for s.nextByte() == '\\' {
		if s.pos++; s.nextByte() == 'u' {
			s.hexDigits()
		} else {
			s.shortEscape()
		}
		s.pos = plainEnd(s.data, s.pos)
	}
	s.endString()
}

// escaped reads the rest of a string that begins at start, from its first escape
// at pos.
func (s *Scanner) escaped(start, pos int) (text []byte, lone bool) {
	s.pos = pos
	s.buf = append(s.buf[:0], s.data[start:pos]...)
	for s.nextByte() == '\\' {
		r, ok := s.escape()
		lone = lone || !ok
		s.buf = utf8.AppendRune(s.buf, r)
		start = s.pos
		s.pos = plainEnd(s.data, start)
		s.buf = append(s.buf, s.data[start:s.pos]...)
	}
	if !s.endString() {
		return nil, lone
	}
	return s.buf, lone
}

// plainEnd returns the position from i on of the first byte that ends a string or
// needs decoding, or the end of the data.
func plainEnd(data []byte, i int) int {
	for ; i+8 <= len(data); i += 8 {
		if found := special(binary.LittleEndian.Uint64(data[i:])); found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(data) && data[i] != '"' && data[i] != '\\' && data[i] >= 0x20 {
		i++
	}
	return i
}

// special returns a word whose lowest set bit is in the first of eight bytes that
// ends a string or needs decoding; 0: there is none.
func special(word uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	quote, backslash := word^ones*'"', word^ones*'\\'
	// (x - n) &^ x sets the highest bit of the first byte that is less than n.
	return ((word-ones*0x20)&^word | (quote-ones)&^quote | (backslash-ones)&^backslash) & highs
}

// nextByte returns the next byte; 0 at the end.
func (s *Scanner) nextByte() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// endString reads a string's closing quotation mark. It reports whether there
// was one.
func (s *Scanner) endString() bool {
	switch {
	case s.nextByte() == '"':
		s.pos++
		return true
	case s.pos < len(s.data):
		s.fail(ErrControl)
	default:
		s.fail(errStringEnd)
	}
	return false
}

// escape reads an escape, or the two of a surrogate pair. ok is false, and r is
// U+FFFD, for a lone surrogate.
func (s *Scanner) escape() (r rune, ok bool) {
	if s.pos++; s.nextByte() != 'u' {
		return rune(s.shortEscape()), true
	}
	r = s.hexDigits()
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	low, back := rune(0), s.pos
	if s.nextByte() == '\\' {
		if s.pos++; s.nextByte() == 'u' {
			if low = s.hexDigits(); s.err != nil {
				return 0, true
			}
		}
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		s.pos = back // what follows a lone surrogate is read by itself
		return r, false
	}
	return r, true
}

// unescaped maps what follows a backslash to its meaning; 0: nothing.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// shortEscape reads what follows a backslash, one character, and returns its
// meaning.
func (s *Scanner) shortEscape() byte {
	c := unescaped[s.nextByte()]
	switch {
	case c != 0:
		s.pos++
	case s.pos < len(s.data):
		s.fail(ErrEscape)
	default:
		s.fail(errStringEnd)
	}
	return c
}

// hexDigits reads a u and four hex digits.
func (s *Scanner) hexDigits() (r rune) {
	if len(s.data)-s.pos < 5 {
		s.fail(ErrUnicodeEscape)
		return 0
	}
	for _, c := range s.data[s.pos+1 : s.pos+5] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			s.fail(ErrUnicodeEscape)
			return 0
		}
	}
	s.pos += 5
	return r
}
