package cli

import (
	"cmp"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mainPackage is the argument of `go run` that runs this program.
const mainPackage = "github.com/pay-theory/streamer/backend/cmd/streamer"

// Defaults of flags, which suggested commands leave out.
const (
	defaultURL      = "ws://127.0.0.1:8080"
	defaultAdminURL = "http://127.0.0.1:8081"
	defaultDir      = ".streamer"
)

// invocation returns how this program is started from a shell.
func (a *App) invocation() string {
	executable := cmp.Or(a.Executable, "streamer")
	if strings.Contains(executable, "go-build") {
		return "go run " + mainPackage // `go run` deletes its executable
	}
	name := filepath.Base(executable)
	if path, err := exec.LookPath(name); err == nil && path == executable {
		return quote(name)
	}
	return quote(executable)
}

// flags returns the flags that name the same server in another command. The
// token is not among them, so that it does not get into a shell's history.
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

// unquoted matches the words that mean themselves in a shell.
var unquoted = regexp.MustCompile(`^[-\w./:=@,+%]+$`)

// quote quotes a text as one word of a POSIX shell.
func quote(text string) string {
	if unquoted.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
