package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
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
