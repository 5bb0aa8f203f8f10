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
	if token, found := fromAuthorization(r.Header.Values("Authorization")); found {
		return token, proper(token)
	}
	if token, found := fromProtocols(r.Header.Values("Sec-Websocket-Protocol")); found {
		return token, proper(token)
	}
	if allowQuery {
		if tokens := r.URL.Query()["access_token"]; len(tokens) == 1 && proper(tokens[0]) {
			return tokens[0], true
		}
	}
	return "", false
}

// fromAuthorization returns the bearer token of a header and whether there is one.
// Of two tokens neither counts: token is then empty.
func fromAuthorization(lines []string) (token string, found bool) {
	for _, line := range lines {
		line = strings.Trim(line, " \t")
		scheme, rest := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			scheme, rest = line[:i], strings.Trim(line[i:], " \t")
		}
		if !strings.EqualFold(scheme, "Bearer") {
			continue
		}
		if found {
			return "", true // two: ambiguous
		}
		token, found = rest, true
	}
	return token, found
}

// fromProtocols is the same for subprotocols, whose names are case-sensitive.
func fromProtocols(lines []string) (token string, found bool) {
	size := 0
	for _, line := range lines {
		if size += len(line); size > maxProtocols {
			return "", true
		}
		for entry := range strings.SplitSeq(line, ",") {
			rest, ours := strings.CutPrefix(strings.Trim(entry, " \t"), wire.BearerPrefix)
			if !ours {
				continue
			}
			if found {
				return "", true
			}
			token, found = rest, true
		}
	}
	return token, found
}

// proper reports whether a text can be a bearer token (RFC 6750, section 2.1).
func proper(token string) bool {
	if token == "" || len(token) > MaxToken {
		return false
	}
	for i := range len(token) {
		switch c := token[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~+/=", c) >= 0:
		default:
			return false
		}
	}
	return true
}
