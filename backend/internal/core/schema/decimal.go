package schema

import (
	"cmp"
	"strconv"
	"strings"
)

// decimal is a number just as its text says, however long: ±0.digits × 10^point.
// Digits have no zeros at their ends; zero has none at all. Numbers are compared
// without rounding, and in time linear in their text: math/big would work out
// 10^exponent.
type decimal struct {
	negative bool
	digits   string
	point    int
}

// maxExponent bounds exponents. No number in a message of 32 KiB can be told
// from another by what lies beyond.
const maxExponent = 1 << 30

// parseDecimal reads a number in JSON's grammar.
func parseDecimal(text string) decimal {
	var d decimal
	text, d.negative = strings.CutPrefix(text, "-")
	exponent := 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(text[i+1:])
		switch {
		case err == nil:
			exponent = min(max(n, -maxExponent), maxExponent)
		case text[i+1] == '-':
			exponent = -maxExponent
		default:
			exponent = maxExponent
		}
		text = text[:i]
	}
	whole, fraction, _ := strings.Cut(text, ".")
	d.digits = whole
	if fraction != "" {
		d.digits += fraction
	}
	d.point = len(whole) + exponent
	trimmed := strings.TrimLeft(d.digits, "0")
	d.point -= len(d.digits) - len(trimmed)
	d.digits = strings.TrimRight(trimmed, "0")
	if d.digits == "" {
		return decimal{}
	}
	return d
}

// whole tells whether the number is an integer.
func (d decimal) whole() bool { return d.point >= len(d.digits) }

// integer writes a whole number of at most 20 digits in the plain form; ok is
// false for longer ones.
func (d decimal) integer() (text string, ok bool) {
	switch {
	case d.digits == "":
		return "0", true
	case d.point > 20:
		return "", false
	}
	text = d.digits + strings.Repeat("0", d.point-len(d.digits))
	if d.negative {
		text = "-" + text
	}
	return text, true
}

// compare returns -1, 0 or +1.
func (d decimal) compare(e decimal) int {
	if s := cmp.Compare(d.sign(), e.sign()); s != 0 || d.digits == "" {
		return s
	}
	c := cmp.Or(cmp.Compare(d.point, e.point), strings.Compare(d.digits, e.digits))
	if d.negative {
		return -c
	}
	return c
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// multipleOf tells whether a whole number is a multiple of m, which is
// positive and below 2^31.
func (d decimal) multipleOf(m int64) bool {
	rest := int64(0)
	for i := range len(d.digits) {
		rest = (rest*10 + int64(d.digits[i]-'0')) % m
	}
	for range min(d.point-len(d.digits), 64) { // 10^64 holds every factor 2 and 5 that m can have
		rest = rest * 10 % m
	}
	return rest == 0
}
