package jsonscan

import "strconv"

// MaxSafeInteger is the largest integer that all readers of JSON keep exactly;
// its negative is the smallest.
const MaxSafeInteger = 1<<53 - 1

// BeginsNumber reports whether a value that begins with c is a number.
func BeginsNumber(c byte) bool { return c == '-' || '0' <= c && c <= '9' }

// Number reads a number, which [Scanner.Peek] has announced, and returns its
// text without copying it; nil after an error. plain reports that the number has
// neither fraction nor exponent.
func (s *Scanner) Number() (text []byte, plain bool) {
	s.Peek()
	start := s.pos
	if s.next() == '-' {
		s.pos++
	}
	if s.next() == '0' {
		s.pos++
	} else {
		s.digits()
	}
	plain = true
	if s.next() == '.' {
		plain = false
		s.pos++
		s.digits()
	}
	if c := s.next(); c == 'e' || c == 'E' {
		plain = false
		s.pos++
		if c := s.next(); c == '+' || c == '-' {
			s.pos++
		}
		s.digits()
	}
	if s.err != nil {
		return nil, false
	}
	return s.data[start:s.pos], plain
}

// digits reads one or more digits.
func (s *Scanner) digits() {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		s.fail(errNumber)
	}
}

// Integer returns the value of a number's text if it is whole and within
// ±[MaxSafeInteger]. As in JSON Schema, 1.0 and 1e2 are whole. The value is
// exact: a number that a float64 would round to a whole one is not whole.
func Integer(number []byte) (n int64, ok bool) {
	if n, ok = plainInteger(number); ok {
		return n, n <= MaxSafeInteger
	}
	d := ParseDecimal(string(number))
	if !d.IsWhole() {
		return 0, false
	}
	text, ok := d.Integer()
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && -MaxSafeInteger <= n && n <= MaxSafeInteger
}

// plainInteger reads the common case: 1 to 18 digits and nothing else.
func plainInteger(number []byte) (n int64, ok bool) {
	if len(number) == 0 || len(number) > 18 {
		return 0, false
	}
	for _, c := range number {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
