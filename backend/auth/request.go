package auth

import (
	"net/http"
	"strings"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// maxProtocols bounds the bytes of Sec-WebSocket-Protocol that are read: a token
// and some version names.
const maxProtocols = MaxToken + 1024

// FromRequest returns the token of a WebSocket handshake. The first of these
// places that is not empty is used, even if it holds no valid token:
//
//  1. `Authorization: Bearer TOKEN`; other schemes are ignored, because a proxy
//     may use them;
//  2. an entry `streamer.bearer.TOKEN` of `Sec-WebSocket-Protocol`;
//  3. the query's `access_token`, if allowQuery: addresses appear in the logs of
//     every proxy, so avoid it where possible.
//
// ok is false if there is no token, if the place holds more than one, or if the
// token is longer than MaxToken or no b64token of RFC 6750.
func FromRequest(r *http.Request, allowQuery bool) (token string, ok bool) {
	tokens := fromAuthorization(r.Header.Values("Authorization"))
	if len(tokens) == 0 {
		tokens = fromProtocols(r.Header.Values("Sec-Websocket-Protocol"))
	}
	if len(tokens) == 0 && allowQuery {
		tokens = r.URL.Query()["access_token"]
	}
	if len(tokens) != 1 || !isBearer(tokens[0]) {
		return "", false
	}
	return tokens[0], true
}

// fromAuthorization returns the bearer tokens of a header.
func fromAuthorization(lines []string) (tokens []string) {
	for _, line := range lines {
		scheme, rest := strings.Trim(line, " \t"), ""
		if i := strings.IndexAny(scheme, " \t"); i >= 0 {
			scheme, rest = scheme[:i], strings.Trim(scheme[i:], " \t")
		}
		if strings.EqualFold(scheme, "Bearer") {
			tokens = append(tokens, rest)
		}
	}
	return tokens
}

// fromProtocols returns the tokens among subprotocols, whose names are
// case-sensitive. If it does not read them all, it returns one that is none.
func fromProtocols(lines []string) (tokens []string) {
	size := 0
	for _, line := range lines {
		if size += len(line); size > maxProtocols {
			return []string{""}
		}
		for entry := range strings.SplitSeq(line, ",") {
			if token, ours := strings.CutPrefix(strings.Trim(entry, " \t"), wire.BearerPrefix); ours {
				tokens = append(tokens, token)
			}
		}
	}
	return tokens
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// isBearer reports whether a text can be a bearer token (RFC 6750, section 2.1).
func isBearer(token string) bool {
	return token != "" && len(token) <= MaxToken && strings.Trim(token, alphanumeric+"-._~+/=") == ""
}
