// Package sessions holds a copy of the transcripts of contract/sessions, so
// that whoever has the module, or a program that was built from it, can play
// them. The copy is byte for byte the same: a test compares them, and go
// generate writes it again.
package sessions

import (
	"embed"
	"io/fs"
)

//go:generate sh -c "rm -rf server client && cp -r ../../../contract/sessions/server ../../../contract/sessions/client ."

//go:embed server/*.json client/*.json
var files embed.FS

// Server returns the transcripts in which a server is under test, as
// conformance.Load reads them.
func Server() fs.FS { return subfolder("server") }

// Client returns the transcripts in which a client is under test.
func Client() fs.FS { return subfolder("client") }

func subfolder(dir string) fs.FS {
	out, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the directory's name is a constant, and a good one
	}
	return out
}
