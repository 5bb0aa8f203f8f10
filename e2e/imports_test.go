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

// The house has walls: who may import whom. Each rule here is about what is
// there, and prints its reason when it is broken. To open a door, change the
// table and say why in docs/decisions.

const (
	backend  = "github.com/pay-theory/streamer/backend"
	clientGo = "github.com/pay-theory/streamer/client-go"
	root     = ".."
)

// room is a package of the backend, the rooms that it may import, and why no
// others. Tests may import more.
type room struct {
	name   string
	may    string
	reason string
}

var rooms = []room{
	{"internal/jsonscan", "", "JSON is read in one way, whoever reads it"},
	{"internal/wire", "internal/jsonscan", "the messages stand in the client's module too, so they know nothing of the server"},
	{"internal/core/schema", "internal/jsonscan", "a JSON Schema is checked without the rest of the server"},
	{"internal/core", "internal/core/schema internal/wire", "the heart knows no store, no engine and no socket: they come to it"},
	{"streamer", "internal/core internal/core/schema", "handlers' authors import it: no AWS, no sockets, no store"},
	{"streamertest", "streamer internal/core internal/core/schema", "a handler is tested without sockets and without a store"},
	{"auth", "internal/jsonscan internal/wire", "who somebody is has nothing to do with what they call"},
	{"store", "internal/wire", "the roles know no one who plays them"},
	{"store/memory", "store", "a store knows roles, and neither engine nor wire"},
	{"store/embedded", "store", "a store knows roles, and neither engine nor wire"},
	{"store/dynamo", "store", "a store knows roles, and neither engine nor wire"},
	{"store/storetest", "store", "the suite asks of a store what its role says, and nothing else"},
	{"store/faultstore", "store", "a store that fails in tests is still a store: it knows roles, and neither engine nor wire"},
	{"internal/quota", "", "the arithmetic of limits knows nothing of what is counted"},
	{"internal/deliver", "store internal/wire", "telling knows neither runs nor sockets: it posts through an interface"},
	{"internal/engine", "internal/core internal/deliver internal/quota store", "the engine runs the same on both substrates: no sockets, no server"},
	{"internal/session", "internal/core internal/deliver internal/engine internal/wire store", "a session is pure: facts and a message in, effects out"},
	{"server", "auth internal/core internal/core/schema internal/deliver internal/engine internal/jsonscan internal/quota internal/session internal/wire store store/embedded store/memory streamer", "the embedded substrate and AWS do not know each other"},
	{"awslambda", "auth internal/core internal/core/schema internal/deliver internal/engine internal/quota internal/session internal/wire store store/dynamo streamer", "the embedded substrate and AWS do not know each other"},
	{"awstest", "awslambda internal/wire", "it is API Gateway and the event sources, not a part of the server"},
	{"internal/memnet", "", "a network in memory knows nothing of what is sent over it"},
	{"servertest", "auth internal/memnet internal/wire server store/memory streamer", "it is a gateway in front of the server, and uses it as everybody does"},
	{"conformance", "internal/wire", "transcripts are played from outside, against any server and any client"},
	{"conformance/actions", "streamer", "the actions of the transcripts are ordinary handlers"},
	{"conformance/sessions", "", "the transcripts are data, for whoever plays them"},
}

// sockets are those who may know a WebSocket library.
var sockets = []string{
	backend + "/server", backend + "/awstest", backend + "/conformance", backend + "/servertest", clientGo,
}

// wsLibraries begin the import paths of WebSocket libraries.
var wsLibraries = []string{"github.com/gorilla/websocket", "github.com/coder/websocket", "golang.org/x/net/websocket", "nhooyr.io/websocket", "github.com/gobwas/ws"}

// awsLibraries begin the import paths of whatever speaks with AWS.
var awsLibraries = []string{"github.com/aws/", "github.com/pay-theory/dynamorm"}

// nameless are names that say nothing of what is inside.
var nameless = []string{"util", "utils", "common", "types", "pkg", "helper", "helpers", "misc", "shared", "lib", "testkit"}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

// packages are those of both published modules.
var packages = sync.OnceValues(func() (map[string]pkg, error) {
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps", backend+"/...", clientGo+"/...")
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	all := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			return nil, err
		}
		all[p.ImportPath] = p
	}
	return all, nil
})

func published(t *testing.T) map[string]pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all[backend+"/internal/wire"]; !ok {
		t.Fatal("go list found no backend/internal/wire: this test looks at nothing")
	}
	return all
}

func hasPrefix(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
}

