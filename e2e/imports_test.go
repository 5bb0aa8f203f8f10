package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests check which package imports which, and print the reason when a
// package imports another that it must not. A change of the table needs a page
// in docs/decisions.

const (
	backend  = "github.com/pay-theory/streamer/backend"
	clientGo = "github.com/pay-theory/streamer/client-go"
	root     = ".."
)

// packageRule holds the packages of the backend that one of them may import, and
// why no others. Tests may import more.
type packageRule struct {
	name   string
	may    string
	reason string
}

var packageRules = []packageRule{
	{"internal/jsonscan", "", "a scanner depends on nothing that it scans"},
	{"internal/wire", "internal/jsonscan", "the client's module holds a copy of it, so it must not depend on the server"},
	{"internal/core/schema", "internal/jsonscan", "a JSON Schema is checked without the rest of the server"},
	{"internal/core", "internal/core/schema internal/wire", "the registry of handlers does not depend on stores, the engine or sockets"},
	{"streamer", "internal/core internal/core/schema", "authors of handlers import it, and must not get AWS, sockets or stores with it"},
	{"streamertest", "streamer internal/core internal/core/schema", "handlers are tested without sockets and without a store"},
	{"auth", "internal/jsonscan internal/wire", "authentication does not depend on what is called"},
	{"store", "internal/wire", "interfaces do not depend on their implementations or users"},
	{"store/memory", "store", "a store depends on the interfaces that it implements, not on the engine"},
	{"store/embedded", "store", "a store depends on the interfaces that it implements, not on the engine"},
	{"store/dynamo", "store awsdef", "a store depends on the interfaces that it implements, not on the engine"},
	{"store/storetest", "store", "the suite tests what the interfaces promise, and no implementation's details"},
	{"store/faultstore", "store", "it wraps any store, so it depends on the interfaces alone"},
	{"internal/quota", "", "the arithmetic of limits does not depend on what is limited"},
	{"internal/deliver", "store internal/wire", "it sends through an interface, and must depend neither on the engine, which calls it, nor on sockets"},
	{"internal/engine", "internal/core internal/deliver internal/quota store", "the engine runs on both substrates, so it does not depend on sockets or a server"},
	{"internal/session", "internal/core internal/deliver internal/engine internal/wire store", "the protocol on a connection does not depend on sockets, or on how tokens are verified"},
	{"server", "auth internal/core internal/core/schema internal/deliver internal/engine internal/jsonscan internal/quota internal/session internal/wire store store/embedded streamer", "the embedded substrate does not depend on AWS, or on stores for tests"},
	{"awsdef", "", "it holds names and limits that code and infrastructure share"},
	{"awslambda", "auth awsdef internal/core internal/core/schema internal/deliver internal/engine internal/jsonscan internal/quota internal/session internal/wire store store/dynamo streamer", "the AWS substrate does not depend on the embedded one"},
	{"awstest", "awslambda internal/gateway internal/wire store store/dynamo store/memory", "it simulates API Gateway and the event sources, and uses the substrate as AWS does"},
	{"internal/memnet", "", "a network in memory does not depend on what is sent over it"},
	{"internal/gateway", "internal/wire", "a gateway forwards frames, whatever server is behind it"},
	{"servertest", "auth internal/gateway internal/memnet internal/wire server store/memory streamer", "it is a gateway in front of the server, and uses the server's public API"},
	{"conformance", "internal/wire", "transcripts are played from outside, against any server and any client"},
	{"conformance/actions", "streamer", "the actions of the transcripts are ordinary handlers"},
	{"conformance/sessions", "", "transcripts are data"},
}

// forbiddenImports are imports that no change of the table may allow, by package
// of the backend: they would make the calls between packages go both ways.
var forbiddenImports = []struct{ name, forbidden, reason string }{
	{"internal/session", "auth", "the server verifies tokens, and gives the session an identity or a function that renews it"},
	{"internal/deliver", "internal/engine", "the engine calls deliver, and gets changes of subscriptions as values"},
}

// socketUsers are the packages that may import a WebSocket library.
var socketUsers = []string{
	backend + "/server", backend + "/awstest", backend + "/conformance", backend + "/internal/gateway", backend + "/servertest", clientGo,
}

