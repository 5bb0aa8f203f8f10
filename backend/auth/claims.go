package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/pay-theory/streamer/backend/internal/jsonscan"
)

// maxNumericDate is the last second of the year 9999. Above it, a time may
// wrap around on its way through int64.
const maxNumericDate = 253402300799

// header holds the parts of a token's header that are used. Key material and
// addresses in it (`jwk`, `jku`, `x5c`, `x5u`) are ignored.
type header struct {
	algorithm string
	keyID     string
}

// parseHeader checks the first segment of a token more strictly than the JWT
// library does: names are exact and unique, and there are no critical extensions.
func parseHeader(segment string) (header, *Error) {
	data, err := jwt.NewParser(jwt.WithStrictDecoding()).DecodeSegment(segment)
	if err != nil {
		return header{}, unauthorized("the token's header is not base64url")
	}
	fields, err := splitObject(data)
	if err != nil {
		return header{}, unauthorized("the token's header is no JSON object with unique names")
	}
	if _, ok := fields["crit"]; ok {
		return header{}, unauthorized("the token's header has critical extensions, and none is known here")
	}
	var h header
	if decodeString(fields["alg"], &h.algorithm) != nil {
		return header{}, unauthorized("the token's algorithm is not a string")
	}
	if raw, ok := fields["kid"]; ok {
		if decodeString(raw, &h.keyID) != nil || h.keyID == "" || len(h.keyID) > maxKeyID {
			return header{}, unauthorized("the token's key id is not a string of 1 to 256 bytes")
		}
	}
	if raw, ok := fields["typ"]; ok {
		var typ string
		if decodeString(raw, &typ) != nil || !accessTokenType(typ) {
			return header{}, unauthorized("the token's type is not JWT or at+jwt")
		}
	}
	return h, nil
}

// accessTokenType reports whether a type is an access token's. The same issuer
// may sign other types, such as logout tokens and security events.
func accessTokenType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "jwt" || typ == "at+jwt"
}

// claims are a token's claims by their exact, unique names. The JWT library
// decodes into them; identity checks the rules.
type claims struct {
	// MapClaims implements the library's interface; it stays empty.
	jwt.MapClaims
	fields map[string]json.RawMessage
}

// UnmarshalJSON reads an object. It is not called for null.
func (c *claims) UnmarshalJSON(data []byte) (err error) {
	c.fields, err = splitObject(bytes.Clone(data))
	return err
}

// identity checks the claims and returns the token's identity. Expiry comes
// last: a token is reported as expired only if nothing else is wrong with it.
func (c *claims) identity(o *JWTOptions, now time.Time) (Identity, *Error) {
	var id Identity
	if c.fields == nil {
		return id, unauthorized("the token's claims are no JSON object")
	}
	if err := c.checkParties(o); err != nil {
		return id, err
	}
	if err := c.checkStart(now.Add(o.Leeway)); err != nil {
		return id, err
	}
	raw, ok := c.fields["exp"]
	if !ok {
		return id, unauthorized("the token has no expiry")
	}
	exp, err := numericDate(raw)
	if err != nil {
		return id, unauthorized("the token's expiry is not a time in seconds")
	}
	if decodeString(c.fields[o.TenantClaim], &id.Tenant) != nil {
		return id, unauthorized("the token's tenant is missing or not a string")
	}
	if decodeString(c.fields["sub"], &id.Subject) != nil {
		return id, unauthorized("the token's subject is missing or not a string")
	}
	if id.Scopes, err = c.scopes(); err != nil {
		return id, unauthorized(err.Error())
	}
	if err := id.Validate(); err != nil {
		return id, unauthorized(err.Error())
	}
	id.Expires = exp.Add(o.Leeway)
	if !now.Before(id.Expires) {
		return id, &Error{Kind: ErrExpired, Reason: "the token's time has run out"}
	}
	return id, nil
}

// checkParties checks the issuer and the audience.
func (c *claims) checkParties(o *JWTOptions) *Error {
	if o.Issuer != "" {
		var iss string
		if decodeString(c.fields["iss"], &iss) != nil || iss != o.Issuer {
			return unauthorized("the token's issuer is not the one that is trusted")
		}
	}
	if len(o.Audience) > 0 {
		aud, err := decodeStringOrStrings(c.fields["aud"])
		if err != nil || !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(o.Audience, a) }) {
			return unauthorized("the token's audience is not this server")
		}
	}
	return nil
}

// checkStart checks nbf and iat against the latest time that counts as now.
func (c *claims) checkStart(latest time.Time) *Error {
	for _, name := range []string{"nbf", "iat"} {
		raw, ok := c.fields[name]
		if !ok {
			continue
		}
		t, err := numericDate(raw)
		if err != nil {
			return unauthorized("the token's " + name + " is not a time in seconds")
		}
		if t.After(latest) {
			return unauthorized("the token's " + name + " lies in the future")
		}
	}
	return nil
}

// scopes joins the claims that issuers use for scopes. A string holds scopes
// separated by spaces, an array one scope per element.
func (c *claims) scopes() ([]string, error) {
	out := []string{}
	for _, name := range []string{"scope", "scopes", "scp"} {
		raw, ok := c.fields[name]
		if !ok {
			continue
		}
		var list string
		if decodeString(raw, &list) == nil {
			out = append(out, strings.FieldsFunc(list, func(r rune) bool { return r == ' ' })...)
			continue
		}
		several, err := decodeStrings(raw)
		if err != nil {
			return nil, errors.New("the token's scopes are neither a string nor an array of strings")
		}
		out = append(out, several...)
	}
	return sortedScopes(out), nil
}

var errType = errors.New("another JSON type is expected")

// decodeString decodes a JSON string; a missing value is an error. A lone surrogate
// becomes U+FFFD, which no name may have.
func decodeString(raw json.RawMessage, out *string) error {
	var s jsonscan.Scanner
	s.Reset(raw, 0)
	if s.Peek() != '"' {
		return errType
	}
	decoded, _ := s.String()
	if s.Err() != nil {
		return s.Err()
	}
	*out = string(decoded)
	return nil
}

// decodeStrings decodes an array of strings.
func decodeStrings(raw json.RawMessage) ([]string, error) {
	var s jsonscan.Scanner
	s.Reset(raw, 1)
	if s.Peek() != '[' {
		return nil, errType
	}
	out := []string{}
	for more := s.Enter(']'); more; more = s.More(']') {
		if s.Peek() != '"' {
			return nil, errType
		}
		decoded, _ := s.String()
		out = append(out, string(decoded))
	}
	return out, s.Err()
}

func decodeStringOrStrings(raw json.RawMessage) ([]string, error) {
	var one string
	if decodeString(raw, &one) == nil {
		return []string{one}, nil
	}
	return decodeStrings(raw)
}

// numericDate decodes a NumericDate of RFC 7519: seconds since 1970, possibly
// with a fraction.
func numericDate(raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || !jsonscan.BeginsNumber(raw[0]) {
		return time.Time{}, errType
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxNumericDate {
		return time.Time{}, errors.New("a time lies between the years 1970 and 9999")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// splitObject returns the fields of a JSON object by their names, which are
// case-sensitive and unique. The nesting is limited by the token's length.
func splitObject(data []byte) (map[string]json.RawMessage, error) {
	var s jsonscan.Scanner
	s.Reset(data, MaxToken)
	fields := s.Fields()
	s.ExpectEnd()
	return fields, s.Err()
}
