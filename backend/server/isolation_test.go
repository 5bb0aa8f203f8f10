package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pay-theory/streamer/backend/auth"
	"github.com/pay-theory/streamer/backend/internal/wire"
	"github.com/pay-theory/streamer/backend/server"
	"github.com/stretchr/testify/require"
)

// Invariant 5: tenants are walls, and inside one, subjects are doors. What is
// another's gets, to the byte, the answer of what is not there.
func TestInvariant05TenantsAreIsolated(t *testing.T) {
	h := start(t, server.Options{})
	ann := h.dial("ann")
	id := wire.NewID()
	ann.send(`{"type":"request","id":"%s","action":"wait","mode":"async"}`, id)
	ann.expect(wire.TypeAck)
	for _, other := range []string{"bob", "eve"} {
		p := h.dial(other)
		for _, verb := range []string{"subscribe", "cancel", "unsubscribe"} {
			answers := make([]wire.ServerMessage, 0, 2)
			for _, target := range []string{id, wire.NewIDAt(time.Now().Add(-time.Hour))} {
				p.send(`{"type":"%s","ref":"r","id":"%s"}`, verb, target)
				m := p.next()
				if m.ID == target {
					m.ID = ""
				}
				answers = append(answers, m)
			}
			require.Equal(t, answers[1], answers[0], "%s by %s: not yours is not there", verb, other)
		}
		p.send(`{"type":"list","ref":"l"}`)
		require.Empty(t, p.next().Calls)
	}
	// The same id in another tenant is another call; another subject of the
	// same tenant gets the one thing that a wall lets through.
	zoe, bob := h.dial("zoe"), h.dial("bob")
	zoe.send(`{"type":"request","id":"%s","action":"echo","mode":"async","payload":1}`, id)
	zoe.expect(wire.TypeAck)
	zoe.expect(wire.TypeResult)
	bob.send(`{"type":"request","id":"%s","action":"wait","mode":"async"}`, id)
	require.Equal(t, wire.CodeConflict, bob.next().Code)
	ann.send(`{"type":"subscribe","ref":"s","id":"%s"}`, id)
	require.Equal(t, "running", ann.next().Status, "nobody has cancelled it")
	ann.send(`{"type":"cancel","ref":"c","id":"%s"}`, id)
	require.Equal(t, wire.CodeCancelled, ann.next(wire.TypeOK).Code)
}

// Names that would be one key if they were joined carelessly are two.
func TestNamesDoNotCollide(t *testing.T) {
	odd := tokens{
		"1": {Tenant: "a", Subject: "b#c"}, "2": {Tenant: "a#b", Subject: "c"}, "3": {Tenant: "a/b", Subject: "c"}, "4": {Tenant: "a", Subject: "b/c"},
		"5": {Tenant: "A", Subject: "b#c"}, "6": {Tenant: "\u00e4", Subject: "c"}, "7": {Tenant: "a\u0308", Subject: "c"},
	}
	h := start(t, server.Options{Auth: odd})
	for i := range len(odd) {
		p := h.dial(fmt.Sprint(i + 1))
		p.send(`{"type":"request","id":"%s","action":"echo","idempotencyKey":"k","payload":%d}`, wire.NewID(), i)
		require.Equal(t, wire.TypeAck, p.next().Type, "identity %d", i+1)
		require.Equal(t, fmt.Sprint(i), string(p.next().Payload))
		p.send(`{"type":"list","ref":"l"}`)
		require.Len(t, p.next().Calls, 1)
	}
}

