package schema

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON in one pass. Its methods return false after the first
// violation, which stands in text and, from the inside out, in tokens.
type scanner struct {
	data   []byte
	pos    int
	buf    []byte // the last string that held escapes
	text   string
	tokens []string
}

func (s *scanner) fail(text string) bool {
	s.text = text
	return false
}

// failAt fails at a member of the value at hand.
func (s *scanner) failAt(token, text string) bool {
	s.text, s.tokens = text, append(s.tokens, token)
	return false
}

// within adds a token on the way out of a failed member.
func (s *scanner) within(token string) bool {
	s.tokens = append(s.tokens, token)
	return false
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte that is no white space, or 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) literal(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.notJSON()
	}
	s.pos += len(word)
	return true
}

func (s *scanner) notJSON() bool {
	if s.pos >= len(s.data) {
		return s.fail("the JSON ends too early")
	}
	return s.fail("not JSON")
}

// str reads a string. What it returns holds until the next string is read.
func (s *scanner) str() ([]byte, bool) {
	if s.peek() != '"' {
		return nil, s.notJSON()
	}
	s.pos++
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			s.pos++
			return s.data[start : s.pos-1], true
		case c == '\\':
			s.buf = append(s.buf[:0], s.data[start:s.pos]...)
			return s.escaped()
		case c < 0x20:
			return nil, s.fail("a control character in a string")
		default:
			s.pos++
		}
	}
	return nil, s.notJSON()
}

// escaped goes on with a string from its first escape.
func (s *scanner) escaped() ([]byte, bool) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			return s.buf, true
		case c < 0x20:
			return nil, s.fail("a control character in a string")
		case c != '\\':
			s.buf = append(s.buf, c)
		case !s.escape():
			return nil, false
		}
	}
	return nil, s.notJSON()
}

// escape reads what follows a backslash.
func (s *scanner) escape() bool {
	if s.pos >= len(s.data) {
		return s.notJSON()
	}
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		s.buf = append(s.buf, c)
	case 'b':
		s.buf = append(s.buf, '\b')
	case 'f':
		s.buf = append(s.buf, '\f')
	case 'n':
		s.buf = append(s.buf, '\n')
	case 'r':
		s.buf = append(s.buf, '\r')
	case 't':
		s.buf = append(s.buf, '\t')
	case 'u':
		return s.unicode()
	default:
		return s.fail("a bad escape in a string")
	}
	return true
}

// unicode reads a \u escape, or a pair of them.
func (s *scanner) unicode() bool {
	r, ok := s.hex()
	if ok && utf16.IsSurrogate(r) {
		low := rune(0)
		if s.pos+2 <= len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
			s.pos += 2
			low, ok = s.hex()
		}
		if r = utf16.DecodeRune(r, low); ok && r == utf8.RuneError {
			return s.fail("a lone surrogate in a string")
		}
	}
	if !ok {
		return s.fail("a bad escape in a string")
	}
	s.buf = utf8.AppendRune(s.buf, r)
	return true
}

func (s *scanner) hex() (rune, bool) {
	if s.pos+4 > len(s.data) {
		return 0, false
	}
	n := rune(0)
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			n = n<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.pos += 4
	return n, true
}

// number reads a number's text; plain tells that it has neither fraction nor
// exponent.
func (s *scanner) number() (text []byte, plain, ok bool) {
	start := s.pos
	at := func(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }
	if at('-') {
		s.pos++
	}
	if at('0') {
		s.pos++
	} else if !s.digits() {
		return nil, false, s.notJSON()
	}
	plain = true
	if at('.') {
		plain = false
		s.pos++
		if !s.digits() {
			return nil, false, s.notJSON()
		}
	}
	if at('e') || at('E') {
		plain = false
		s.pos++
		if at('+') || at('-') {
			s.pos++
		}
		if !s.digits() {
			return nil, false, s.notJSON()
		}
	}
	text = s.data[start:s.pos]
	if !plain || len(text) > 300 {
		if _, err := strconv.ParseFloat(string(text), 64); err != nil {
			return nil, false, s.fail("a number beyond the range of a double")
		}
	}
	return text, plain, true
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// members reads an object. member is called for each key, with the position
// behind the colon; it reads the value.
func (s *scanner) members(depth int, member func(key []byte) bool) bool {
	if depth >= MaxDepth {
		return s.fail("nested deeper than " + strconv.Itoa(MaxDepth))
	}
	s.pos++ // the brace
	if s.peek() == '}' {
		s.pos++
		return true
	}
	for {
		key, ok := s.str()
		if !ok {
			return false
		}
		if s.peek() != ':' {
			return s.notJSON()
		}
		s.pos++
		if !member(key) {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return true
		default:
			return s.notJSON()
		}
	}
}

// elements reads an array. element reads one value; i counts from 0. It
// returns how many there were.
func (s *scanner) elements(depth int, element func(i int) bool) (n int, ok bool) {
	if depth >= MaxDepth {
		return 0, s.fail("nested deeper than " + strconv.Itoa(MaxDepth))
	}
	s.pos++ // the bracket
	if s.peek() == ']' {
		s.pos++
		return 0, true
	}
	for i := 0; ; i++ {
		if !element(i) {
			return 0, s.within(strconv.Itoa(i))
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return i + 1, true
		default:
			return 0, s.notJSON()
		}
	}
}

// keys finds doubles among an object's keys.
type keys struct {
	few  []string
	many map[string]struct{}
}

// add tells whether the key is new.
func (k *keys) add(key string) bool {
	if k.many == nil && len(k.few) < 8 {
		for _, other := range k.few {
			if other == key {
				return false
			}
		}
		k.few = append(k.few, key)
		return true
	}
	if k.many == nil {
		k.many = make(map[string]struct{}, 16)
		for _, other := range k.few {
			k.many[other] = struct{}{}
		}
	}
	before := len(k.many)
	k.many[key] = struct{}{}
	return len(k.many) > before
}

const twice = "the key stands twice"

// anything reads a value of any kind. A raw one may hold doubles and lone
// surrogates: nobody decodes it here.
func (s *scanner) anything(depth int, raw bool) bool {
	switch c := s.peek(); {
	case c == '{':
		var seen keys
		return s.members(depth, func(key []byte) bool {
			if raw {
				return s.anything(depth+1, raw)
			}
			name := string(key)
			if !seen.add(name) {
				return s.failAt(name, twice)
			}
			return s.anything(depth+1, raw) || s.within(name)
		})
	case c == '[':
		_, ok := s.elements(depth, func(int) bool { return s.anything(depth+1, raw) })
		return ok
	case c == '"':
		_, ok := s.str()
		return ok
	case c == '-' || '0' <= c && c <= '9':
		_, _, ok := s.number()
		return ok
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.notJSON()
}
