package server

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// origin is where a page comes from. Two origins are the same if they are equal.
type origin struct {
	scheme, host string
	port         string // empty: the scheme's default
}

// newOrigin returns the origin of a host, with or without a port, under a scheme.
func newOrigin(scheme, host string) origin {
	u := url.URL{Host: strings.ToLower(host)}
	o := origin{strings.ToLower(scheme), u.Hostname(), u.Port()}
	if o.scheme == "https" && o.port == "443" || o.scheme == "http" && o.port == "80" {
		o.port = ""
	}
	return o
}

// parseOrigin parses an origin as browsers send it, or as an option may name it: with
// a slash at its end, and with the scheme's default port.
func parseOrigin(text string) (origin, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsAny(text, " ,*"):
		return origin{}, errors.New("it must be one origin, or \"*\" for all")
	case u.Scheme == "" || u.Host == "":
		return origin{}, errors.New("it must have a scheme and a host, as in https://app.example.com")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return origin{}, errors.New("it must have no path, query, fragment or user")
	}
	return newOrigin(u.Scheme, u.Host), nil
}

// originRule decides which pages may connect.
type originRule struct {
	all     bool
	allowed []origin // empty: the server's own
}

func newOriginRule(texts []string) (r originRule, err error) {
	for _, text := range texts {
		if text == "*" {
			r.all = true
			continue
		}
		o, err := parseOrigin(text)
		if err != nil {
			return r, fmt.Errorf("server: the option Origins holds %q: %w", text, err)
		}
		r.allowed = append(r.allowed, o)
	}
	return r, nil
}

// allows reports whether a page may connect to a host. Clients that are no browsers
// send no origin.
func (r *originRule) allows(sent, host string) bool {
	if sent == "" || r.all {
		return true
	}
	o, err := parseOrigin(sent)
	if err != nil {
		return false
	}
	if len(r.allowed) == 0 {
		return o == newOrigin(o.scheme, host)
	}
	return slices.Contains(r.allowed, o)
}
