package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The demo conforms, twice: a run is not affected by the calls of an earlier one.
func TestConformDemo(t *testing.T) {
	d := startTestDemo(t)
	for range 2 {
		p := d.run(exitOK, "conform", "-p", "32", "--run", "^(durable-call|idempotency|list|walls|auth|handshake|idle|killed-running)$")
		mustContain(t, p.out.String(), "✓ durable-call", "✓ idempotency", "✓ list", "✓ walls", "✓ auth", "✓ handshake",
			"- idle  not played: the server lacks clock\n", "- killed-running  not played: the server lacks kill, restart\n",
			"conforms: 6 passed, 0 failed, 0 known failures, 2 not played (lacking clock 1, kill 1, restart 1)")
	}
}

func TestConformAsJSON(t *testing.T) {
	d := startTestDemo(t)
	all := parseLines(t, d.output("conform", "--json", "--run", "^(batch|idle)$"))
	require.Len(t, all, 3)
	slices.SortFunc(all[:2], func(a, b map[string]any) int {
		return strings.Compare(a["transcript"].(string), b["transcript"].(string))
	})
	assert.Equal(t, "passed", all[0]["outcome"])
	assert.Equal(t, "notPlayed", all[1]["outcome"])
	assert.Equal(t, "the server lacks clock", all[1]["reason"])
	assert.Equal(t, true, all[2]["ok"])
	counts, _ := all[2]["verdict"].(map[string]any)
	assert.Equal(t, 1.0, counts["passed"])
	assert.Equal(t, 1.0, counts["notPlayed"])
}

// transcriptFolder makes a folder with one transcript, which a demo passes if the
// answer is pong.
func transcriptFolder(t *testing.T, answer string) string {
	t.Helper()
	dir := t.TempDir()
	text := `{"tests": "server", "shows": "A ping is answered.", "covers": ["R-ping-any-time"], "identities": {"alice": {"tenant": "acme", "subject": "alice"}},
		"steps": [{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "` + answer + `"}}]}`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "story.json"), []byte(text), 0o600))
	return dir
}

// A failure is printed with the events that led to it. A known failure must fail.
func TestConformFails(t *testing.T) {
	d := startTestDemo(t)
	good, bad := transcriptFolder(t, "pong"), transcriptFolder(t, "pang")
	listed := writeFile(t, `{"story": "nobody says pang"}`)
	p := d.run(exitFailed, "conform", "--transcripts", bad)
	mustContain(t, p.out.String(), "✗ story", `expected "pang", came "pong"`, `← main: {"type":"pong"}`, "does not conform: 0 passed, 1 failed")
	assert.Empty(t, p.err.String())
	p = d.run(exitOK, "conform", "--transcripts", bad, "--known-failures", listed)
	mustContain(t, p.out.String(), "✗ story", "a known failure: nobody says pang", "conforms: 0 passed, 0 failed, 1 known failures")
	p = d.run(exitFailed, "conform", "--transcripts", good, "--known-failures", listed)
	mustContain(t, p.out.String(), "remove it from the list", "does not conform")
	p = d.run(exitFailed, "conform", "--run", "^idle$")
	mustContain(t, p.out.String(), "does not conform: 0 passed, 0 failed", "1 not played") // nothing was shown
}

// A token that must have expired has expired, also for a server with leeway.
func TestConformLeeway(t *testing.T) {
	k := &conformCommand{Leeway: 30 * time.Second}
	var asked []int64
	mint := k.expireEarlier(func(_ context.Context, who conformance.Identity) (string, error) {
		asked = append(asked, who.ExpiresInMs)
		return "", nil
	})
	for _, ms := range []int64{0, 30_000, 31_000, -60_000} {
		_, err := mint(t.Context(), conformance.Identity{ExpiresInMs: ms})
		require.NoError(t, err)
	}
	assert.Equal(t, []int64{0, -1, 1000, -90_000}, asked)
	assert.Nil(t, k.expireEarlier(nil), "there is no way to make tokens")
}

// With --wait, transcripts that move the clock are played.
func TestConformWaits(t *testing.T) {
	d := startTestDemo(t)
	p := d.run(exitOK, "conform", "--wait", "13s", "--run", "^(promoted-by-time|idle)$")
	mustContain(t, p.out.String(), "✓ promoted-by-time", "- idle  not played")
}

func TestConformLists(t *testing.T) {
	p := run(t, exitOK, "conform", "--list", "--run", "^idle$")
	assert.Regexp(t, `^idle  needs clock\n    A connection that says nothing.*\n$`, p.out.String())
	all := parseLines(t, run(t, exitOK, "conform", "--list", "--json").out.String())
	assert.GreaterOrEqual(t, len(all), 90)
	assert.Equal(t, "server", all[0]["tests"])
	assert.NotEmpty(t, all[0]["shows"])
	clients := parseLines(t, run(t, exitOK, "conform", "--list", "--json", "--client", "x").out.String())
	assert.GreaterOrEqual(t, len(clients), 55)
	assert.Equal(t, "client", clients[0]["tests"])
}

