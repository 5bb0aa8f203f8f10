package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// maxNumericDate is the last second of the year 9999. Above it, a time may
// wrap around on its way through int64.
const maxNumericDate = 253402300799

// header is what counts of a token's header. Key material and addresses in it
// (`jwk`, `jku`, `x5c`, `x5u`) are never looked at.
type header struct {
	algorithm string
	keyID     string
}

// parseHeader judges the first segment of a token, more strictly than the JWT
// library does: its names are exact, each comes once, and there is nothing
// critical that we would have to understand.
func parseHeader(segment string) (header, *Error) {
	data, err := jwt.NewParser(jwt.WithStrictDecoding()).DecodeSegment(segment)
	if err != nil {
		return header{}, unauthorized("the token's header is not base64url")
	}
	fields, err := object(data)
	if err != nil {
		return header{}, unauthorized("the token's header is no JSON object with unique names")
	}
	if _, ok := fields["crit"]; ok {
		return header{}, unauthorized("the token's header has critical extensions, and none is known here")
	}
	var h header
	if text(fields["alg"], &h.algorithm) != nil {
		return header{}, unauthorized("the token's algorithm is not a string")
	}
	if raw, ok := fields["kid"]; ok {
		if text(raw, &h.keyID) != nil || h.keyID == "" || len(h.keyID) > maxKeyID {
			return header{}, unauthorized("the token's key id is not a string of 1 to 256 bytes")
		}
	}
	if raw, ok := fields["typ"]; ok {
		var typ string
		if text(raw, &typ) != nil || !accessTokenType(typ) {
			return header{}, unauthorized("the token's type is not JWT or at+jwt")
		}
	}
	return h, nil
}

// accessTokenType keeps out what the same issuer signs for other ends, like
// logout tokens and security events.
func accessTokenType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "jwt" || typ == "at+jwt"
}

// claims are a token's claims by their exact names, each once. The JWT library
// decodes into them; the rules are in judge.
type claims struct {
	// MapClaims makes them claims to the library; it stays empty.
	jwt.MapClaims
	fields map[string]json.RawMessage
}

// UnmarshalJSON takes an object; the library never calls it for null.
func (c *claims) UnmarshalJSON(data []byte) (err error) {
	c.fields, err = object(data)
	return err
}

// judge tells who the token speaks for. Expiry comes last: a token is called
// expired only if nothing else is wrong with it.
func (c *claims) judge(o *JWTOptions, now time.Time) (Identity, *Error) {
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
	if text(c.fields[o.TenantClaim], &id.Tenant) != nil {
		return id, unauthorized("the token's tenant is missing or not a string")
	}
	if text(c.fields["sub"], &id.Subject) != nil {
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

// checkParties judges who made the token and whom it is for.
func (c *claims) checkParties(o *JWTOptions) *Error {
	if o.Issuer != "" {
		var iss string
		if text(c.fields["iss"], &iss) != nil || iss != o.Issuer {
			return unauthorized("the token's issuer is not the one that is trusted")
		}
	}
	if len(o.Audience) > 0 {
		aud, err := textOrTexts(c.fields["aud"])
		if err != nil || !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(o.Audience, a) }) {
			return unauthorized("the token's audience is not this server")
		}
	}
	return nil
}

// checkStart judges nbf and iat against the latest moment that counts as now.
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

// scopes joins the claims in which issuers put them. A string holds scopes
// separated by spaces, an array one scope an element.
func (c *claims) scopes() ([]string, error) {
	out := []string{}
	for _, name := range []string{"scope", "scopes", "scp"} {
		raw, ok := c.fields[name]
		if !ok {
			continue
		}
		var list string
		if text(raw, &list) == nil {
			for s := range strings.SplitSeq(list, " ") {
				if s != "" {
					out = append(out, s)
				}
			}
			continue
		}
		several, err := texts(raw)
		if err != nil {
			return nil, errors.New("the token's scopes are neither a string nor an array of strings")
		}
		out = append(out, several...)
	}
	return sortedScopes(out), nil
}

var errType = errors.New("another JSON type is expected")

// text decodes a JSON string; a missing value is an error.
func text(raw json.RawMessage, out *string) error {
	if len(raw) == 0 || raw[0] != '"' {
		return errType
	}
	return json.Unmarshal(raw, out)
}

// texts decodes an array of strings.
func texts(raw json.RawMessage) ([]string, error) {
	if len(raw) == 0 || raw[0] != '[' {
		return nil, errType
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, err
	}
	out := make([]string, len(elements))
	for i, e := range elements {
		if err := text(e, &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func textOrTexts(raw json.RawMessage) ([]string, error) {
	var one string
	if text(raw, &one) == nil {
		return []string{one}, nil
	}
	return texts(raw)
}

// numericDate decodes a NumericDate of RFC 7519: seconds since 1970, of which
// fractions count no less.
func numericDate(raw json.RawMessage) (time.Time, error) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return time.Time{}, errType
	}
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || seconds < 0 || seconds > maxNumericDate {
		return time.Time{}, errors.New("a time lies between the years 1970 and 9999")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// object splits a JSON object into its fields. Unlike encoding/json it refuses
// repeated names and bytes that are not UTF-8; and names are exact, not of any
// case.
func object(data []byte) (map[string]json.RawMessage, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("no object")
	}
	fields := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("a name is a string")
		}
		if _, double := fields[name]; double {
			return nil, errors.New("a name comes twice")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return fields, nil
}
