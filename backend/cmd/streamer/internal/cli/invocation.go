package cli

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// mainPackage is what `go run` is given to run this program.
const mainPackage = "github.com/pay-theory/streamer/backend/cmd/streamer"

// Defaults of flags that need not be repeated in suggestions.
const (
	defaultURL      = "ws://127.0.0.1:8080"
	defaultAdminURL = "http://127.0.0.1:8081"
	defaultDir      = ".streamer"
)

// invocation is how this program is called from a shell.
func (a *App) invocation() string {
	name := filepath.Base(a.Executable)
	switch {
	case a.Executable == "":
		return "streamer"
	case strings.Contains(a.Executable, "go-build"):
		return "go run " + mainPackage // `go run` leaves nothing behind that could be called
	case a.Executable == name:
		return quote(name)
	}
	if path, err := exec.LookPath(name); err == nil && path == a.Executable {
		return quote(name)
	}
	return quote(a.Executable)
}

// flags are those that lead to the same server again. The token is not among
// them: it stays out of shells' histories.
func (f *connection) flags() string {
	flags := ""
	if f.URL != defaultURL {
		flags += " --url " + quote(f.URL)
	}
	return flags + f.access.flags()
}

func (a *access) flags() string {
	if a.Dir != defaultDir && a.Token == "" {
		return " --dir " + quote(a.Dir)
	}
	return ""
}

// quote makes one word of a POSIX shell of a text.
func quote(text string) string {
	harmless := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=@,+%", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