func TestConformTokens(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the token command of this test is a script for sh")
	}
	d := startTestDemo(t)
	secret, err := readSecret(d.dir)
	require.NoError(t, err)
	nowhere := t.TempDir()
	conform := func(exit int, args ...string) *program {
		t.Helper()
		return run(t, exit, append([]string{"conform", "--url", d.url, "--dir", nowhere, "--run", "^(identity|handshake)$"}, args...)...)
	}
	conform(exitOK, "--secret", string(secret))
	p := conform(exitRefused, "--secret", strings.Repeat("x", 40))
	mustContain(t, p.err.String(), "refused the connection: 401 unauthorized", "does the server trust these tokens?")
	p = conform(exitRefused)
	mustContain(t, p.err.String(), "401 unauthorized", "--token-command")
	// This program makes tokens for two identities, and records its environment.
	script := writeFile(t, `
		[ "$STREAMER_EXPIRES_IN" = 3600 ] || { echo "expires in $STREAMER_EXPIRES_IN" >&2; exit 3; }
		echo "$STREAMER_TENANT $STREAMER_SUBJECT" >> "`+nowhere+`/asked"
		echo `+d.token)
	p = conform(exitFailed, "--token-command", "sh "+quote(script))
	mustContain(t, p.out.String(), "expires in -90", `the token command, sh: exit status 3`)
	asked, err := os.ReadFile(filepath.Join(nowhere, "asked"))
	require.NoError(t, err)
	assert.Regexp(t, `(?s)^conform probe\nconform-.*-acme alice\n`, string(asked))
	for want, command := range map[string]string{
		"must print a token and nothing else":     "echo two words",
		"the token command, false: exit status 1": "false",
		"executable file not found":               "nobody-is-called-this",
	} {
		mustContain(t, conform(exitFailed, "--token-command", command).err.String(), want)
	}
	assert.NotContains(t, p.out.String()+p.err.String(), d.token, "a token was printed")
}

func TestConformCannotBegin(t *testing.T) {
	p := run(t, exitUnavailable, "conform", "--url", "ws://127.0.0.1:1", "--dir", t.TempDir())
	mustContain(t, p.err.String(), "the server cannot be reached", "streamer demo")
	for want, args := range map[string][]string{
		"not a regular expression":    {"--run", "("},
		"matches no transcript":       {"--run", "^nothing-is-called-this$"},
		"--parallel must be 1 to 64":  {"-p", "0"},
		"--wait must not be negative": {"--wait=-1s"},
		"--leeway must be 0 to 5m":    {"--leeway", "6m"},
		"must begin with ws":          {"--url", "ftp://x"},
		"cannot be parsed":            {"--url", "ws:"},
		"no transcripts":              {"--transcripts", t.TempDir()},
		"tests a server":              {"--transcripts", transcriptFolder(t, "pong"), "--client", "x"},
		"no such file":                {"--known-failures", filepath.Join(t.TempDir(), "none")},
		`no transcript "nobody"`:      {"--known-failures", writeFile(t, `{"nobody": "x"}`)},
		"two ways to make tokens":     {"--secret", strings.Repeat("x", 40), "--token-command", "x"},
		"a quote is not closed":       {"--token-command", `"`},
		"--client: there is no":       {"--client", " "},
		"at least 32 bytes":           {"--secret", "short"},
		"unexpected argument nobody":  {"nobody"},
	} {
		p := run(t, exitUsage, append([]string{"conform"}, args...)...)
		mustContain(t, p.err.String(), want)
		isOneLine(t, p.err.String())
	}
}

// Each transcript fails, by name, if the client cannot be started.
func TestConformClientCannotStart(t *testing.T) {
	p := run(t, exitFailed, "conform", "--client", "nobody-is-called-this --flag", "--run", "^cut$")
	mustContain(t, p.out.String(), "✗ cut", "the client cannot be started", "0 passed, 1 failed")
}

func TestConformIsInterrupted(t *testing.T) {
	d := startTestDemo(t)
	p := d.start("conform", "-p", "1", "--wait", "10m", "--run", "^(batch|token-expires)$")
	p.out.await(t, "✓ batch")
	p.interrupt()
	p.wait(t, exitInterrupted)
	mustContain(t, p.out.String(), "- token-expires  not played", "1 not played")
}

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		`node  client.js`:            {"node", "client.js"},
		`a 'b c' "d e" f\ g`:         {"a", "b c", "d e", "f g"},
		`a ''`:                       {"a", ""},
		`a"b"'c'`:                    {"abc"},
		`"a \" \\ \n" '\'`:           {`a " \ \n`, `\`},
		`sh -c 'echo "$HOME" | cat'`: {"sh", "-c", `echo "$HOME" | cat`},
	} {
		got, err := splitWords(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{"", " ", "'", `"a`, `a\`} {
		_, err := splitWords(text)
		assert.Error(t, err, text)
	}
}

// splitWords restores words that quote has quoted.
func TestSplitWordsUndoesQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 1, 5).Draw(t, "words")
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, quote(w))
		}
		got, err := splitWords(strings.Join(quoted, " "))
		require.NoError(t, err)
		require.Equal(t, words, got)
	})
}

func TestConformEntry(t *testing.T) {
	tr := &conformance.Transcript{Name: "x", Tests: conformance.Client}
	e := &conformance.Entry{Transcript: tr, Outcome: conformance.NotPlayed, Err: &conformance.UnsupportedError{Transcript: "x", Abilities: []conformance.Ability{"clock"}}}
	text, err := json.Marshal(entryJSON(e))
	require.NoError(t, err)
	assert.Equal(t, `{"transcript":"x","outcome":"notPlayed","ms":0,"lacks":["clock"],"reason":"the client lacks clock"}`, string(text))
}
