package e2e

import (
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

// What README shows is code that compiles: each block stands, letter for
// letter, in an example.
func TestReadmeShowsExamples(t *testing.T) {
	var examples []string
	for path, text := range filesEndingIn(t, ".go") {
		if strings.HasPrefix(path, filepath.Join(root, "examples")) {
			examples = append(examples, text)
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
	for path, text := range filesEndingIn(t, ".md") {
		for _, link := range linkText.FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") || strings.HasPrefix(link[1], "mailto:") {
				continue
			}
			_, err := os.Stat(filepath.Join(filepath.Dir(path), link[1]))
			require.NoError(t, err, "a link in %s", path)
		}
	}
}