// wsLibraries begin the import paths of WebSocket libraries.
var wsLibraries = []string{"github.com/gorilla/websocket", "github.com/coder/websocket", "golang.org/x/net/websocket", "nhooyr.io/websocket", "github.com/gobwas/ws"}

// awsLibraries begin the import paths of libraries for AWS, awsUsers those of
// the packages that may depend on them.
var (
	awsLibraries = []string{"github.com/aws/", "github.com/pay-theory/dynamorm"}
	awsUsers     = []string{backend + "/awslambda", backend + "/awstest", backend + "/store/dynamo"}
)

// clientLibraries begin the import paths of all that the Go client depends on.
var clientLibraries = []string{clientGo, "github.com/gorilla/websocket"}

// bannedNames are names of folders that do not say what the folder contains.
var bannedNames = []string{"util", "utils", "common", "types", "pkg", "helper", "helpers", "misc", "shared", "lib", "limit", "observe", "testkit"}

// listedPackage is what `go list` prints about a package.
type listedPackage struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

// packages are those of both published modules.
var packages = sync.OnceValues(func() (map[string]listedPackage, error) {
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps", backend+"/...", clientGo+"/...")
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	all := map[string]listedPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listedPackage
		if err := dec.Decode(&p); err != nil {
			return nil, err
		}
		all[p.ImportPath] = p
	}
	return all, nil
})

func published(t *testing.T) map[string]listedPackage {
	t.Helper()
	all, err := packages()
	require.NoError(t, err)
	require.Contains(t, all, backend+"/internal/wire", "these tests would check nothing")
	return all
}

func hasPrefix(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
}

func TestImports(t *testing.T) {
	table := map[string]packageRule{}
	for _, r := range packageRules {
		table[r.name] = r
	}
	for path, p := range published(t) {
		name, ours := strings.CutPrefix(path, backend+"/")
		if !ours || strings.HasPrefix(name, "cmd/") {
			continue
		}
		rule, known := table[name]
		assert.True(t, known, "backend/%s has no row in packageRules: add what it may import, and why no others", name)
		for _, imported := range p.Imports {
			if other, ok := strings.CutPrefix(imported, backend+"/"); ok {
				assert.Contains(t, strings.Fields(rule.may), other, "backend/%s must not import it: %s", name, rule.reason)
			}
			assert.False(t, strings.HasPrefix(imported, clientGo),
				"backend/%s imports client-go: the two modules are released separately", name)
		}
	}
}

// TestImportsGoOneWay checks what the packages depend on, directly or not.
func TestImportsGoOneWay(t *testing.T) {
	all := published(t)
	for _, f := range forbiddenImports {
		require.Contains(t, all, backend+"/"+f.name)
		assert.False(t, slices.Contains(all[backend+"/"+f.name].Deps, backend+"/"+f.forbidden),
			"backend/%s depends on backend/%s: %s", f.name, f.forbidden, f.reason)
	}
	for _, name := range []string{"internal/deliver", "internal/engine", "internal/session"} {
		for _, dep := range all[backend+"/"+name].Deps {
			assert.False(t, hasPrefix(dep, wsLibraries),
				"backend/%s depends on %s: it must run on Lambda and in tests, without sockets", name, dep)
		}
	}
}

// TestLibraries checks which packages import libraries for WebSockets, and which
// depend on those for AWS or, of the client, on any.
func TestLibraries(t *testing.T) {
	for path, p := range published(t) {
		for _, imported := range p.Imports {
			assert.False(t, hasPrefix(imported, wsLibraries) && !slices.Contains(socketUsers, path),
				"%s imports %s: protocol logic must not use sockets, so that it runs on Lambda and in tests", path, imported)
		}
		for _, dep := range p.Deps {
			assert.False(t, hasPrefix(dep, awsLibraries) && !hasPrefix(path, awsUsers),
				"importers of %s get %s: programs for one machine must not need packages for AWS", path, dep)
			host, _, _ := strings.Cut(dep, "/")
			assert.False(t, strings.HasPrefix(path, clientGo) && strings.Contains(host, ".") && !hasPrefix(dep, clientLibraries),
				"%s depends on %s: gorilla/websocket is the only dependency of the client", path, dep)
		}
	}
}

