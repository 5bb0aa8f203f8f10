package wire

import "strconv"

// number reads a number's text. The bytes are the scanner's.
func (s *scanner) number(name string) ([]byte, *Error) {
	if c := s.peek(); c != '-' && (c < '0' || c > '9') {
		return nil, s.wrongType(name, "a number")
	}
	start := s.pos
	if !s.skipNumber() {
		return nil, malformed("a bad number")
	}
	return s.data[start:s.pos], nil
}

// skipNumber consumes a number, and tells whether it was one.
func (s *scanner) skipNumber() bool {
	if s.at('-') {
		s.pos++
	}
	if s.at('0') {
		s.pos++
	} else if !s.digits() {
		return false
	}
	if s.at('.') {
		s.pos++
		if !s.digits() {
			return false
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		return s.digits()
	}
	return true
}

// at tells whether the next byte is c.
func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

// digits consumes digits, and tells whether there were any.
func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// whole reads a whole number between low and high. As in JSON Schema, 1.0 and
// 1e2 are whole.
func whole[T int | int64 | uint64](s *scanner, name string, low, high int64) (T, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	n, ok := wholeOf(text)
	if !ok {
		return 0, invalid(name, "a whole number within ±(2^53-1) is expected")
	}
	if n < low || n > high {
		return 0, invalid(name, "must be between "+strconv.FormatInt(low, 10)+" and "+strconv.FormatInt(high, 10))
	}
	return T(n), nil
}

// safeDigits is how many digits an integer within ±(2^53-1) has at most.
const safeDigits = 16

// wholeOf returns the value of a number's text if it is a whole one within
// ±(2^53-1). It is exact: what a float64 would round to a whole number is none.
func wholeOf(text []byte) (int64, bool) {
	sign := int64(1)
	if text[0] == '-' {
		sign, text = -1, text[1:]
	}
	// The value is n × 10^(zeros-places+exponent), and n does not end in 0.
	var n int64
	digits, zeros, places, point := 0, 0, 0, false
	for i, c := range text {
		if c == 'e' || c == 'E' {
			places -= exponentOf(text[i+1:])
			break
		}
		if c == '.' {
			point = true
			continue
		}
		if point {
			places++
		}
		if c == '0' {
			zeros++
			continue
		}
		for ; zeros > 0 && n > 0; zeros-- {
			if digits++; digits > safeDigits {
				return 0, false
			}
			n *= 10
		}
		if digits++; digits > safeDigits {
			return 0, false
		}
		n, zeros = n*10+int64(c-'0'), 0
	}
	scale := zeros - places
	if n == 0 {
		return 0, true
	}
	if scale < 0 || digits+scale > safeDigits {
		return 0, false
	}
	for range scale {
		n *= 10
	}
	return sign * n, n <= MaxSafeInteger
}

// exponentOf reads the digits behind an e. Beyond a million, more digits change
// nothing: no frame is so long that they could be made good.
func exponentOf(text []byte) int {
	sign, n := 1, 0
	if text[0] == '-' || text[0] == '+' {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	for _, c := range text {
		n = min(n*10+int(c-'0'), 1_000_000)
	}
	return sign * n
}

// float reads any number that a float64 can hold.
func (s *scanner) float(name string) (float64, *Error) {
	text, err := s.number(name)
	if err != nil {
		return 0, err
	}
	f, bad := strconv.ParseFloat(string(text), 64)
	if bad != nil {
		return 0, invalid(name, "the number is out of range")
	}
	return f, nil
}
