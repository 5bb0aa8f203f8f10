package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSplitWords(t *testing.T) {
	for name, want := range map[string]string{
		"readerLease": "reader lease", "HTTPServer_v2": "http server v 2", "TestRule05Tenants": "test rule 05 tenants",
		"sha256Sum": "sha 256 sum", "substring": "substring", "newID": "new id", "ABCrew": "ab crew", "a-b c": "a b c",
	} {
		assert.Equal(t, want, splitWords(name))
	}
}

func TestPlantedNamesAreFound(t *testing.T) {
	const source = `package crew
import theCrew "os"
type ( myCrew[crewT any] struct { crew1, settledAt int }; face interface { CrewOf() })
const Leave, leave, unsettled, makeItSure, screw = 1, 2, 3, 4, 5
func (crewR myCrew[T]) startCrew(crewIn int) (crewOut int) {
	crewA, x := 1, func(crewB int) {}
	for crewKey, crewValue := range y { var crewV, makeSureOf = z, theCrew.Args }
	switch crewS := v.(type) {}
crewL: for { break crewL }
	t.Run("the crew's name", f)
	var oldCrew = crewA
}
`
	const list = "# comment\ncrew\tworker pool\toldCrew b/\na/:=Leave\tUnsubscribe\nsettle*\tend\tb/\nmake sure\treconcile\tb/\nb/:leave\tunsubscribe\tb/b\n"
	root := t.TempDir()
	for file, text := range map[string]string{
		"a/crew/crew_test.go": source, "a/crew/x_gen.go": source, "b/b.go": source + "func take() {}\nfunc main() {}\n", "b/main.go": "package b\nvar crew int",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(file)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(root, file), []byte(text), 0o600))
	}
	files := []string{"a/crew/crew_test.go", "a/crew/x_gen.go", "b/b.go", "b/deleted.go", "b/main.go", "a/go.mod", "b/go.mod"}
	shares, wrong, err := check(root, files, parseRules(list))
	require.NoError(t, err)
	const file, limit = "a/crew/crew_test.go:", "at most 15 % may have four letters or less: take"
	for _, want := range []string{file + `5: function startCrew contains "crew": use "worker pool"`, "b: " + limit, "all modules: " + limit} {
		assert.Contains(t, wrong, want)
	}
	const want = "1 crew,1 crew_test,1 crew,2 theCrew,3 myCrew,3 crewT,3 crew1,3 settledAt,3 CrewOf,4 Leave,5 startCrew,5 crewR,5 crewIn,5 crewOut," +
		`6 crewA,6 crewB,7 crewKey,7 crewValue,7 crewV,7 makeSureOf,8 crewS,9 crewL,10 "the crew's name"`
	var found []string
	for _, w := range wrong[:len(wrong)-2] {
		line, text, _ := strings.Cut(strings.TrimPrefix(w, file), ": ")
		_, text, _ = strings.Cut(text, " ")
		text, _, _ = strings.Cut(text, " contains ")
		found = append(found, line+" "+text)
	}
	assert.Equal(t, want, strings.Join(found, ","))
	assert.Equal(t, "b: 33.3 % of the function names have four letters or less (1 of 3)", shares[1])
}
