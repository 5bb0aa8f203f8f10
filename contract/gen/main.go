// Command gen writes what follows from the contract: Go types, strict decoders
// and constants from schema.json and codes.json, and client-go's copy of the
// wire package. Run it from the repository's root as `go run ./contract/gen`;
// with -check it writes nothing and fails when a file differs from what it
// would write.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pay-theory/streamer/contract/gen/internal/golang"
	"github.com/pay-theory/streamer/contract/gen/internal/model"
)

// What is read, and where things are written; all from the root.
const (
	schemaFile = "contract/schema.json"
	codesFile  = "contract/codes.json"
	source     = "backend/internal/wire"
	copied     = "client-go/internal/wire"
	core       = "backend/internal/core"
	client     = "client-go"
)

const help = `usage: go run ./contract/gen [-check] [-root DIR]

Writes what follows from contract/schema.json and contract/codes.json:

  backend/internal/wire/*_gen.go   messages, decoders, encoders, limits, codes
  client-go/internal/wire/*.go     the same, and a copy of all that is written
                                   by hand in backend/internal/wire
  backend/internal/core/codes_gen.go, client-go/codes_gen.go
                                   the codes, for handlers and for applications

`

func main() {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	check := flags.Bool("check", false, "write nothing; fail when a file is not what it should be, and show where")
	root := flags.String("root", ".", "the repository's root")
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), help)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	case flags.NArg() > 0:
		fmt.Fprintln(os.Stderr, "gen: there are no arguments, only flags:", strings.Join(flags.Args(), " "))
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
	return errors.Join(settle(root, files, check), stray(root, files))
}

// generate returns the files by their names, seen from the root.
func generate(root string) (map[string][]byte, error) {
	m, err := readModel(root)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	wire, err := golang.Wire(m)
	if err != nil {
		return nil, err
	}
	for name, text := range wire {
		files[filepath.Join(source, name)] = text
		files[filepath.Join(copied, name)] = text
	}
	for dir, pkg := range map[string]string{core: "core", client: "client"} {
		if files[filepath.Join(dir, "codes_gen.go")], err = golang.Codes(m, pkg); err != nil {
			return nil, err
		}
	}
	return files, copyByHand(root, files)
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

// copyByHand adds the twins of what is written by hand.
func copyByHand(root string, files map[string][]byte) error {
	entries, err := os.ReadDir(filepath.Join(root, source))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_gen.go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, source, e.Name()))
		if err != nil {
			return err
		}
		files[filepath.Join(copied, e.Name())] = text
	}
	return nil
}
