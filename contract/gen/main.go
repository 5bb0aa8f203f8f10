// Command gen generates code from the contract: Go types, strict decoders
// and constants from schema.json and codes.json, and client-go's copies of the
// packages wire and jsonscan. Run it from the repository's root as `go run ./contract/gen`;
// with -check it writes nothing and fails when a file differs from what it
// would write.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/golang"
	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// The input files and the folders of the output, relative to the root.
const (
	schemaFile = "contract/schema.json"
	codesFile  = "contract/codes.json"
	wire       = "backend/internal/wire"
	core       = "backend/internal/core"
	client     = "client-go"
)

// modules begins the import path of each package; its folder follows.
const modules = "github.com/pay-theory/streamer/"

// copies maps the packages that the client's module also needs to the folders of
// their copies.
var copies = map[string]string{
	wire:                        "client-go/internal/wire",
	"backend/internal/jsonscan": "client-go/internal/jsonscan",
}

const help = `usage: go run ./contract/gen [-check] [-root DIR]

Writes what follows from contract/schema.json and contract/codes.json:

  backend/internal/wire/*_gen.go   messages, decoders, encoders, limits, codes
  client-go/internal/wire/*.go, client-go/internal/jsonscan/*.go
                                   copies of backend's, without tests
  backend/internal/core/codes_gen.go, client-go/codes_gen.go
                                   the codes, for handlers and for applications

`

func main() {
	check := flag.Bool("check", false, "write nothing; fail when a file is not what it should be, and show where")
	root := flag.String("root", ".", "the repository's root")
	flag.Usage = func() {
		_, _ = fmt.Fprint(flag.CommandLine.Output(), help)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "gen: there are no arguments, only flags:", strings.Join(flag.Args(), " "))
		os.Exit(2)
	}
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run generates every file, and writes it or compares it.
func run(root string, check bool) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	return errors.Join(writeFiles(root, files, check), findStray(root, files))
}

// generate returns the files by their names relative to the root.
func generate(root string) (map[string][]byte, error) {
	m, err := readModel(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	generated, err := golang.Wire(m)
	if err != nil {
		return nil, err
	}
	for name, text := range generated {
		files[filepath.Join(wire, name)] = text
		files[filepath.Join(copies[wire], name)] = text
	}
	for dir, pkg := range map[string]string{core: "core", client: "client"} {
		if files[filepath.Join(dir, "codes_gen.go")], err = golang.Codes(m, pkg); err != nil {
			return nil, err
		}
	}
	return files, addCopies(root, files)
}

// readModel reads the contract.
func readModel(root string) (*model.Model, error) {
	schema, err := os.ReadFile(filepath.Join(root, schemaFile))
	if err != nil {
		return nil, err
	}
	codes, err := os.ReadFile(filepath.Join(root, codesFile))
	if err != nil {
		return nil, err
	}
	return model.Build(schema, codes)
}

// addCopies adds the copies of the files that are written by hand. They differ
// from the source in the import paths of other copied packages. Tests are not
// copied, because the code is the same.
func addCopies(root string, files map[string][]byte) error {
	for from, to := range copies {
		names, err := filepath.Glob(filepath.Join(root, from, "*.go"))
		if err != nil {
			return err
		}
		for _, path := range names {
			name := filepath.Base(path)
			if strings.HasSuffix(name, "_gen.go") || strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[filepath.Join(to, name)] = rewriteImports(text)
		}
	}
	return nil
}

// rewriteImports turns imports of copied packages into imports of the copies.
func rewriteImports(text []byte) []byte {
	for from, to := range copies {
		text = bytes.ReplaceAll(text, []byte(`"`+modules+from+`"`), []byte(`"`+modules+to+`"`))
	}
	return text
}