// Invariant 10: no silent refusal. Each bad input gets its code, and the connection
// lives on.
func TestInvariant10NoSilentRefusal(t *testing.T) {
	h := start(t, server.Options{})
	p := h.dial("bob")
	id := wire.NewID()
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	many := strings.Repeat(`{"type":"ping"},`, 65)
	cases := []struct{ send, code, field string }{
		{`{`, wire.CodeMalformed, ""},
		{`nonsense`, wire.CodeMalformed, ""},
		{`{"type":"ping"}{"type":"ping"}`, wire.CodeMalformed, ""},
		{"{\"type\":\"ping\xff\"}", wire.CodeMalformed, ""},
		{`{"type":"request","id":"` + id + `","action":"echo","payload":` + deep + `}`, wire.CodeMalformed, ""},
		{`17`, wire.CodeInvalidMessage, ""},
		{`{}`, wire.CodeInvalidMessage, "type"},
		{`{"type":"dance"}`, wire.CodeInvalidMessage, "type"},
		{`{"type":"ping","ref":"r"}`, wire.CodeInvalidMessage, "ref"},
		{`{"type":"ping","type":"ping"}`, wire.CodeInvalidMessage, "type"},
		{`{"type":"list"}`, wire.CodeInvalidMessage, "ref"},
		{`{"type":"list","ref":"r","limit":101}`, wire.CodeInvalidMessage, "limit"},
		{`{"type":"list","ref":"r","cursor":"AAAA"}`, wire.CodeInvalidCursor, "cursor"},
		{`{"type":"request","id":"7","action":"echo"}`, wire.CodeInvalidMessage, "id"},
		{`{"type":"request","id":"` + wire.NewIDAt(time.Now().Add(48*time.Hour)) + `","action":"echo"}`, wire.CodeInvalidMessage, "id"},
		{`{"type":"request","id":"` + wire.NewIDAt(time.Now().Add(-8*24*time.Hour)) + `","action":"echo"}`, wire.CodeExpiredID, ""},
		{`{"type":"request","id":"` + id + `","action":"none"}`, wire.CodeUnknownAction, "action"},
		{`{"type":"request","id":"` + id + `","action":"echo","group":"g"}`, wire.CodeUnsupported, "group"},
		{`{"type":"request","id":"` + id + `","action":"echo","surprise":1}`, wire.CodeInvalidMessage, "surprise"},
		{`{"type":"request","id":"` + id + `","action":"echo","timeoutMs":9007199254740993}`, wire.CodeInvalidMessage, "timeoutMs"},
		{`{"type":"request","id":"` + id + `","action":"echo","idempotencyKey":"\ud800"}`, wire.CodeInvalidMessage, "idempotencyKey"},
		{`{"type":"request","id":"` + id + `","action":"count","payload":"x"}`, wire.CodeInvalidPayload, ""},
		{`{"type":"request","id":"` + id + `","action":"count","payload":1,"mode":"sync"}`, wire.CodeModeRefused, "mode"},
		{`{"type":"request","id":"` + id + `","action":"guarded"}`, wire.CodeForbidden, ""},
		{`{"type":"seal","ref":"r","id":"` + id + `","size":1}`, wire.CodeUnsupported, "type"},
		{`{"type":"auth","ref":"r","token":"nobody"}`, wire.CodeUnauthorized, ""},
		{`{"type":"auth","ref":"r","token":"ann"}`, wire.CodeReconnectRequired, ""},
		{`[]`, wire.CodeInvalidBatch, ""},
		{`[[{"type":"ping"}]]`, wire.CodeInvalidBatch, ""},
		{`[` + many[:len(many)-1] + `]`, wire.CodeInvalidBatch, ""},
	}
	for _, c := range cases {
		p.send("%s", c.send)
		m := p.next()
		require.Equal(t, wire.TypeError, m.Type, c.send)
		require.Equal(t, c.code, m.Code, c.send)
		require.Equal(t, c.field, m.Field, c.send)
		require.NotEmpty(t, m.Message)
		require.NotNil(t, m.Final)
		require.NotNil(t, m.Retryable)
	}
	p.send(`[{"type":"ping"},{"type":"dance","ref":"d"},{"type":"ping"}]`)
	p.expect(wire.TypePong)
	m := p.next()
	require.Equal(t, 1, *m.Index)
	require.Equal(t, "d", m.Ref)
	p.expect(wire.TypePong)
}

func TestFramesThatCloseTheConnection(t *testing.T) {
	h := start(t, server.Options{})
	p := h.dial("ann")
	p.send(`{"type":"request","id":"%s","action":"echo","payload":"%s"}`, wire.NewID(), strings.Repeat("x", 32<<10))
	require.Equal(t, wire.CloseTooBig, p.closed())
	p = h.dial("ann")
	require.NoError(t, p.ws.WriteMessage(websocket.BinaryMessage, []byte(`{"type":"ping"}`)))
	require.Equal(t, wire.CloseUnsupportedData, p.closed())
}

