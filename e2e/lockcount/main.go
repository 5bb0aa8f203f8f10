// Command lockcount counts the lock acquisitions of a durable call: 36.0 at
// commit fbbac2b.
//
// It builds a server whose packages of module backend use counting mutexes in
// place of sync.Mutex and sync.RWMutex, and makes calls over one connection, one
// after the other. The store is an SQLite file, the action is declared Async
// and returns at once. Counted is each Lock and RLock by the backend, its stores
// included, on any goroutine, and each time that sync.Cond.Wait locks again.
// Not counted are TryLock and TryRLock, which never wait (2.0 at fbbac2b),
// sync.Once, sync.Map, channels and atomics, the locks of the standard library
// and other modules, the handshake, and the first 100 calls.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	backend = "github.com/pay-theory/streamer/backend/"
	self    = "github.com/pay-theory/streamer/e2e/lockcount/"
)

// The sources are embedded so that they can be built in a tree without them.
var (
	//go:embed counter/counter.go
	counterSource []byte
	//go:embed probe/main.go
	probeSource []byte
)

func main() {
	dir := flag.String("dir", ".", "the repository's root; may be a work tree of another commit")
	calls := flag.Int("calls", 1000, "how many calls are counted")
	verbose := flag.Bool("v", false, "print where locks were acquired, and the callers")
	flag.Parse()
	report, err := count(*dir, *calls)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !*verbose {
		report, _, _ = strings.Cut(report, "\n")
	}
	fmt.Println(strings.TrimSpace(report))
}

// count builds the probe in a tree, runs it, and returns what it prints.
func count(dir string, calls int) (report string, err error) {
	temp, err := os.MkdirTemp("", "lockcount")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if dir, err = filepath.Abs(filepath.Join(dir, "e2e")); err != nil {
		return "", err
	}
	o := overlay{dir: dir, temp: temp, Replace: map[string]string{}}
	program := filepath.Join(temp, "probe")
	if err := errors.Join(
		o.addFile(filepath.Join(dir, "lockcount", "counter", "counter.go"), counterSource),
		o.addFile(filepath.Join(dir, "lockcount", "probe", "main.go"), probeSource),
		o.replaceMutexes(),
	); err != nil {
		return "", err
	}
	if _, err := o.runCommand("build", "-o", program, self+"probe"); err != nil {
		return "", err
	}
	out, err := output(exec.Command(program, "-data", filepath.Join(temp, "data.db"), "-calls", strconv.Itoa(calls))) //nolint:gosec // built above
	return string(out), err
}

// overlay lists the files that the go command replaces, in its JSON format.
type overlay struct {
	dir, temp string
	Replace   map[string]string
}

func (o *overlay) addFile(path string, text []byte) error {
	copied := filepath.Join(o.temp, strconv.Itoa(len(o.Replace))+".go")
	o.Replace[path] = copied
	return os.WriteFile(copied, text, 0o600)
}

func (o *overlay) runCommand(command string, args ...string) ([]byte, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(o.temp, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", append([]string{command, "-overlay", file}, args...)...) //nolint:gosec // all arguments are from this file
	cmd.Dir = o.dir
	return output(cmd)
}

func output(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", cmd, err, stderr.Bytes())
	}
	return out, nil
}

// replaceMutexes rewrites the backend's packages that the probe needs.
func (o *overlay) replaceMutexes() error {
	const format = `{{$p := .}}{{range .GoFiles}}{{$p.ImportPath}} {{$p.Dir}}/{{.}}{{"\n"}}{{end}}`
	list, err := o.runCommand("list", "-deps", "-f", format, self+"probe")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		pkg, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(pkg, backend) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rewritten, err := rewrite(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := o.addFile(path, rewritten); err != nil {
			return err
		}
	}
	return nil
}

var (
	mutex         = regexp.MustCompile(`\bsync\.((RW)?Mutex)\b`)
	packageClause = regexp.MustCompile(`(?m)^package \w+`)
	renamedSync   = regexp.MustCompile(`(?m)^(import)?\s+[\w.]+ "sync"$`)
)

// rewrite replaces the mutexes in a file. Lines keep their numbers.
func rewrite(text []byte) ([]byte, error) {
	if renamedSync.Match(text) {
		return nil, errors.New("sync must be imported by its own name, so that its mutexes are found")
	}
	clause := packageClause.FindIndex(text)
	if clause == nil || !bytes.Contains(text, []byte(`"sync"`)) || !mutex.Match(text) {
		return text, nil
	}
	return slices.Concat(
		text[:clause[1]], []byte(`; import lockcounter "`+self+`counter"`),
		mutex.ReplaceAll(text[clause[1]:], []byte("lockcounter.$1")),
		[]byte("\nvar _ sync.Locker // sync may have no other use\n"),
	), nil
}