func TestRoomsImportOnlyTheirNeighbours(t *testing.T) {
	table := map[string]room{}
	for _, r := range rooms {
		table[r.name] = r
	}
	for path, p := range published(t) {
		name, ours := strings.CutPrefix(path, backend+"/")
		if !ours || strings.HasPrefix(name, "cmd/") {
			continue
		}
		r, known := table[name]
		if !known {
			t.Errorf("backend/%s has no row in the table of rooms: say whom it may import, and why no others", name)
			continue
		}
		for _, imported := range p.Imports {
			if neighbour, ok := strings.CutPrefix(imported, backend+"/"); ok && !slices.Contains(strings.Fields(r.may), neighbour) {
				t.Errorf("backend/%s imports backend/%s, which it may not: %s", name, neighbour, r.reason)
			}
			if strings.HasPrefix(imported, clientGo) {
				t.Errorf("backend/%s imports client-go: the two modules are released by themselves", name)
			}
		}
	}
}

func TestOnlyServersAndClientsKnowSockets(t *testing.T) {
	for path, p := range published(t) {
		for _, imported := range p.Imports {
			if hasPrefix(imported, wsLibraries) && !slices.Contains(sockets, path) {
				t.Errorf("%s imports %s: protocol logic is without sockets, so that it runs on Lambda and in tests", path, imported)
			}
		}
	}
}

func TestServerBringsNothingOfAWS(t *testing.T) {
	for path, p := range published(t) {
		if name, _ := strings.CutPrefix(path, backend+"/"); hasPrefix(name, []string{"awslambda", "awstest", "store/dynamo"}) {
			continue
		}
		for _, dep := range p.Deps {
			if hasPrefix(dep, awsLibraries) {
				t.Errorf("who imports %s gets %s: who runs on one machine should build nothing of AWS", path, dep)
			}
		}
	}
}

func TestClientNeedsOnlyGorilla(t *testing.T) {
	for path, p := range published(t) {
		if !strings.HasPrefix(path, clientGo) {
			continue
		}
		for _, dep := range p.Deps {
			host, _, _ := strings.Cut(dep, "/")
			if strings.Contains(host, ".") && !hasPrefix(dep, []string{clientGo, "github.com/gorilla/websocket"}) {
				t.Errorf("%s needs %s: whoever imports the client gets gorilla/websocket and nothing else", path, dep)
			}
		}
	}
}

// TestModulesStandAlone: what is published is built by others without go.work.
func TestModulesStandAlone(t *testing.T) {
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
			t.Errorf("%s/go.mod holds a replace: it has no effect for those who require the module", dir)
		}
		for _, r := range mod.Require {
			if r.Path == other {
				t.Errorf("%s/go.mod requires %s: neither could be released first", dir, other)
			}
		}
	}
}

func TestPublishedModulesHavePapers(t *testing.T) {
	for _, dir := range []string{"backend", "client-go", "client-ts", "react"} {
		if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
			continue
		}
		for _, paper := range []string{"LICENSE", "CHANGELOG.md"} {
			if info, err := os.Stat(filepath.Join(root, dir, paper)); err != nil || info.Size() == 0 {
				t.Errorf("%s has no %s: it is published by itself, and the archive holds only this folder", dir, paper)
			}
		}
	}
}

// walk calls visit for each file and folder of the repository that is ours.
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

func TestRoomsAreNamedByWhatTheyHold(t *testing.T) {
	walk(t, func(path string, entry fs.DirEntry) {
		if entry.IsDir() && slices.Contains(nameless, entry.Name()) {
			t.Errorf("%s: a folder of this name holds anything, and so nothing can be found in it", path)
		}
	})
}

// TestFilesAreShort: a file holds one noun. What a generator wrote is not read.
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
			t.Errorf("%s has %d lines, over %d: is there more than one noun in it?", path, n, limit)
		}
	})
}

// TestNobodyWaitsByTheClock: a test that sleeps is slow on a fast machine and
// wrong on a slow one. In a synctest bubble the clock is a fake.
func TestNobodyWaitsByTheClock(t *testing.T) {
	sleeps := regexp.MustCompile(`\btime\.Sleep\(`)
	walk(t, func(path string, entry fs.DirEntry) {
		if entry.IsDir() || !strings.HasSuffix(path, "_test.go") || entry.Name() == "house_test.go" {
			return
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sleeps.Match(text) && !bytes.Contains(text, []byte(`"testing/synctest"`)) {
			t.Errorf("%s waits by time.Sleep: use a condition, a channel, or a testing/synctest bubble", path)
		}
	})
}

// TestCodesAreDocumented: a code says what it means and what to do, and the
// protocol's page names no code that does not exist.
func TestCodesAreDocumented(t *testing.T) {
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
			t.Errorf("code %q is not a word of snake_case of at most 64 characters", name)
		}
		if c.Meaning == "" || c.Code != "" && c.Client == "" {
			t.Errorf("code %q does not say what it means and what a client does", name)
		}
		if c.Code != "" && known[name] {
			t.Errorf("code %q stands twice in codes.json", name)
		}
		known[name] = true
	}
	page, err := os.ReadFile(filepath.Join(root, "contract", "PROTOCOL.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([a-z]+(?:_[a-z]+)+)`").FindAllSubmatch(page, -1) {
		if !known[string(m[1])] {
			t.Errorf("PROTOCOL.md names `%s`, which codes.json does not know", m[1])
		}
	}
}
