package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/require"
)

// Isolation: calls of other tenants and subjects.
var isolationAttacks = []attack{
	{"guessed ids, and their timing", guessedIDs},
	{"cursors made by hand", cursors},
	{"names that collide when joined", collidingNames},
	{"logs: forged lines, secrets", forgedLogs},
}

// What another's id is answered equals, to the byte, what an id is answered
// that nobody has. How long that takes is printed; ids cannot be guessed.
func guessedIDs(a *assault) string {
	owner := a.dial(a.mint("acme", "bob"))
	theirs := make([]string, 40)
	for i := range theirs {
		theirs[i] = client.NewID()
		m := a.roundTrip(owner, `{"type":"request","id":"%s","action":"later","delayMs":3600000}`, theirs[i])
		require.Equal(a, "ack", m.Type)
	}
	colleague := a.dial(a.mint("acme", "eve"))
	took := map[string][]time.Duration{}
	probe := func(who string, p *rawSocket, verb, id string) string {
		begun := time.Now()
		m := a.roundTrip(p, `{"type":"%s","ref":"r","id":"%s"}`, verb, id)
		took[who] = append(took[who], time.Since(begun))
		return strings.ReplaceAll(m.raw, id, "ID")
	}
	otherTenant := a.dial(a.token)
	for i := range 600 {
		id := theirs[i%len(theirs)]
		// Each in turn, so that whatever else the machine does hits all alike.
		none := probe("nobody's", colleague, "subscribe", client.NewID())
		require.Equal(a, none, probe("a colleague's", colleague, "subscribe", id))
		require.Equal(a, none, probe("another tenant's", otherTenant, "subscribe", id))
	}
	for _, verb := range []string{"cancel", "unsubscribe"} {
		none := probe("", colleague, verb, client.NewID())
		require.Equal(a, none, probe("", colleague, verb, theirs[0]))
		require.Equal(a, none, probe("", otherTenant, verb, theirs[0]))
	}
	require.Empty(a, a.roundTrip(otherTenant, `{"type":"list","ref":"l"}`).Calls)
	require.Empty(a, a.roundTrip(colleague, `{"type":"list","ref":"l"}`).Calls)
	// That an id is taken can be noticed within a tenant, but not between tenants.
	same := `{"type":"request","id":"%s","action":"echo","payload":1}`
	require.Equal(a, "conflict", a.roundTrip(colleague, same, theirs[1]).Code)
	require.Equal(a, "result", a.roundTrip(otherTenant, same, theirs[1]).Type)
	require.Equal(a, "queued", a.roundTrip(owner, `{"type":"subscribe","ref":"s","id":"%s"}`, theirs[0]).Status, "nobody has cancelled it")

	median := func(who string) float64 {
		slices.Sort(took[who])
		return float64(took[who][len(took[who])/2])
	}
	none := median("nobody's")
	return fmt.Sprintf("the same bytes; medians of time: a colleague's %.2f, another tenant's %.2f × nobody's",
		median("a colleague's")/none, median("another tenant's")/none)
}

// A cursor is a position in a list of its reader's own, and belongs to its
// filter. Nothing else is one.
func cursors(a *assault) string {
	owner := a.dial(a.mint("acme", "carol"))
	for range 5 {
		m := a.roundTrip(owner, `{"type":"request","id":"%s","action":"later","delayMs":3600000}`, client.NewID())
		require.Equal(a, "ack", m.Type)
	}
	page := a.roundTrip(owner, `{"type":"list","ref":"l","limit":2}`)
	theirs := page.Cursor
	require.NotEmpty(a, theirs)
	p := a.dial(a.token)
	var got outcomeCounts
	// A cursor names a time and no subject: another subject's list shows her own calls.
	m := a.roundTrip(p, `{"type":"list","ref":"l","limit":2,"cursor":"%s"}`, theirs)
	require.Equal(a, "calls", m.Type)
	require.Empty(a, m.Calls)
	got.add("another's: her own calls")

	bytesOf, err := base64.RawURLEncoding.DecodeString(theirs)
	require.NoError(a, err)
	flipped := slices.Clone(bytesOf)
	flipped[8] ^= 1
	crafted := append(slices.Clone(bytesOf[:16]), []byte("' OR 1=1 --")...)
	far := append([]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, bytesOf[8:]...)
	before := append([]byte{0x80, 0, 0, 0, 0, 0, 0, 0}, bytesOf[8:]...)
	enc := base64.RawURLEncoding.EncodeToString
	for name, cursor := range map[string]string{
		"cut": theirs[:10], "cut by one": theirs[:len(theirs)-1], "one byte": "A", "rubbish": enc([]byte("rubbish of the right base64")),
		"10 KB": strings.Repeat("A", 10<<10), "of another filter": enc(flipped), "with a tail": enc(append(slices.Clone(bytesOf), 'x')),
		"crafted": enc(crafted), "far in the future": enc(far), "before all time": enc(before), "padded": theirs + "==",
		"standard base64": "+/+/" + theirs, "with a space": " " + theirs, "JSON": `{\"tenant\":\"acme\"}`, "NUL": `\u0000`,
	} {
		m := a.roundTrip(owner, `{"type":"list","ref":"l","limit":2,"cursor":"%s"}`, cursor)
		if m.Type == "calls" { // a position that her own list may well have
			require.LessOrEqual(a, len(m.Calls), 2, name)
			for _, call := range m.Calls {
				require.Contains(a, string(call), `"later"`)
			}
			got.add("a place in her own list")
			continue
		}
		require.Contains(a, []string{"invalid_cursor", "invalid_message"}, m.Code, "%s: %s", name, m.raw)
		got.add(m.Code)
	}
	m = a.roundTrip(owner, `{"type":"list","ref":"l","limit":2,"status":"queued","cursor":"%s"}`, theirs)
	require.Equal(a, "invalid_cursor", m.Code, "made for another filter")
	return got.String()
}

