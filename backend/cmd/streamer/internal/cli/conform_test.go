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
	all := parseLines(t, d.run(exitOK, "conform", "--json", "--run", "^(batch|idle)$").out.String())
	if len(all) != 3 {
		t.Fatalf("%d lines: %v", len(all), all)
	}
	slices.SortFunc(all[:2], func(a, b map[string]any) int {
		return strings.Compare(a["transcript"].(string), b["transcript"].(string))
	})
	if all[0]["outcome"] != "passed" || all[1]["outcome"] != "notPlayed" || all[1]["reason"] != "the server lacks clock" {
		t.Errorf("%v", all)
	}
	counts, _ := all[2]["verdict"].(map[string]any)
	if all[2]["ok"] != true || counts["passed"] != 1.0 || counts["notPlayed"] != 1.0 {
		t.Errorf("%v", all[2])
	}
}

// transcriptFolder makes a folder with one transcript, which a demo passes if the
// answer is pong.
func transcriptFolder(t *testing.T, answer string) string {
	t.Helper()
	dir := t.TempDir()
	text := `{"tests": "server", "shows": "A ping is answered.", "covers": ["R-ping-any-time"], "identities": {"alice": {"tenant": "acme", "subject": "alice"}},
		"steps": [{"connect": "alice"}, {"send": {"type": "ping"}}, {"expect": {"type": "` + answer + `"}}]}`
	if err := os.WriteFile(filepath.Join(dir, "story.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A failure is printed with the events that led to it. A known failure must fail.
func TestConformFails(t *testing.T) {
	d := startTestDemo(t)
	good, bad := transcriptFolder(t, "pong"), transcriptFolder(t, "pang")
	listed := writeFile(t, `{"story": "nobody says pang"}`)
	p := d.run(exitFailed, "conform", "--transcripts", bad)
	mustContain(t, p.out.String(), "✗ story", `expected "pang", came "pong"`, `← main: {"type":"pong"}`, "does not conform: 0 passed, 1 failed")
	if p.err.String() != "" {
		t.Errorf("standard error is %q", p.err)
	}
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
		if _, err := mint(t.Context(), conformance.Identity{ExpiresInMs: ms}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{0, -1, 1000, -90_000}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, expected %v", asked, want)
	}
	if k.expireEarlier(nil) != nil {
		t.Error("without a way to make tokens there is a function that makes them")
	}
}

// With --wait, transcripts that move the clock are played.
func TestConformWaits(t *testing.T) {
	d := startTestDemo(t)
	p := d.run(exitOK, "conform", "--wait", "13s", "--run", "^(promoted-by-time|idle)$")
	mustContain(t, p.out.String(), "✓ promoted-by-time", "- idle  not played")
}

func TestConformLists(t *testing.T) {
	p := newProgram("").start("conform", "--list", "--run", "^idle$").wait(t, exitOK)
	if got := p.out.String(); !strings.HasPrefix(got, "idle  needs clock\n    A connection that says nothing") || strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
	all := parseLines(t, newProgram("").start("conform", "--list", "--json").wait(t, exitOK).out.String())
	if len(all) < 90 || all[0]["tests"] != "server" || all[0]["shows"] == "" {
		t.Errorf("%d, %v", len(all), all[0])
	}
	clients := parseLines(t, newProgram("").start("conform", "--list", "--json", "--client", "x").wait(t, exitOK).out.String())
	if len(clients) < 55 || clients[0]["tests"] != "client" {
		t.Errorf("%d, %v", len(clients), clients[0])
	}
}

func TestConformTokens(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the token command of this test is a script for sh")
	}
	d := startTestDemo(t)
	secret, err := readSecret(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	nowhere := t.TempDir()
	conform := func(exit int, args ...string) *program {
		t.Helper()
		return newProgram("").start(append([]string{"conform", "--url", d.url, "--dir", nowhere, "--run", "^(identity|handshake)$"}, args...)...).wait(t, exit)
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
	if err != nil || !strings.HasPrefix(string(asked), "conform probe\nconform-") || !strings.Contains(string(asked), "-acme alice\n") {
		t.Errorf("asked for %q, %v", asked, err)
	}
	for want, command := range map[string]string{
		"must print a token and nothing else":     "echo two words",
		"the token command, false: exit status 1": "false",
		"executable file not found":               "nobody-is-called-this",
	} {
		mustContain(t, conform(exitFailed, "--token-command", command).err.String(), want)
	}
	if strings.Contains(p.out.String()+p.err.String(), d.token) {
		t.Error("a token was printed")
	}
}

func TestConformCannotBegin(t *testing.T) {
	p := newProgram("").start("conform", "--url", "ws://127.0.0.1:1", "--dir", t.TempDir()).wait(t, exitUnavailable)
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
		p := newProgram("").start(append([]string{"conform"}, args...)...).wait(t, exitUsage)
		mustContain(t, p.err.String(), want)
		if strings.Count(p.err.String(), "\n") != 1 {
			t.Errorf("%q: %q", args, p.err)
		}
	}
}

// Each transcript fails, by name, if the client cannot be started.
func TestConformClientCannotStart(t *testing.T) {
	p := newProgram("").start("conform", "--client", "nobody-is-called-this --flag", "--run", "^cut$").wait(t, exitFailed)
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
		if got, err := splitWords(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", " ", "'", `"a`, `a\`} {
		if got, err := splitWords(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
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
		if err != nil || !slices.Equal(got, words) {
			t.Fatalf("%q became %q, %v", words, got, err)
		}
	})
}

func TestConformEntry(t *testing.T) {
	tr := &conformance.Transcript{Name: "x", Tests: conformance.Client}
	e := &conformance.Entry{Transcript: tr, Outcome: conformance.NotPlayed, Err: &conformance.UnsupportedError{Transcript: "x", Abilities: []conformance.Ability{"clock"}}}
	text, err := json.Marshal(entryJSON(e))
	if want := `{"transcript":"x","outcome":"notPlayed","ms":0,"lacks":["clock"],"reason":"the client lacks clock"}`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