// A handshake without a right token, origin or subprotocol is refused, each
// with its status and code; a token in the query string counts only if allowed.
func TestHandshakes(t *testing.T) {
	h := start(t, server.Options{Origins: []string{"https://app.example.com"}})
	cases := []struct {
		name   string
		header http.Header
		query  string
		plain  bool
		status int
		code   string
	}{
		{"no token", http.Header{}, "", false, 401, wire.CodeUnauthorized},
		{"unknown token", http.Header{"Authorization": {"Bearer no"}}, "", false, 401, wire.CodeUnauthorized},
		{"token in the query", http.Header{}, "?access_token=ann", false, 401, wire.CodeUnauthorized},
		{"foreign origin", http.Header{"Authorization": {"Bearer ann"}, "Origin": {"https://evil.example.com"}}, "", false, 403, wire.CodeOriginRefused},
		{"null origin", http.Header{"Authorization": {"Bearer ann"}, "Origin": {"null"}}, "", false, 403, wire.CodeOriginRefused},
		{"own origin", http.Header{"Authorization": {"Bearer ann"}, "Origin": {"https://app.example.com"}}, "", false, 101, ""},
		{"token as a subprotocol", http.Header{"Sec-Websocket-Protocol": {"streamer.bearer.ann, streamer.v1"}}, "", true, 101, ""},
		{"no subprotocol", http.Header{"Authorization": {"Bearer ann"}}, "", true, 400, wire.CodeNotStreamer},
		{"other subprotocol", http.Header{"Authorization": {"Bearer ann"}, "Sec-Websocket-Protocol": {"chat"}}, "", true, 400, wire.CodeNotStreamer},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := dialer
			if c.plain {
				d.Subprotocols = nil
			}
			ws, response, err := d.Dial(h.url+c.query, c.header)
			require.NotNil(t, response)
			defer func() { _ = response.Body.Close() }()
			require.Equal(t, c.status, response.StatusCode)
			if c.status == http.StatusSwitchingProtocols {
				require.NoError(t, err)
				require.Equal(t, wire.Subprotocol, ws.Subprotocol(), "the token is never answered back")
				require.NoError(t, ws.Close())
				return
			}
			var body struct{ Code, Message string }
			require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
			require.Equal(t, c.code, body.Code)
		})
	}
	response, err := web.Get(h.http[0].URL)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusUpgradeRequired, response.StatusCode)
}