// separators are all that could stand between the parts of a key.
var separators = []string{"#", "/", ":", "|", ",", ";", ".", "-", "_", "@", "&", "=", "%", "\\", "~", "!", " ", "::", "//"}

// collidingNames are pairs of identities that would be one if their parts were
// joined; over the embedded store each keeps to itself.
func collidingNames(a *assault) string {
	id := client.NewID()
	identities := map[[2]string]bool{}
	for _, sep := range separators {
		for _, pair := range [][2]string{{"a", "b" + sep + "c"}, {"a" + sep + "b", "c"}, {"a" + sep, "b"}, {"a", sep + "b"}, {"a" + sep + "b" + sep + "c", "d"}} {
			identities[pair] = true
		}
	}
	n := 0
	for pair := range identities {
		p := a.dial(a.mint(pair[0], pair[1]), "%q", pair)
		own := id
		if pair[0] == "a" { // one tenant: there, an id is one call
			own = client.NewID()
		}
		m := a.roundTrip(p, `{"type":"request","id":"%s","action":"later","idempotencyKey":"k%s","payload":%d}`, own, "#x", n)
		require.Equal(a, "ack", m.Type, "%q: %s", pair, m.raw)
		m = a.next(p)
		require.Equal(a, fmt.Sprint(n), string(m.Payload), "%q gets another's result", pair)
		require.Len(a, a.roundTrip(p, `{"type":"list","ref":"l"}`).Calls, 1, "%q sees another's calls", pair)
		_ = p.Close()
		n++
	}
	return fmt.Sprintf("%d identities, one id and one key: each its own call", n)
}

// What must not be found in a log: parts of payloads and tokens.
const (
	secretPayload = "card-4111-1111-1111-1111"
	forgedLine    = "forged-line-of-the-log"
)

// forgedLogs puts into the log what it can; requireNoSecrets reads it.
func forgedLogs(a *assault) string {
	evil := `\n{\"level\":\"ERROR\",\"msg\":\"` + forgedLine + `\"}\r\nlevel=ERROR msg=` + forgedLine
	for _, name := range []string{"a\"b", `{"level":"ERROR","msg":"` + forgedLine + `"}`} {
		a.dial(a.mint(name, name))
	}
	p := a.dial(a.token)
	for _, send := range []string{
		`{"type":"request","id":"%s","action":"fail","payload":"` + secretPayload + evil + `"}`,
		`{"type":"request","id":"%s","action":"fail","mode":"async","payload":"` + secretPayload + `","metadata":{"k":"` + secretPayload + evil + `"}}`,
		`{"type":"request","id":"%s","action":"typed","payload":{"n":"` + secretPayload + evil + `"}}`,
		`{"type":"request","id":"%s","action":"typed","payload":{"` + secretPayload + evil + `":1}}`,
		`{"type":"request","id":"%s","action":"echo","idempotencyKey":"` + secretPayload + evil + `","payload":1}`,
		`{"type":"request","id":"%s","action":"guarded","payload":"` + secretPayload + `"}`,
		`{"type":"request","id":"%s","action":"no` + forgedLine + `"}`,
		`{"type":"` + forgedLine + evil + `","id":"%s"}`,
		`{"type":"list","ref":"r","cursor":"` + secretPayload + `","action":"%s"}`,
		`{"type":"subscribe","ref":"` + secretPayload + `","id":"%s"}`,
	} {
		m := a.roundTrip(p, send, client.NewID())
		for m.Type == "ack" {
			m = a.next(p)
		}
	}
	a.roundTrip(p, `{"type":"auth","ref":"a","token":"%s"}`, strings.Repeat("x", 40)+".token-that-is-secret.x")
	_, err := handshake(a.address, "Sec-WebSocket-Protocol: streamer.v1, streamer.bearer.token-that-is-secret")
	require.Error(a, err)
	_, err = handshake(a.address, "Sec-WebSocket-Protocol: streamer.v1", "Authorization: Bearer "+a.mint("mallory", "mallory"), "Origin: https://evil.example.com/"+forgedLine)
	require.Error(a, err)
	return "see below: no payload, no token, no forged line"
}

// requireNoSecrets reads what the server has logged, at all levels, during all
// attacks: each line is one JSON object, and none holds a payload or a token.
func (s *attacked) requireNoSecrets(t *testing.T) {
	t.Helper()
	file, err := os.Open(s.log)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	// The header of every token that was made here, and what looks like one.
	jwt := regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}|token-that-is-secret`)
	lines := 0
	messages := map[string]int{}
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		lines++
		var line map[string]any
		require.NoError(t, json.Unmarshal(in.Bytes(), &line), "a line of the log was forged: %s", in.Text())
		message, _ := line["msg"].(string)
		messages[message]++
		require.NotContains(t, message, forgedLine)
		require.NotContains(t, in.Text(), secretPayload, "a payload reached the log")
		require.NotRegexp(t, jwt, in.Text(), "a token reached the log")
		require.NotContains(t, in.Text(), attackSecret)
	}
	require.NoError(t, in.Err())
	require.Positive(t, lines)
	t.Logf("the log has %d lines, of %d kinds, and holds no payload, no token and no forged line", lines, len(messages))
}
