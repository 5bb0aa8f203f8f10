package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pay-theory/streamer/backend/server"
	"github.com/pay-theory/streamer/client-go"
)

// operator holds the flags that name an admin listener and a token for it.
type operator struct {
	AdminURL string `group:"Connection:" env:"STREAMER_ADMIN_URL" default:"http://127.0.0.1:8081" placeholder:"URL" help:"The server's listener for operators: http or https. Default: ${default}"`
	access
}

const (
	adminTimeout = 15 * time.Second
	// maxAdminResponse bounds a response, in bytes.
	maxAdminResponse = 1 << 20
)

// request makes a request to the admin listener, and decodes its response into
// out.
func (o *operator) request(ctx context.Context, method, path string, query url.Values, in, out any) error {
	base, err := url.Parse(o.AdminURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil {
		return usageFailure("the admin URL is not valid", "it looks like http://127.0.0.1:8081")
	}
	source, err := o.tokenSource(base, server.OperatorScope)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	target := base.JoinPath(path)
	target.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, target.String(), &body)
	if err != nil {
		return err
	}
	if source.fetch != nil {
		token, err := source.fetch(ctx)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return o.roundTrip(r, source.hint, out)
}

func (o *operator) roundTrip(r *http.Request, tokenHint string, out any) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	// A redirect would send the request, and perhaps the token, elsewhere.
	h := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := h.Do(r) //nolint:gosec // the user names the server
	if err != nil {
		if interrupted(r.Context()) {
			return errInterrupted
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return &failure{
			exit: exitUnavailable, text: "unavailable: no answer from " + clean(o.AdminURL) + ": " + clean(err.Error()), err: err,
			hint: "is it running? --admin-url names another admin listener",
		}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminResponse))
	if err != nil {
		return &failure{exit: exitUnavailable, text: "the response is incomplete: " + clean(err.Error()), err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return refusal(resp.StatusCode, text, tokenHint)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return notStreamer("the response is not that of an admin listener")
	}
	return nil
}

// refusal makes a failure of a response without success.
func refusal(status int, text []byte, tokenHint string) error {
	var body struct{ Code, Message string }
	if json.Unmarshal(text, &body) != nil || body.Code == "" {
		return notStreamer("the server answered " + strings.ToLower(http.StatusText(status)))
	}
	why := codedFailure(&client.Error{Code: body.Code, Message: body.Message})
	switch body.Code {
	case client.CodeUnauthorized, client.CodeTokenExpired:
		why.hint = tokenHint
	case client.CodeForbidden:
		why.hint = "the token needs the scope " + server.OperatorScope
	}
	return why
}

func notStreamer(text string) error {
	return &failure{exit: exitUnavailable, text: client.CodeNotStreamer + ": " + text, hint: "check --admin-url"}
}
