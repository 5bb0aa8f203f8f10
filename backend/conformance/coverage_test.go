package conformance_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pay-theory/streamer/backend/conformance"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ruleID matches the id of a rule, as it follows the rule in PROTOCOL.md.
var ruleID = regexp.MustCompile("`\\[(R-[a-z0-9-]+)\\]`")

// coverage is what the contract says about its rules and invariants.
type coverage struct {
	ids        []string            // the rules of PROTOCOL.md in its order, then I1 to I14
	covers     map[string][]string // by file of transcripts or vectors
	exceptions []exception
}

// exception is a rule or an invariant that no transcript and no vector shows.
type exception struct {
	ID     string `json:"id"`
	Tested string `json:"tested"` // the folder whose tests show it
	Reason string `json:"reason"`
}

// problems returns what is wrong: every id is unique, and either covered or
// excepted; every id that is named exists; every file covers a rule.
func (c *coverage) problems() (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	known, covered, excepted := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, id := range c.ids {
		if known[id] {
			add("two rules have the id %s", id)
		}
		known[id] = true
	}
	for file, ids := range c.covers {
		if !slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, "R-") }) {
			add("%s covers no rule", file)
		}
		for _, id := range ids {
			if !known[id] {
				add("%s covers %s, which does not exist", file, id)
			}
			covered[id] = true
		}
	}
	for _, e := range c.exceptions {
		switch {
		case !known[e.ID]:
			add("the exception %s does not exist", e.ID)
		case covered[e.ID]:
			add("%s is both covered and excepted", e.ID)
		case excepted[e.ID]:
			add("%s is excepted twice", e.ID)
		case len(e.Reason) < 20 || e.Tested == "":
			add("the exception %s needs a reason and the folder that tests it", e.ID)
		}
		excepted[e.ID] = true
	}
	for _, id := range c.ids {
		if !covered[id] && !excepted[id] {
			add("%s is neither covered nor excepted", id)
		}
	}
	return out
}

// readFile returns a file of the contract.
func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(contract, name))
	require.NoError(t, err)
	return data
}

// Each rule of PROTOCOL.md and each invariant is covered by a transcript or by
// vectors, or excepted for a reason.
func TestRulesAreCovered(t *testing.T) {
	conformance.NeedContract(t)
	c := coverage{covers: map[string][]string{}}
	page := readFile(t, "PROTOCOL.md")
	for _, m := range ruleID.FindAllSubmatch(page, -1) {
		c.ids = append(c.ids, string(m[1]))
	}
	for n := 1; n <= 14; n++ {
		c.ids = append(c.ids, fmt.Sprintf("I%d", n))
	}
	for _, pattern := range []string{"sessions/server/*.json", "sessions/client/*.json", "vectors/*/*.json"} {
		files, err := filepath.Glob(filepath.Join(contract, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			name, _ := filepath.Rel(contract, file)
			var content struct{ Covers []string }
			require.NoError(t, json.Unmarshal(readFile(t, name), &content), name)
			c.covers[name] = content.Covers
		}
	}
	require.NoError(t, json.Unmarshal(readFile(t, "sessions/exceptions.json"), &c.exceptions))
	assert.Empty(t, c.problems())
	for _, e := range c.exceptions {
		assert.DirExists(t, filepath.Join(contract, "..", e.Tested), e.ID)
	}
	for n, section := range strings.Split(string(page), "\n## ")[1:] {
		if number := n + 1; number >= 2 && number <= 13 {
			assert.Regexp(t, ruleID, section, "section %d of PROTOCOL.md has no rule with an id", number)
		}
	}
}

func TestCoverageProblems(t *testing.T) {
	const reason = "No transcript can see this."
	for want, change := range map[string]func(c *coverage){
		"":                                     func(*coverage) {},
		"two rules have the id R-a":            func(c *coverage) { c.ids = append(c.ids, "R-a") },
		"R-c is neither covered nor excepted":  func(c *coverage) { c.ids = append(c.ids, "R-c") },
		"I1 is neither covered nor excepted":   func(c *coverage) { c.covers["f"] = []string{"R-a"} },
		"I2 is neither covered nor excepted":   func(c *coverage) { c.exceptions = c.exceptions[:1] },
		"f covers R-c, which does not exist":   func(c *coverage) { c.covers["f"] = append(c.covers["f"], "R-c") },
		"g covers no rule":                     func(c *coverage) { c.covers["g"] = []string{"I1"} },
		"the exception R-c does not exist":     func(c *coverage) { c.exceptions = append(c.exceptions, exception{"R-c", "f", reason}) },
		"R-a is both covered and excepted":     func(c *coverage) { c.exceptions = append(c.exceptions, exception{"R-a", "f", reason}) },
		"R-b is excepted twice":                func(c *coverage) { c.exceptions = append(c.exceptions, exception{"R-b", "f", reason}) },
		"the exception R-b needs a reason and": func(c *coverage) { c.exceptions[0].Reason = "" },
	} {
		c := coverage{
			ids: []string{"R-a", "R-b", "I1", "I2"}, covers: map[string][]string{"f": {"R-a", "I1"}},
			exceptions: []exception{{"R-b", "f", reason}, {"I2", "f", reason}},
		}
		change(&c)
		got := c.problems()
		if want == "" {
			assert.Empty(t, got)
		} else if assert.Len(t, got, 1, want) {
			assert.True(t, strings.HasPrefix(got[0], want), got)
		}
	}
}
