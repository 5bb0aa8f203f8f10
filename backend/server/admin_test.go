package server

import (
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/stretchr/testify/require"
)

func TestRetryRequestsAreReadStrictly(t *testing.T) {
	id := wire.NewID()
	for text, want := range map[string]string{
		`{"tenant":"acme","id":"$"}`:                    "",
		" { \"\\u0069d\" : \"$\" ,\n \"tenant\":\"é\"}": "",
		``:                              "the body is no JSON object",
		`["acme","$"]`:                  "the body is no JSON object",
		`{"tenant":"acme",1}`:           "the body is no JSON object",
		"{\"tenant\":\"\xff\"}":         "the body is no JSON object",
		`{"Tenant":"acme","id":"$"}`:    "a field is unknown, or comes twice",
		`{"id":"$","\u0069d":"$"}`:      "a field is unknown, or comes twice",
		`{"\ud800":"$"}`:                "a field is unknown, or comes twice",
		`{"tenant":null}`:               "a field is not a string",
		`{"tenant":["acme"]}`:           "a field is not a string",
		`{"tenant":"\ud800","id":"$"}`:  "a field is not a string",
		`{"tenant":"acme","id":"$"`:     "the body is cut",
		`{"tenant":"acme","id":"$"]`:    "the body is cut",
		`{"tenant":"acme","id":"$"} {}`: "something follows the object",
		`{"tenant":"acme"}`:             "the tenant is missing, or the id is none",
		`{"tenant":"acme","id":"1"}`:    "the tenant is missing, or the id is none",
		`{}`:                            "the tenant is missing, or the id is none",
	} {
		in, err := decodeRetry(strings.NewReader(strings.ReplaceAll(text, "$", id)))
		if want == "" {
			require.NoError(t, err, text)
			require.Equal(t, id, in.ID)
			continue
		}
		require.EqualError(t, err, want, text)
	}
}
