package jsonscan

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// Integer agrees with exact arithmetic.
func TestWholeNumbersAreExact(t *testing.T) {
	for _, text := range []string{
		"0", "-0", "0.0", "-0.000e5", "0e-9", "1", "-1", "10", "1.0", "1.50", "15e-1", "150e-1", "1.5e1", "1.55e1", "0.001e3", "0.0010E+3", "1e-1",
		"9007199254740991", "-9007199254740991", "9007199254740992", "-9007199254740992", "9007199254740993", "9007199254740991.0",
		"9007199254740991.4", "90071992547409910e-1", "9.007199254740991e15", "9.007199254740992e15", "1e15", "1e16", "1e17", "100000000000000000000e-18",
		"1.0000000000000000000001", "10000000000000000000000000000000000000001e-40", "99999999999999999999", "12345678901234567", "1234567890123456.0",
		"9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e300", "1e-300", "120.00e-1", "125.00e-1", "0.5", "500e-3", "50000e-4",
	} {
		exact, ok := new(big.Rat).SetString(text)
		require.True(t, ok, text)
		limit := new(big.Rat).SetInt64(MaxSafeInteger)
		want := exact.IsInt() && new(big.Rat).Abs(exact).Cmp(limit) <= 0
		n, got := Integer([]byte(text))
		require.Equal(t, want, got, text)
		if want {
			require.Zero(t, exact.Cmp(new(big.Rat).SetInt64(n)), "%s is read as %d", text, n)
		}
	}
	// Long exponents cost nothing and are not truncated.
	for text, want := range map[string]bool{"0e99999999999999999999": true, "1e99999999999999999999": false, "1e-99999999999999999999": false} {
		_, got := Integer([]byte(text))
		require.Equal(t, want, got, text)
	}
}
