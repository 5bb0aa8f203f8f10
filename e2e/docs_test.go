package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
	linkText = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
)

// files returns the files below the repository's root with an ending.
func files(t *testing.T, below, ending string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(filepath.Join(root, below), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if err == nil && strings.HasSuffix(path, ending) {
			out = append(out, path)
		}
		return err
	})
	require.NoError(t, err)
	return out
}

// What README shows is code that compiles: each block stands, letter for
// letter, in an example.
func TestReadmeShowsExamples(t *testing.T) {
	var sources []string
	for _, name := range files(t, "examples", ".go") {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		sources = append(sources, string(data))
	}
	all := strings.Join(sources, "\n")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	blocks := goBlock.FindAllStringSubmatch(string(readme), -1)
	require.NotEmpty(t, blocks)
	for _, block := range blocks {
		require.Contains(t, all, block[1])
	}
}

// No page links to a file that is not there.
func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range files(t, ".", ".md") {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, link := range linkText.FindAllStringSubmatch(string(data), -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(name), link[1]))
			require.NoError(t, err, "a link in %s", name)
		}
	}
}
