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

// awsLibraries begin the import paths of libraries for AWS.
var awsLibraries = []string{"github.com/aws/", "github.com/pay-theory/dynamorm"}

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
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all[backend+"/internal/wire"]; !ok {
		t.Fatal("go list found no backend/internal/wire: these tests would check nothing")
	}
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
		if !known {
			t.Errorf("backend/%s has no row in packageRules: add what it may import, and why no others", name)
			continue
		}
		for _, imported := range p.Imports {
			if other, ok := strings.CutPrefix(imported, backend+"/"); ok && !slices.Contains(strings.Fields(rule.may), other) {
				t.Errorf("backend/%s imports backend/%s, which it must not: %s", name, other, rule.reason)
			}
			if strings.HasPrefix(imported, clientGo) {
				t.Errorf("backend/%s imports client-go: the two modules are released separately", name)
			}
		}
	}
}

// TestImportsGoOneWay checks what the packages depend on, directly or not.
func TestImportsGoOneWay(t *testing.T) {
	all := published(t)
	for _, f := range forbiddenImports {
		p, ok := all[backend+"/"+f.name]
		if !ok {
			t.Errorf("backend/%s does not exist", f.name)
		}
		if slices.Contains(p.Deps, backend+"/"+f.forbidden) {
			t.Errorf("backend/%s depends on backend/%s: %s", f.name, f.forbidden, f.reason)
		}
	}
	for _, name := range []string{"internal/deliver", "internal/engine", "internal/session"} {
		for _, dep := range all[backend+"/"+name].Deps {
			if hasPrefix(dep, wsLibraries) {
				t.Errorf("backend/%s depends on %s: it must run on Lambda and in tests, without sockets", name, dep)
			}
		}
	}
}

func TestWebSocketImports(t *testing.T) {
	for path, p := range published(t) {
		for _, imported := range p.Imports {
			if hasPrefix(imported, wsLibraries) && !slices.Contains(socketUsers, path) {
				t.Errorf("%s imports %s: protocol logic must not use sockets, so that it runs on Lambda and in tests", path, imported)
			}
		}
	}
}

func TestAWSImports(t *testing.T) {
	for path, p := range published(t) {
		if name, _ := strings.CutPrefix(path, backend+"/"); hasPrefix(name, []string{"awslambda", "awstest", "store/dynamo"}) {
			continue
		}
		for _, dep := range p.Deps {
			if hasPrefix(dep, awsLibraries) {
				t.Errorf("importers of %s get %s: programs for one machine must not need packages for AWS", path, dep)
			}
		}
	}
}

func TestClientImports(t *testing.T) {
	for path, p := range published(t) {
		if !strings.HasPrefix(path, clientGo) {
			continue
		}
		for _, dep := range p.Deps {
			host, _, _ := strings.Cut(dep, "/")
			if strings.Contains(host, ".") && !hasPrefix(dep, []string{clientGo, "github.com/gorilla/websocket"}) {
				t.Errorf("%s depends on %s: gorilla/websocket is the only dependency of the client", path, dep)
			}
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
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &mod); err != nil {
			t.Fatal(err)
		}
		if len(mod.Replace) > 0 {
			t.Errorf("%s/go.mod contains a replace, which has no effect in modules that require this one", dir)
		}
		for _, r := range mod.Require {
			if r.Path == other {
				t.Errorf("%s/go.mod requires %s, so neither could be released first", dir, other)
			}
		}
	}
}

func TestPublishedModulesHaveLicenseAndChangelog(t *testing.T) {
	for _, dir := range []string{"backend", "client-go", "client-ts", "react"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			continue
		}
		for _, file := range []string{"LICENSE", "CHANGELOG.md"} {
			if info, err := os.Stat(filepath.Join(root, dir, file)); err != nil || info.Size() == 0 {
				t.Errorf("%s has no %s: the module's archive contains only this folder", dir, file)
			}
		}
	}
}

// walk calls visit for each file and folder of the repository, except for what
// is installed, built or hidden.
func walk(t *testing.T, visit func(path string, entry fs.DirEntry)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "dist") {
			return fs.SkipDir
		}
		visit(path, entry)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestNamesOfFolders(t *testing.T) {
	walk(t, func(path string, entry fs.DirEntry) {
		if entry.IsDir() && slices.Contains(bannedNames, entry.Name()) {
			t.Errorf("%s: the name does not say what the folder contains", path)
		}
	})
}

// TestFilesAreShort checks the length of files that are not generated.
func TestFilesAreShort(t *testing.T) {
	walk(t, func(path string, entry fs.DirEntry) {
		limit := 500
		switch {
		case entry.IsDir() || !slices.Contains([]string{".go", ".ts", ".tsx"}, filepath.Ext(path)):
			return
		case strings.HasSuffix(path, "_test.go") || strings.Contains(path, ".test."):
			limit = 800
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if generated := regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`); generated.Match(text) {
			return
		}
		if n := bytes.Count(text, []byte("\n")); n > limit {
			t.Errorf("%s has %d lines, more than %d: split it by subject", path, n, limit)
		}
	})
}

// TestNoSleepInTests checks that tests do not sleep in real time: such a test is
// slow on a fast machine and fails on a slow one. In a synctest bubble the clock
// is a fake; inBubble and inBubbleOn are a package's way into one.
func TestNoSleepInTests(t *testing.T) {
	bubble := regexp.MustCompile(`"testing/synctest"|\binBubble(On)?\(`)
	sleeps := regexp.MustCompile(`\btime\.Sleep\(`)
	walk(t, func(path string, entry fs.DirEntry) {
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") || entry.Name() == "imports_test.go" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sleeps.Match(text) && !bubble.Match(text) {
			t.Errorf("%s calls time.Sleep: use a condition, a channel, or a testing/synctest bubble", path)
		}
	})
}

// TestDocsOfCodes checks that each code has a meaning and an action for the
// client, and that PROTOCOL.md contains no code that does not exist.
func TestDocsOfCodes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "contract", "codes.json"))
	if err != nil {
		t.Fatal(err)
	}
	type code struct{ Code, Name, Meaning, Client string }
	var codes struct{ Errors, Closes []code }
	if err := json.Unmarshal(text, &codes); err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	known := map[string]bool{}
	for _, c := range slices.Concat(codes.Errors, codes.Closes) {
		name := cmp.Or(c.Code, c.Name)
		if !word.MatchString(name) || len(name) > 64 {
			t.Errorf("code %q must be snake_case of at most 64 characters", name)
		}
		if c.Meaning == "" || c.Code != "" && c.Client == "" {
			t.Errorf("code %q has no meaning, or no action for the client", name)
		}
		if c.Code != "" && known[name] {
			t.Errorf("code %q is in codes.json twice", name)
		}
		known[name] = true
	}
	page, err := os.ReadFile(filepath.Join(root, "contract", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`").FindAllSubmatch(page, -1) {
		if !known[string(m[1])] {
			t.Errorf("PROTOCOL.md contains `%s`, which is not in codes.json", m[1])
		}
	}
}
