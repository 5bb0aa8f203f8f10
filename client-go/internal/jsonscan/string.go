package jsonscan

import (
	"unicode/utf16"
	"unicode/utf8"
)

// String reads a string, which [Scanner.Peek] has announced by a quotation
// mark, and decodes its escapes. The result is valid until the next string is
// read, and nil after an error. lone reports that the string holds lone
// surrogates, which decode to U+FFFD.
func (s *Scanner) String() (text []byte, lone bool) {
	if s.Peek() != '"' {
		s.fail(errNotJSON)
		return nil, false
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], false
		case c == '\\':
			s.buf = append(s.buf[:0], s.data[start:s.pos]...)
			return s.escapedString()
		case c < 0x20:
			s.fail(ErrControl)
			return nil, false
		default:
			s.pos++
		}
	}
	s.fail(errStringEnd)
	return nil, false
}

// escapedString reads a string from its first escape on. The part before it is
// in buf.
func (s *Scanner) escapedString() (text []byte, lone bool) {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.buf, lone
		case c < 0x20:
			s.fail(ErrControl)
		case c == '\\':
			r, ok := s.escape()
			lone = lone || !ok
			s.buf = utf8.AppendRune(s.buf, r)
		default:
			s.buf = append(s.buf, c)
			s.pos++
		}
	}
	s.fail(errStringEnd)
	return nil, lone
}

// escape reads an escape. ok is false, and r is U+FFFD, for a lone surrogate.
func (s *Scanner) escape() (r rune, ok bool) {
	s.pos++ // the backslash
	if s.pos >= len(s.data) {
		s.fail(errStringEnd)
		return 0, true
	}
	c := s.data[s.pos]
	if c == 'u' {
		return s.unicodeEscape()
	}
	if r = rune(unescaped[c]); r == 0 {
		s.fail(ErrEscape)
		return 0, true
	}
	s.pos++
	return r, true
}

// unescaped is what follows a backslash, and what it means; 0: nothing.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unicodeEscape reads \u and four hex digits, or a pair of them, from the u on.
func (s *Scanner) unicodeEscape() (r rune, ok bool) {
	r = s.hexDigits()
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	low, back := rune(0), s.pos
	if s.pos+2 <= len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
		s.pos++
		if low = s.hexDigits(); s.err != nil {
			return 0, true
		}
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		s.pos = back // what follows a lone surrogate is read by itself
		return r, false
	}
	return r, true
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

// skipString reads a string without decoding it.
func (s *Scanner) skipString() {
	s.pos++ // the quotation mark
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return
		case c < 0x20:
			s.fail(ErrControl)
		case c == '\\':
			s.pos++
			switch {
			case s.pos >= len(s.data): // the string does not end
			case s.data[s.pos] == 'u':
				s.hexDigits()
			case unescaped[s.data[s.pos]] == 0:
				s.fail(ErrEscape)
			default:
				s.pos++
			}
		default:
			s.pos++
		}
	}
	s.fail(errStringEnd)
}
