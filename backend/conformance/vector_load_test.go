package conformance

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Vector is one frame of contract/vectors, and what becomes of it.
// contract/README.md describes the format.
type Vector struct {
	Name  string   `json:"name"`  // unique within all vectors
	From  Side     `json:"-"`     // who sends the frame
	Valid bool     `json:"-"`     // the schema allows it
	Frame []byte   `json:"-"`     // sent as one text frame, whether it is UTF-8 or not
	By    Detector `json:"by"`    // what refuses an invalid one. Default: BySchema
	Close int      `json:"close"` // the close code for a client's invalid frame; 0: an error comes
	// Code and Field are the error's, or what a client finds in a malformed
	// frame of a server's. An empty Field: it has none.
	Code  string `json:"code"`
	Field string `json:"field"`
	Ref   string `json:"ref"`   // the error's; empty: any
	Index *int   `json:"index"` // the place in the batch; nil: the error has none
	// Types are what a client finds in a server's frame, message by message:
	// the type; "?": of no use to it; nil: a foreign frame. Nil if malformed.
	Types []*string `json:"types"`
}

// Detector is what refuses an invalid frame.
type Detector string

// The judges.
const (
	BySchema  Detector = "schema"  // JSON Schema alone
	ByRule    Detector = "rule"    // one of the schema's own keywords, which begin with x-
	ByGrammar Detector = "grammar" // it is no JSON text in UTF-8
)

// vectorEntry is a vector as it is written: with its frame, or the parts of it.
type vectorEntry struct {
	Vector
	Text  *string           `json:"frame"`
	Parts []json.RawMessage `json:"parts"`
}

// LoadVectors reads the vectors from the directories valid and invalid.
func LoadVectors(dir fs.FS) ([]*Vector, error) {
	var all []*Vector
	files, err := fs.Glob(dir, "*valid/*.json")
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, file := range files {
		text, err := fs.ReadFile(dir, file)
		if err != nil {
			return nil, err
		}
		var content struct {
			Direction Side           `json:"direction"`
			Covers    []string       `json:"covers"` // compared with the rules by another test
			Vectors   []*vectorEntry `json:"vectors"`
		}
		if err := decodeStrict(text, &content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if content.Direction != Client && content.Direction != Server {
			return nil, fmt.Errorf("%s: the direction is %q, not client or server", file, content.Direction)
		}
		for _, e := range content.Vectors {
			e.From, e.Valid = content.Direction, strings.HasPrefix(file, "valid/")
			if before, twice := seen[e.Name]; twice {
				return nil, fmt.Errorf("%s: a vector in %s is called %q, too", file, before, e.Name)
			}
			if err := e.complete(); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, e.Name, err)
			}
			seen[e.Name] = file
			all = append(all, &e.Vector)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there are no vectors in valid and invalid")
	}
	return all, nil
}

// complete makes the frame, and refuses what says too little or too much.
func (e *vectorEntry) complete() (err error) {
	if !e.Valid && e.By == "" {
		e.By = BySchema
	}
	switch {
	case e.Name == "":
		return errors.New("a vector has a name")
	case (e.Text != nil) == (e.Parts != nil):
		return errors.New("it has a frame, or parts")
	case e.Valid && (e.Code != "" || e.Close != 0 || e.By != ""):
		return errors.New("a valid vector is not refused")
	case !slices.Contains([]Detector{"", BySchema, ByRule, ByGrammar}, e.By):
		return fmt.Errorf("there is no judge %q", e.By)
	case e.From == Client && !e.Valid && (e.Code != "") == (e.Close != 0):
		return errors.New("an invalid frame of a client's gets a code, or a close code")
	case e.From == Client && e.Types != nil:
		return errors.New("types are of a server's frames")
	case e.From == Server && (e.Types == nil) == (e.Code == ""):
		return errors.New("a server's frame has types, or the code malformed")
	case e.Text != nil:
		e.Frame = []byte(*e.Text)
	}
	for _, p := range e.Parts {
		part, err := vectorPart(p)
		if err != nil {
			return err
		}
		e.Frame = append(e.Frame, part...)
	}
	return nil
}

// vectorPart returns the bytes of a part.
func vectorPart(p json.RawMessage) ([]byte, error) {
	var part struct {
		Repeat json.RawMessage `json:"repeat"`
		Hex    *string         `json:"hex"`
	}
	if isString(p) {
		return []byte(stringOf(p)), nil
	}
	if err := decodeStrict(p, &part); err != nil {
		return nil, err
	}
	text, n, ok := repetition(part.Repeat)
	switch {
	case part.Hex != nil && part.Repeat == nil:
		return hex.DecodeString(*part.Hex)
	case part.Hex == nil && ok && isString(text) && n*len(stringOf(text)) <= 1<<20:
		return []byte(strings.Repeat(stringOf(text), n)), nil
	}
	return nil, fmt.Errorf("a part is a text, {\"hex\": bytes} or {\"repeat\": [text, n]} of at most 1 MiB, and not %s", p)
}
