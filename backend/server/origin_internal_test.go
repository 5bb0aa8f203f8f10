package server

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOwnOrigin(t *testing.T) {
	var own originRule
	for _, c := range []struct {
		host, origin string
		want         bool
	}{
		{"example.com", "", true},
		{"example.com", "https://example.com", true},
		{"EXAMPLE.com", "https://example.COM", true},
		{"example.com:443", "https://example.com", true},
		{"example.com", "https://example.com:443", true},
		{"example.com:80", "http://example.com", true},
		{"example.com:8443", "https://example.com:8443", true},
		{"[::1]:8080", "http://[::1]:8080", true},
		{"example.com:443", "http://example.com", false},
		{"example.com:8443", "https://example.com:9443", false},
		{"example.com", "https://evil.example", false},
		{"example.com", "https://example.com.evil.example", false},
		{"example.com", "https://example.com/page", false},
		{"example.com", "null", false},
		{"", "null", false},
		{"example.com", "https://", false},
		{"example.com", "%", false},
	} {
		require.Equal(t, c.want, own.allows(c.origin, c.host), "%+v", c)
	}
}

// An entry of the list is honoured, or refused at the start.
func TestAllowedOrigins(t *testing.T) {
	const page = "https://app.example.com"
	for entry, want := range map[string]string{
		page: "", page + "/": "", page + ":443": "", "HTTPS://App.Example.com": "", "*": "",
		"app.example.com":              "must have a scheme and a host",
		"//app.example.com":            "must have a scheme and a host",
		"null":                         "must have a scheme and a host",
		"":                             "must have a scheme and a host",
		" " + page:                     "must be one origin",
		page + ",https://b.example":    "must be one origin",
		"https://*.example.com":        "must be one origin",
		page + "/ws":                   "must have no path",
		page + "?a=b":                  "must have no path",
		"https://user@app.example.com": "must have no path",
	} {
		_, err := (&Options{Development: true, Origins: []string{"https://other.example", entry}}).withDefaults()
		rule, ruleErr := newOriginRule([]string{"https://other.example", entry})
		require.Equal(t, ruleErr, err)
		if want != "" {
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, `"`+entry+`"`)
			continue
		}
		require.NoError(t, err)
		require.True(t, rule.allows(page, "ws.example"), entry)
		require.Equal(t, entry == "*", rule.allows("http://app.example.com", "ws.example"), entry)
	}
	rule, err := newOriginRule([]string{"capacitor://localhost"})
	require.NoError(t, err)
	require.True(t, rule.allows("capacitor://localhost", "ws.example"))
}
