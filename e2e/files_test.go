package e2e

import (
	"cmp"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// filesEndingIn returns the repository's files with one of some endings, except
// for what is installed, built or hidden.
func filesEndingIn(t *testing.T, endings ...string) (paths []string) {
	t.Helper()
	notOurs := []string{"node_modules", "bin", "dist"}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !entry.IsDir():
			if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) }) {
				paths = append(paths, path)
			}
		case path != root && (strings.HasPrefix(entry.Name(), ".") || slices.Contains(notOurs, entry.Name())):
			return fs.SkipDir
		}
		return nil
	}))
	return paths
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// bannedNames are names of folders that do not say what the folder contains.
var bannedNames = []string{"util", "utils", "common", "types", "pkg", "helper", "helpers", "misc", "shared", "lib", "limit", "observe", "testkit"}

func TestNamesOfFolders(t *testing.T) {
	for _, path := range filesEndingIn(t, "") {
		for folder := range strings.SplitSeq(filepath.ToSlash(filepath.Dir(path)), "/") {
			assert.NotContains(t, bannedNames, folder, "%s: the name does not say what the folder contains", path)
		}
	}
}

// TestFilesAreShort checks the length of files that are not generated.
func TestFilesAreShort(t *testing.T) {
	generated := regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)
	for _, path := range filesEndingIn(t, ".go", ".ts", ".tsx") {
		text := read(t, path)
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
	for _, path := range filesEndingIn(t, "_test.go") {
		text := read(t, path)
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

var (
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
	linkText = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
)

// What README shows is code that compiles: each block stands, letter for
// letter, in an example.
func TestReadmeShowsExamples(t *testing.T) {
	var examples []string
	for _, path := range filesEndingIn(t, ".go") {
		if strings.HasPrefix(path, filepath.Join(root, "examples")) {
			examples = append(examples, read(t, path))
		}
	}
	blocks := goBlock.FindAllStringSubmatch(read(t, filepath.Join(root, "README.md")), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Contains(t, strings.Join(examples, "\n"), block[1])
	}
}

// No page links to a file that is not there.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, path := range filesEndingIn(t, ".md") {
		for _, link := range linkText.FindAllStringSubmatch(read(t, path), -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(path), link[1]))
			require.NoError(t, err, "a link in %s", path)
		}
	}
}