// What callers may not read is not in the log either: payloads, tokens, and
// the detail of errors reach nobody but the right one of the two.
func TestLogsHoldNoSecrets(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	h := start(t, server.Options{Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	p := h.dial("ann")
	p.send(`{"type":"request","id":"%s","action":"fail","payload":"card-4111-1111"}`, wire.NewID())
	m := p.next(wire.TypeAck, wire.TypeAttempt)
	require.Equal(t, wire.CodeInternal, m.Code)
	require.NotContains(t, m.Message, "secret detail")
	p.send(`{"type":"auth","ref":"r","token":"token-that-is-secret"}`)
	p.next()
	h.stop(time.Second)
	require.NoError(t, log.Close())
	data, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	text := string(data)
	require.Contains(t, text, "secret detail", "the operator learns what the caller may not")
	require.Contains(t, text, m.ID)
	require.NotContains(t, text, "4111-1111")
	require.NotContains(t, text, "token-that-is-secret")
}

func TestOperators(t *testing.T) {
	h := start(t, server.Options{})
	p := h.dial("ann")
	id := wire.NewID()
	p.send(`{"type":"request","id":"%s","action":"fail"}`, id)
	m := p.next(wire.TypeAck, wire.TypeAttempt)
	require.Equal(t, wire.CodeInternal, m.Code)

	get := func(token, method, path, body string) (int, string) {
		r, err := http.NewRequest(method, h.admin+path, strings.NewReader(body))
		require.NoError(t, err)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := web.Do(r)
		require.NoError(t, err)
		defer func() { _ = response.Body.Close() }()
		data, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(data)
	}
	for token, want := range map[string]int{"": 401, "nobody": 401, "ann": 403, "operator": 200} {
		status, _ := get(token, "GET", "/dead", "")
		require.Equal(t, want, status, token)
	}
	_, text := get("operator", "GET", "/dead?limit=1", "")
	var page server.DeadLetters
	require.NoError(t, json.Unmarshal([]byte(text), &page))
	require.Len(t, page.Dead, 1)
	require.Equal(t, id, page.Dead[0].ID)
	status, text := get("operator", "POST", "/dead/retry", `{"tenant":"acme","id":"`+id+`"}`)
	require.Equal(t, 200, status, text)
	var again server.RetryResponse
	require.NoError(t, json.Unmarshal([]byte(text), &again))
	require.Equal(t, id, again.RetryOf)
	p.send(`{"type":"subscribe","ref":"r","id":"%s"}`, again.ID)
	// It runs: events may be sent before the page that is made meanwhile.
	require.Equal(t, wire.TypeSnapshot, p.next(wire.TypeAttempt, wire.TypeError).Type, "the owner follows it")
	right := `{"tenant":"acme","id":"` + id + `"`
	for body, want := range map[string]int{
		`{`: 400, ``: 400, `[]`: 400, `{"tenant":"acme"}`: 400, `{"tenant":"evil","id":"` + id + `"}`: 404, `{"tenant":"acme","id":"` + wire.NewID() + `"}`: 404,
		right + `}{}`: 400, right + `} x`: 400, right: 400, right + `,"id":"` + id + `"}`: 400, right + `,"more":1}`: 400, right + `]`: 400,
		`{"Tenant":"acme","ID":"` + id + `"}`: 400, `{"tenant":["acme"],"id":"` + id + `"}`: 400, `{"tenant":"acme","id":"` + strings.ToUpper(id) + `"}`: 400,
		right + `,"pad":"` + strings.Repeat("x", 5000) + `"}`: 400,
	} {
		status, _ := get("operator", "POST", "/dead/retry", body)
		require.Equal(t, want, status, body)
	}
	// Once retried, it is retried: one call, whoever asks for it how often.
	ids := map[string]bool{}
	for range 5 {
		status, text = get("operator", "POST", "/dead/retry", right+"}")
		if status == http.StatusConflict { // the retry has died by now
			require.Contains(t, text, again.ID)
			continue
		}
		require.Equal(t, 200, status, text)
		var more server.RetryResponse
		require.NoError(t, json.Unmarshal([]byte(text), &more))
		ids[more.ID] = true
	}
	require.LessOrEqual(t, len(ids), 1)
	p.send(`{"type":"list","ref":"l"}`)
	require.Len(t, p.next(wire.TypeAttempt, wire.TypeError, wire.TypeAck).Calls, 2)
	status, _ = get("operator", "GET", "/dead?limit=x", "")
	require.Equal(t, 400, status)
	web.CloseIdleConnections()
}

// Without a key a server starts only on request, and on loopback only.
func TestDevelopmentIsLoopbackOnly(t *testing.T) {
	_, err := server.New(router(), &server.Options{Data: t.TempDir() + "/x.db"})
	require.ErrorContains(t, err, "Auth is not set")
	_, err = server.New(router(), &server.Options{Data: t.TempDir() + "/x.db", Development: true, Address: ":8080"})
	require.ErrorContains(t, err, "loopback")
	_, err = server.New(router(), &server.Options{Data: t.TempDir() + "/x.db", Development: true, AdminAddress: "0.0.0.0:1"})
	require.ErrorContains(t, err, "loopback")
	s, err := server.New(router(), &server.Options{Data: t.TempDir() + "/x.db", Development: true, Address: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	token, err := s.DevelopmentToken(auth.Grant{Tenant: "t", Subject: "s"})
	require.NoError(t, err)
	require.NotEmpty(t, token)
	require.NoError(t, s.Shutdown(t.Context()))
}
