package cli

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/pay-theory/streamer/client-go"
)

func TestHelp(t *testing.T) {
	p := newProgram("").start().wait(t, exitUsage)
	mustContain(t, p.err.String(), "Usage: streamer", "Exit codes:")
	if p.out.String() != "" {
		t.Errorf("without a command, standard output is %q", p.out)
	}
	top := newProgram("").start("--help").wait(t, exitOK).out.String()
	mustContain(t, top, "Usage: streamer", "  130  interrupted")
	for _, command := range []string{"demo", "call", "follow", "cancel", "list", "dead list", "dead retry", "token", "version"} {
		mustContain(t, top, "  "+command+" ")
		text := newProgram("").start(append(strings.Fields(command), "--help")...).wait(t, exitOK).out.String()
		mustContain(t, text, "Usage: streamer "+command, ".\n")
		for line := range strings.Lines(text) {
			if len([]rune(line)) > 111 {
				t.Errorf("help of %s: %q is too long", command, line)
			}
		}
	}
	for command, variables := range map[string][]string{
		"call": {"$STREAMER_URL", "$STREAMER_TOKEN", "$STREAMER_DIR"}, "dead list": {"$STREAMER_ADMIN_URL"}, "token": {"$STREAMER_SECRET"}, "demo": {"$STREAMER_DIR"},
	} {
		mustContain(t, newProgram("").start(append(strings.Fields(command), "--help")...).wait(t, exitOK).out.String(), variables...)
	}
}

// Every flag and argument has a sentence of help, and suggestions know the defaults.
func TestEveryFlagIsExplained(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		switch n := node.(type) {
		case *kong.Flag:
			checkSentence(t, n.Summary(), n.Help)
		case *kong.Value:
			checkSentence(t, n.Summary(), n.Help)
		case *kong.Node:
			if n.Type == kong.CommandNode {
				checkSentence(t, n.Path(), n.Help)
			}
		}
		return next(nil)
	})
	c := reflect.TypeFor[connection]()
	for name, want := range map[string]string{"URL": defaultURL} {
		if f, _ := c.FieldByName(name); f.Tag.Get("default") != want {
			t.Errorf("the default of %s is %s; suggestions assume %s", name, f.Tag.Get("default"), want)
		}
	}
	if f, _ := reflect.TypeFor[operator]().FieldByName("AdminURL"); f.Tag.Get("default") != defaultAdminURL {
		t.Error("suggestions assume another default of --admin-url")
	}
}

func checkSentence(t *testing.T, what, help string) {
	t.Helper()
	if !regexp.MustCompile(`(?s)^[\w(].*(\.|Default: .+)$`).MatchString(help) {
		t.Errorf("%s: %q is not a sentence", what, help)
	}
}

func TestVersion(t *testing.T) {
	text := newProgram("").start("version").wait(t, exitOK).out.String()
	if !regexp.MustCompile(`^streamer \S.*\(go\d.*, \w+/\w+\)\n$`).MatchString(text) {
		t.Errorf("version prints %q", text)
	}
	if flag := newProgram("").start("--version").wait(t, exitOK).out.String(); flag != text {
		t.Errorf("--version prints %q, version prints %q", flag, text)
	}
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
		ctx, stop := a.interruptible(context.Background())
		go func() { a.Interrupts <- syscall.SIGINT }()
		stop()
		if interrupted(ctx) {
			continue
		}
		ctx, stop = a.interruptible(context.Background())
		<-ctx.Done()
		stop()
		if !interrupted(ctx) {
			t.Fatal("an interrupt was lost")
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"plain-1.2_a/b": "plain-1.2_a/b", "ws://127.0.0.1:80": "ws://127.0.0.1:80", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%q is quoted %s, expected %s", in, got, want)
		}
	}
}

func TestInvocation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "streamer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	for executable, want := range map[string]string{
		"": "streamer", "streamer": "streamer", path: "streamer", "./streamer": "./streamer", "/opt/my tools/streamer": "'/opt/my tools/streamer'",
		"/tmp/go-build123/b001/exe/streamer": "go run " + mainPackage,
	} {
		if got := (&App{Executable: executable}).invocation(); got != want {
			t.Errorf("started as %q, the invocation is %q, expected %q", executable, got, want)
		}
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
		if got := endFailure(&client.Error{Code: c.code, Final: c.final}, c.stored).exit; got != c.want {
			t.Errorf("%+v has exit code %d", c, got)
		}
	}
}
