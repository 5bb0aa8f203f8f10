package cli

import (
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/pay-theory/streamer/client-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHelp(t *testing.T) {
	p := run(t, exitUsage)
	mustContain(t, p.err.String(), "Usage: streamer", "Exit codes:")
	assert.Empty(t, p.out.String(), "standard output without a command")
	top := run(t, exitOK, "--help").out.String()
	mustContain(t, top, "Usage: streamer", "  130  interrupted")
	variables := map[string][]string{
		"call":      {"$STREAMER_URL", "$STREAMER_TOKEN", "$STREAMER_DIR"},
		"dead list": {"$STREAMER_ADMIN_URL"},
		"token":     {"$STREAMER_SECRET"},
		"demo":      {"$STREAMER_DIR"},
	}
	for _, command := range []string{"demo", "call", "follow", "cancel", "list", "dead list", "dead retry", "token", "version"} {
		mustContain(t, top, "  "+command+" ")
		text := run(t, exitOK, append(strings.Fields(command), "--help")...).out.String()
		mustContain(t, text, "Usage: streamer "+command, ".\n")
		mustContain(t, text, variables[command]...)
		for line := range strings.Lines(text) {
			assert.LessOrEqual(t, len([]rune(line)), 111, "help of %s: %q is too long", command, line)
		}
	}
}

// Every flag and argument has a sentence of help, and suggestions know the defaults.
func TestEveryFlagIsExplained(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Vars{"version": ""})
	require.NoError(t, err)
	checkSentence := func(what, help string) {
		assert.Regexp(t, `(?s)^[\w(].*(\.|Default: .+)$`, help, "the help of %s is not a sentence", what)
	}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		switch n := node.(type) {
		case *kong.Flag:
			checkSentence(n.Summary(), n.Help)
		case *kong.Value:
			checkSentence(n.Summary(), n.Help)
		case *kong.Node:
			if n.Type == kong.CommandNode {
				checkSentence(n.Path(), n.Help)
			}
		}
		return next(nil)
	})
	url, _ := reflect.TypeFor[connection]().FieldByName("URL")
	assert.Equal(t, defaultURL, url.Tag.Get("default"), "suggestions assume another default of --url")
	adminURL, _ := reflect.TypeFor[operator]().FieldByName("AdminURL")
	assert.Equal(t, defaultAdminURL, adminURL.Tag.Get("default"), "suggestions assume another default of --admin-url")
}

func TestVersion(t *testing.T) {
	text := run(t, exitOK, "version").out.String()
	assert.Regexp(t, `^streamer \S.*\(go\d.*, \w+/\w+\)\n$`, text)
	assert.Equal(t, text, run(t, exitOK, "--version").out.String())
	got := formatVersion(&debug.BuildInfo{
		GoVersion: "go1.26", Main: debug.Module{Version: "v0.3.1"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}},
	})
	mustContain(t, got, "v0.3.1 0123456789ab, modified (go1.26, ")
}

// An interrupt that comes after the context has ended is for the next one.
func TestInterruptsAreNotLost(t *testing.T) {
	a := &App{Interrupts: make(chan os.Signal, 2)}
	for range 200 {
		ctx, stop := a.interruptible()
		go func() { a.Interrupts <- syscall.SIGINT }()
		stop()
		if interrupted(ctx) {
			continue
		}
		ctx, stop = a.interruptible()
		<-ctx.Done()
		stop()
		require.True(t, interrupted(ctx), "an interrupt was lost")
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.2_a/b": "plain-1.2_a/b", "ws://127.0.0.1:80": "ws://127.0.0.1:80", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'",
	} {
		assert.Equal(t, want, quote(in), in)
	}
}

func TestInvocation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "streamer")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700))
	t.Setenv("PATH", dir)
	for executable, want := range map[string]string{
		"": "streamer", "streamer": "streamer", path: "streamer", "./streamer": "./streamer", "/opt/my tools/streamer": "'/opt/my tools/streamer'",
		"/tmp/go-build123/b001/exe/streamer": "go run " + mainPackage,
	} {
		assert.Equal(t, want, (&App{Executable: executable}).invocation(), "started as %q", executable)
	}
}

// A stored call that ended has failed, regardless of the code that its handler chose.
func TestEndFailure(t *testing.T) {
	for _, c := range []struct {
		code          string
		final, stored bool
		want          int
	}{
		{client.CodeForbidden, true, true, exitFailed},
		{client.CodeForbidden, true, false, exitRefused},
		{client.CodeUnavailable, true, true, exitFailed},
		{client.CodeUnavailable, false, true, exitUnavailable},
		{client.CodeUnauthorized, false, true, exitRefused},
		{client.CodeCancelled, true, true, exitCancelled},
		{"no_stock", true, false, exitFailed},
	} {
		assert.Equal(t, c.want, endFailure(&client.Error{Code: c.code, Final: c.final}, c.stored).exit, "%+v", c)
	}
}
