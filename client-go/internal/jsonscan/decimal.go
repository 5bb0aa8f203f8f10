package jsonscan

import (
	"cmp"
	"strconv"
	"strings"
)

// Decimal is the exact value of a number's text, however long:
// ±0.digits × 10^point. Digits have no zeros at their ends; zero, the zero
// value, has no digits. Operations do not round and take time linear in the
// text: math/big would compute 10^exponent.
type Decimal struct {
	negative bool
	digits   string
	point    int
}

// maxExponent bounds exponents. In a message of 32 KiB, larger exponents do not
// change the result of a comparison.
const maxExponent = 1 << 30

// ParseDecimal reads a number in JSON's grammar; an empty text is zero.
func ParseDecimal(text string) Decimal {
	var d Decimal
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
		return Decimal{}
	}
	return d
}

// IsWhole reports whether the number is an integer.
func (d Decimal) IsWhole() bool { return d.point >= len(d.digits) }

// Integer returns a whole number without fraction and exponent. ok is false if it
// has more than 20 digits.
func (d Decimal) Integer() (text string, ok bool) {
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

// Compare returns -1, 0 or +1 if d is less than, equal to or greater than e.
func (d Decimal) Compare(e Decimal) int {
	if s := cmp.Compare(d.sign(), e.sign()); s != 0 || d.digits == "" {
		return s
	}
	c := cmp.Or(cmp.Compare(d.point, e.point), strings.Compare(d.digits, e.digits))
	if d.negative {
		return -c
	}
	return c
}

func (d Decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

// IsMultipleOf reports whether a whole number is a multiple of m, which is
// positive and below 2^31.
func (d Decimal) IsMultipleOf(m int64) bool {
	rest := int64(0)
	for i := range len(d.digits) {
		rest = (rest*10 + int64(d.digits[i]-'0')) % m
	}
	for range min(d.point-len(d.digits), 64) { // 10^64 holds every factor 2 and 5 that m can have
		rest = rest * 10 % m
	}
	return rest == 0
}
