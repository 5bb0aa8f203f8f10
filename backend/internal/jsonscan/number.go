package jsonscan

import "strconv"

// MaxSafeInteger is the largest integer that all readers of JSON keep exactly;
// its negative is the smallest.
const MaxSafeInteger = 1<<53 - 1

// BeginsNumber reports whether a value that begins with c is a number.
func BeginsNumber(c byte) bool { return c == '-' || '0' <= c && c <= '9' }

// Number reads a number, of which [Scanner.Peek] has returned the first byte, and
// returns its text without copying it; nil after an error. plain reports that the number has
// neither fraction nor exponent.
func (s *Scanner) Number() (text []byte, plain bool) {
	data, start := s.data, s.pos
	i := start
	if byteAt(data, i) == '-' {
		i++
	}
	end := i + 1
	if byteAt(data, i) != '0' {
		end = digitsEnd(data, i)
	}
	valid := end > i
	plain = true
	if valid && byteAt(data, end) == '.' {
		plain = false
		i = end + 1
		end = digitsEnd(data, i)
		valid = end > i
	}
	if valid && (byteAt(data, end) == 'e' || byteAt(data, end) == 'E') {
		plain = false
		i = end + 1
		if c := byteAt(data, i); c == '+' || c == '-' {
			i++
		}
		end = digitsEnd(data, i)
		valid = end > i
	}
	s.pos = end
	if !valid {
		s.fail(errNumber)
		return nil, false
	}
	return data[start:end], plain
}

// byteAt returns the byte at i; 0 at the end.
func byteAt(data []byte, i int) byte {
	if i < len(data) {
		return data[i]
	}
	return 0
}

// digitsEnd returns the position of the first byte from i on that is no digit.
func digitsEnd(data []byte, i int) int {
	for i < len(data) && '0' <= data[i] && data[i] <= '9' {
		i++
	}
	return i
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
