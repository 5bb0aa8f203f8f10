// Command words keeps the words of words.txt out of the names in Go files, and
// limits the share of short function names.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"log"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

//go:embed words.txt
var wordList string

// maxShort is the percentage of a module's functions outside tests whose names may
// have four letters or less. The conventional names, which interfaces of Go or
// custom require, do not count as short.
const maxShort = 15

var conventional = strings.Fields("Addr As Do Done Err Get Help Is Len Less Lock New Next Pop Push Read Recv Run Send Swap init main")

// rule is a line of words.txt.
type rule struct {
	folder, banned, instead string
	except                  []string
}

func parseRules(list string) (rules []rule) {
	for line := range strings.Lines(list) {
		columns := append(strings.Split(strings.TrimSpace(line), "\t"), "")
		if len(columns) < 3 || line[0] == '#' {
			continue
		}
		colon := strings.Index(columns[0], ":")
		rules = append(rules, rule{columns[0][:max(colon, 0)], columns[0][colon+1:], columns[1], strings.Fields(columns[2])})
	}
	return rules
}

func (r rule) forbids(n name) bool {
	excepted := func(e string) bool { return e == n.text || strings.Contains(e, "/") && strings.HasPrefix(n.file, e) }
	if !strings.HasPrefix(n.file, r.folder) || slices.ContainsFunc(r.except, excepted) {
		return false
	}
	if whole, ok := strings.CutPrefix(r.banned, "="); ok {
		return n.text == whole
	}
	return strings.Contains(" "+n.words+" ", strings.TrimSuffix(" "+r.banned+" ", "* "))
}

var (
	lowerUpper = regexp.MustCompile(`([a-z])([A-Z])`)
	acronym    = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
	wordOrNum  = regexp.MustCompile(`[a-z]+|[0-9]+`)
)

// splitWords makes "http server v 2" of HTTPServer_v2.
func splitWords(name string) string {
	spaced := acronym.ReplaceAllString(lowerUpper.ReplaceAllString(name, "$1 $2"), "$1 $2")
	return strings.Join(wordOrNum.FindAllString(strings.ToLower(spaced), -1), " ")
}

// name is one that a file declares or has. Kind is identifier, function, subtest,
// file or folder.
type name struct {
	file        string
	line        int
	kind        string
	text, words string
}

// namesIn returns the names in a Go file below the folder root.
func namesIn(root, file string) (names []name, err error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, filepath.Join(root, file), nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	add := func(kind string, node ast.Node, text string) {
		names = append(names, name{file, fset.Position(node.Pos()).Line, kind, text, splitWords(text)})
	}
	add("folder", tree, path.Base(path.Dir(file)))
	add("file", tree, strings.TrimSuffix(path.Base(file), ".go"))
	// The rest of the package and what it imports are not known: that is no error here.
	defined := types.Info{Defs: map[*ast.Ident]types.Object{}}
	config := types.Config{Error: func(error) {}}
	_, _ = config.Check("", fset, []*ast.File{tree}, &defined)
	for node := range ast.Preorder(tree) {
		switch n := node.(type) {
		case *ast.FuncDecl:
			add("function", n.Name, n.Name.Name)
			delete(defined.Defs, n.Name)
		case *ast.Ident:
			if _, ok := defined.Defs[n]; ok {
				add("identifier", n, n.Name)
			}
		case *ast.CallExpr:
			fun, ok := n.Fun.(*ast.SelectorExpr)
			if ok && fun.Sel.Name == "Run" && len(n.Args) == 2 && strings.HasSuffix(file, "_test.go") {
				if text, ok := n.Args[0].(*ast.BasicLit); ok {
					add("subtest", text, text.Value)
				}
			}
		}
	}
	return names, nil
}

// check returns each module's share of short function names, and what is wrong.
func check(root string, files []string, rules []rule) (shares, wrong []string, err error) {
	const all = "all modules"
	short, functions, folders := map[string][]string{}, map[string]int{}, map[string]bool{}
	for _, file := range files {
		folder := path.Dir(file)
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_gen.go") || strings.Contains(file, "testdata/") {
			continue
		}
		names, err := namesIn(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, not yet committed
		} else if err != nil {
			return nil, nil, err
		}
		module := folder
		for module != "." && !slices.Contains(files, module+"/go.mod") {
			module = path.Dir(module)
		}
		for _, n := range names {
			for _, r := range rules {
				if r.forbids(n) && !(n.kind == "folder" && folders[folder]) {
					wrong = append(wrong, fmt.Sprintf("%s:%d: %s %s contains %q: use %q", file, n.line, n.kind, n.text, strings.TrimPrefix(r.banned, "="), r.instead))
				}
			}
			for _, group := range []string{module, all} {
				if n.kind == "function" && !strings.HasSuffix(file, "_test.go") {
					functions[group]++
					if len(n.text) <= 4 && !slices.Contains(conventional, n.text) {
						short[group] = append(short[group], n.text)
					}
				}
			}
		}
		folders[folder] = true
	}
	for _, group := range slices.Sorted(maps.Keys(functions)) {
		percent := 100 * float64(len(short[group])) / float64(functions[group])
		share := fmt.Sprintf("%s: %.1f %% of the function names have four letters or less (%d of %d)", group, percent, len(short[group]), functions[group])
		if shares = append(shares, share); percent > maxShort {
			slices.Sort(short[group])
			wrong = append(wrong, fmt.Sprintf("%s: at most %d %% may have four letters or less: %s", group, maxShort, strings.Join(short[group], " ")))
		}
	}
	return shares, wrong, nil
}

func main() {
	log.SetFlags(0)
	root := flag.String("dir", ".", "the repository's root; may be a work tree of another commit")
	flag.Parse()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.go", "*go.mod")
	list.Dir = *root
	out, err := list.Output()
	if err != nil {
		log.Fatal("git ls-files: ", err)
	}
	shares, wrong, err := check(*root, strings.Split(string(out), "\x00"), parseRules(wordList))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.Join(append(wrong, shares...), "\n"))
	if len(wrong) > 0 {
		log.Fatalf("%d names to change; e2e/words/words.txt holds the words", len(wrong))
	}
}
