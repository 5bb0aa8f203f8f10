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

// operator is an admin listener that a command speaks to.
type operator struct {
	AdminURL string `group:"Connection:" env:"STREAMER_ADMIN_URL" default:"http://127.0.0.1:8081" placeholder:"URL" help:"The server's listener for operators: http or https. Default: ${default}"`
	access
}

const (
	// adminWait bounds a request to the admin listener.
	adminWait = 15 * time.Second
	// maxAdmin bounds its answer, in bytes.
	maxAdmin = 1 << 20
)

// do makes a request and reads its answer into out.
func (o *operator) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	base, err := url.Parse(o.AdminURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil {
		return usage("the admin URL is none", "it looks like http://127.0.0.1:8081")
	}
	source, err := o.tokens(base, server.OperatorScope)
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
	ctx, cancel := context.WithTimeout(ctx, adminWait)
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
	return o.exchange(r, source.hint, out)
}

func (o *operator) exchange(r *http.Request, hint string, out any) error {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	// A redirect would take the request, and perhaps the token, elsewhere.
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
			hint: "is it running? the admin listener is named by --admin-url",
		}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAdmin))
	if err != nil {
		return &failure{exit: exitUnavailable, text: "the answer broke off: " + clean(err.Error()), err: err}
	}
	if resp.StatusCode != http.StatusOK {
		return refusedBy(resp.StatusCode, text, hint)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return &failure{exit: exitUnavailable, text: "not_streamer: the answer is none of an admin listener", hint: "check --admin-url"}
	}
	return nil
}

// refusedBy makes a failure of an answer that is none.
func refusedBy(status int, text []byte, hint string) error {
	var body struct{ Code, Message string }
	if json.Unmarshal(text, &body) != nil || body.Code == "" {
		return &failure{
			exit: exitUnavailable, text: "not_streamer: the server answered " + strings.ToLower(http.StatusText(status)), hint: "check --admin-url",
		}
	}
	why := answered(&client.Error{Code: body.Code, Message: body.Message})
	switch body.Code {
	case client.CodeUnauthorized, client.CodeTokenExpired:
		why.hint = hint
	case client.CodeForbidden:
		why.hint = "the token needs the scope " + server.OperatorScope
	}
	return why
}
