package auth

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHasScopes(t *testing.T) {
	id := Identity{Scopes: []string{"a", "b"}}
	require.True(t, id.HasScopes())
	require.True(t, id.HasScopes("b"))
	require.True(t, id.HasScopes("b", "a"))
	require.False(t, id.HasScopes("a", "c"))
	require.False(t, Identity{}.HasScopes(""))
}

// TestSame: only the tenant, the subject and the set of scopes are compared.
func TestSame(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "b", "ab"})
	rapid.Check(t, func(t *rapid.T) {
		draw := func() Identity {
			return Identity{
				Tenant: names.Draw(t, "tenant"), Subject: names.Draw(t, "subject"),
				Scopes:  rapid.SliceOfN(names, 0, 4).Draw(t, "scopes"),
				Expires: time.Unix(rapid.Int64Range(0, 9).Draw(t, "expires"), 0),
			}
		}
		x, y := draw(), draw()
		before := slices.Clone(x.Scopes)
		want := x.Tenant == y.Tenant && x.Subject == y.Subject && y.HasScopes(x.Scopes...) && x.HasScopes(y.Scopes...)
		require.Equal(t, want, x.Same(y))
		require.Equal(t, want, y.Same(x))
		require.True(t, x.Same(x))
		require.Equal(t, before, x.Scopes, "Same must not reorder what it compares")
	})
}

// manyScopes returns n scopes, sorted and unique.
func manyScopes(n int) []string {
	many := make([]string, n)
	for i := range many {
		many[i] = strconv.Itoa(1000 + i)
	}
	return many
}

func TestValidate(t *testing.T) {
	require.NoError(t, Identity{Tenant: "t", Subject: "s"}.Validate())
	require.NoError(t, Identity{Tenant: "t", Subject: "s", Scopes: []string{"!", "~"}}.Validate())
	many := manyScopes(MaxScopes + 1)
	require.NoError(t, Identity{Tenant: "t", Subject: "s", Scopes: many[1:]}.Validate())
	for want, id := range map[string]Identity{
		"tenant is missing":  {Subject: "s"},
		"subject is missing": {Tenant: "t"},
		"longer":             {Tenant: "t", Subject: strings.Repeat("s", 129)},
		"UTF-8":              {Tenant: "\xff", Subject: "s"},
		"printable":          {Tenant: "t", Subject: "s\x1b[2J"},
		"at most 128":        {Tenant: "t", Subject: "s", Scopes: many},
		"a scope is":         {Tenant: "t", Subject: "s", Scopes: []string{"ä"}},
		"sorted":             {Tenant: "t", Subject: "s", Scopes: []string{"b", "a"}},
		"unique":             {Tenant: "t", Subject: "s", Scopes: []string{"a", "a"}},
	} {
		require.ErrorContains(t, id.Validate(), want)
	}
}

func TestStatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Static{
			"good":  {Tenant: "t", Subject: "s", Scopes: []string{"b", "a"}},
			"brief": {Tenant: "t", Subject: "s", Expires: time.Now().Add(time.Minute)},
			"odd":   {Tenant: "t"},
		}
		id, err := s.Authenticate(t.Context(), "good")
		require.NoError(t, err)
		require.NoError(t, id.Validate())
		_, err = s.Authenticate(t.Context(), "brief")
		require.NoError(t, err)
		pass(time.Minute)
		_, err = s.Authenticate(t.Context(), "brief")
		require.ErrorIs(t, err, ErrExpired)
		for _, token := range []string{"odd", "", "unknown"} {
			_, err = s.Authenticate(t.Context(), token)
			require.ErrorIs(t, err, ErrUnauthorized)
		}
	})
}
