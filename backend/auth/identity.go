package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// MaxScopes is how many scopes an identity may have.
const MaxScopes = 128

// Identity is the tenant and subject of a verified token. It comes only from the
// token: no message can name another.
type Identity struct {
	// Tenant separates customers: nothing is visible across tenants. 1 to 128
	// bytes of printable UTF-8.
	Tenant string
	// Subject is the user or machine inside the tenant. The same rule.
	Subject string
	// Scopes are the permissions, sorted and unique; at most 128 scopes of at
	// most 128 bytes. Must not be modified: identities share the slice.
	Scopes []string
	// Expires is the time from which on the token is refused, leeway included.
	// Zero: never.
	Expires time.Time
}

// HasScopes reports whether the identity has all of the scopes; without scopes
// it returns true.
func (id Identity) HasScopes(scopes ...string) bool {
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(id.Scopes, s) })
}

// Same reports whether other has the same tenant, subject and set of scopes, that
// is, whether its token may extend the time of a connection. Expiry and the order
// and repetition of scopes are ignored.
func (id Identity) Same(other Identity) bool {
	return id.Tenant == other.Tenant && id.Subject == other.Subject &&
		slices.Equal(sortedScopes(id.Scopes), sortedScopes(other.Scopes))
}

// Validate returns an error that names the first rule that the identity breaks.
// Authenticators of this package return only valid identities; a server checks
// those of other authenticators.
func (id Identity) Validate() error {
	if err := checkName("tenant", id.Tenant); err != nil {
		return err
	}
	if err := checkName("subject", id.Subject); err != nil {
		return err
	}
	if len(id.Scopes) > MaxScopes {
		return fmt.Errorf("an identity has at most %d scopes", MaxScopes)
	}
	for i, s := range id.Scopes {
		if !validScope(s) {
			return errors.New("a scope is 1 to 128 printable ASCII characters without space, quote and backslash")
		}
		if i > 0 && id.Scopes[i-1] >= s {
			return errors.New("scopes are sorted and unique")
		}
	}
	return nil
}

// checkName checks a tenant or subject. Names become parts of keys and appear in
// logs, so two names must not differ only in invisible characters.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is missing or empty", what)
	case len(name) > wire.MaxName:
		return fmt.Errorf("the %s is longer than %d bytes", what, wire.MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not UTF-8", what)
	}
	// JSON decoders turn invalid text into the replacement character: several names
	// would become one.
	if strings.ContainsFunc(name, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) {
		return fmt.Errorf("the %s holds a character that is not printable", what)
	}
	return nil
}

// validScope is the scope-token of RFC 6749, section 3.3, with a bound.
func validScope(s string) bool {
	return s != "" && len(s) <= wire.MaxName &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' })
}

// sortedScopes returns a copy of the scopes, sorted and unique.
func sortedScopes(scopes []string) []string {
	scopes = slices.Clone(scopes)
	slices.Sort(scopes)
	return slices.Compact(scopes)
}