// TestModulesAreSeparate checks that the published modules can be built and
// released without go.work.
func TestModulesAreSeparate(t *testing.T) {
	for dir, other := range map[string]string{"backend": clientGo, "client-go": backend} {
		var mod struct {
			Require []struct{ Path string }
			Replace []any
		}
		out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, dir, "go.mod")).Output()
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &mod))
		assert.Empty(t, mod.Replace, "a replace in %s/go.mod has no effect in modules that require this one", dir)
		assert.NotContains(t, mod.Require, struct{ Path string }{other}, "neither module could be released first")
	}
}

func TestPublishedModulesHaveLicenseAndChangelog(t *testing.T) {
	for _, dir := range []string{"backend", "client-go", "client-ts", "react"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			continue
		}
		for _, file := range []string{"LICENSE", "CHANGELOG.md"} {
			text, err := os.ReadFile(filepath.Join(root, dir, file))
			assert.NoError(t, err)
			assert.NotEmpty(t, text, "%s has no %s: the module's archive contains only this folder", dir, file)
		}
	}
}

// walk calls visit for each file and folder of the repository, except for what
// is installed, built or hidden.
func walk(t *testing.T, visit func(path string, entry fs.DirEntry)) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains(notOurs, name)) {
			return fs.SkipDir
		}
		visit(path, entry)
		return nil
	}))
}

// notOurs are the names of folders for what is installed or built.
var notOurs = []string{"node_modules", "bin", "dist"}

// filesEndingIn returns the texts of the repository's files with one of some
// endings, by path.
func filesEndingIn(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	walk(t, func(path string, entry fs.DirEntry) {
		if !entry.IsDir() && slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) }) {
			texts[path] = read(t, path)
		}
	})
	return texts
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestNamesOfFolders(t *testing.T) {
	walk(t, func(path string, entry fs.DirEntry) {
		assert.False(t, entry.IsDir() && slices.Contains(bannedNames, entry.Name()),
			"%s: the name does not say what the folder contains", path)
	})
}

// TestFilesAreShort checks the length of files that are not generated.
func TestFilesAreShort(t *testing.T) {
	generated := regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	for path, text := range filesEndingIn(t, ".go", ".ts", ".tsx") {
		limit := 500
		if strings.HasSuffix(path, "_test.go") || strings.Contains(path, ".test.") {
			limit = 800
		}
		if !generated.MatchString(text) {
			assert.LessOrEqual(t, strings.Count(text, "\n"), limit, "%s has too many lines: split it by subject", path)
		}
	}
}

// TestNoSleepInTests checks that tests do not sleep in real time: such a test is
// slow on a fast machine and fails on a slow one. In a synctest bubble the clock
// is a fake; inBubble and inBubbleOn are a package's way into one.
func TestNoSleepInTests(t *testing.T) {
	bubble := regexp.MustCompile(`"testing/synctest"|\binBubble(On)?\(`)
	sleeps := regexp.MustCompile(`\btime\.Sleep\(`)
	for path, text := range filesEndingIn(t, "_test.go") {
		assert.False(t, sleeps.MatchString(text) && !bubble.MatchString(text),
			"%s calls time.Sleep: use a condition, a channel, or a testing/synctest bubble", path)
	}
}

// TestDocsOfCodes checks that each code has a meaning and an action for the
// client, and that PROTOCOL.md contains no code that does not exist.
func TestDocsOfCodes(t *testing.T) {
	type code struct{ Code, Name, Meaning, Client string }
	var codes struct{ Errors, Closes []code }
	require.NoError(t, json.Unmarshal([]byte(read(t, filepath.Join(root, "contract", "codes.json"))), &codes))
	known := map[string]bool{}
	for _, c := range slices.Concat(codes.Errors, codes.Closes) {
		name := cmp.Or(c.Code, c.Name)
		assert.Regexp(t, `^[a-z]+(_[a-z]+)*$`, name)
		assert.LessOrEqual(t, len(name), 64, name)
		assert.NotEmpty(t, c.Meaning, name)
		if c.Code != "" {
			assert.NotEmpty(t, c.Client, "code %q has no action for the client", name)
			assert.False(t, known[name], "code %q is in codes.json twice", name)
		}
		known[name] = true
	}
	page := read(t, filepath.Join(root, "contract", "PROTOCOL.md"))
	for _, m := range regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`").FindAllStringSubmatch(page, -1) {
		assert.True(t, known[m[1]], "PROTOCOL.md contains `%s`, which is not in codes.json", m[1])
	}
}
