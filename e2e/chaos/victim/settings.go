// Package victim is the server that chaos runs kill: the real one, with its
// real store, in a process of its own. Between the two stands a decorator that
// ends the process, by SIGKILL, right before or after a chosen write.
package victim

import (
	"encoding/json"
	"time"

	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/e2e/chaos/plan"
)

// Variable is the environment variable that makes a program a victim. It holds
// Settings as JSON.
const Variable = "STREAMER_CHAOS_VICTIM"

// Tenant and Subject own all calls of a run.
const (
	Tenant  = "acme"
	Subject = "ann"
)

// everybody in a run knows the secret that tokens are signed with.
const secret = "a secret of thirty-two bytes, at least"

// Settings are what a victim is started with.
type Settings struct {
	// Run is the number of the process, from 1.
	Run     int    `json:"run"`
	Data    string `json:"data"`
	Journal string `json:"journal"`
	// Workers and Retention are the server's; 0: its defaults.
	Workers   int           `json:"workers"`
	Retention time.Duration `json:"retention"`
	// Expire is how often clean-up runs beside the server's own; 0: never.
	Expire time.Duration `json:"expire"`
	// Point is the moment to die at, at the Nth time and after Delay. Moments
	// that others bring about are ignored.
	Point plan.Point    `json:"point"`
	Nth   int           `json:"nth"`
	Delay time.Duration `json:"delay"`
}

// Environment returns the variable that starts a victim with these settings.
func (s *Settings) Environment() (string, error) {
	text, err := json.Marshal(s)
	return Variable + "=" + string(text), err
}

// Token returns a token that is good a month long, whichever way the server's
// clock is stepped by less than a day: it says that it was made yesterday.
func Token() (string, error) {
	issuer, err := auth.NewIssuer(&auth.IssuerOptions{
		Secret: []byte(secret), Now: func() time.Time { return time.Now().Add(-24 * time.Hour) },
	})
	if err != nil {
		return "", err
	}
	return issuer.Mint(auth.Grant{Tenant: Tenant, Subject: Subject, TTL: auth.MaxTTL})
}
