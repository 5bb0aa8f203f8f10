package auth

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pay-theory/streamer/backend/internal/wire"
)

// MaxScopes is how many scopes an identity may have.
const MaxScopes = 128

// Identity is who a verified token speaks for. It comes from the token alone:
// no message can name another.
type Identity struct {
	// Tenant is the wall that nothing crosses. 1 to 128 bytes of printable
	// UTF-8.
	Tenant string
	// Subject is the user or machine inside the tenant. The same rule.
	Subject string
	// Scopes are what it may do, sorted, each once; at most 128 scopes of at
	// most 128 bytes. Not to be changed: identities share it.
	Scopes []string
	// Expires is the first moment at which the token is refused, leeway
	// included. Zero: never.
	Expires time.Time
}

// HasScopes tells whether the identity has all of the scopes; it has all of
// none.
func (id Identity) HasScopes(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(id.Scopes, s) {
			return false
		}
	}
	return true
}

// Same tells whether other is the same tenant, subject and set of scopes, that
// is, whether its token may extend the time of a connection. Expiry does not
// count, and neither do the order and repetition of scopes.
func (id Identity) Same(other Identity) bool {
	return id.Tenant == other.Tenant && id.Subject == other.Subject &&
		slices.Equal(sortedScopes(id.Scopes), sortedScopes(other.Scopes))
}

// Validate returns an error that names the first rule which the identity
// breaks. Authenticators of this package return valid ones only; a server
// checks those of others.
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

// checkName judges a tenant or subject. Names become parts of keys and stand
// in logs, so that no two may look alike by characters that cannot be seen.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the %s is missing or empty", what)
	case len(name) > wire.MaxName:
		return fmt.Errorf("the %s is longer than %d bytes", what, wire.MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the %s is not UTF-8", what)
	}
	for _, r := range name {
		// The replacement character is what JSON decoders make of broken
		// text: several names would become one.
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return fmt.Errorf("the %s holds a character that is not printable", what)
		}
	}
	return nil
}

// validScope is the scope-token of RFC 6749, section 3.3, with a bound.
func validScope(s string) bool {
	if s == "" || len(s) > wire.MaxName {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return false
		}
	}
	return true
}

// sortedScopes returns the scopes in order, each once; the given slice itself
// if it is so already.
func sortedScopes(scopes []string) []string {
	for i := 1; i < len(scopes); i++ {
		if scopes[i-1] >= scopes[i] {
			scopes = slices.Clone(scopes)
			slices.Sort(scopes)
			return slices.Compact(scopes)
		}
	}
	return scopes
}
