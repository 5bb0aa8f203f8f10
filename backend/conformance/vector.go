package conformance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Vector is one frame of contract/vectors, and what becomes of it.
// contract/README.md describes the format.
type Vector struct {
	// Name is its own within all vectors.
	Name string
	// From is who sends the frame.
	From Side
	// Valid frames are what the schema allows.
	Valid bool
	// Frame is sent as one text frame, be it UTF-8 or not.
	Frame []byte
	// By says what refuses an invalid one.
	By Judge
	// Answer is what an invalid frame of a client gets, or what a client finds
	// in a frame of a server's that is malformed.
	Answer VectorAnswer
	// Types are what a client finds in a server's frame, message by message:
	// the type; "?": of no use to it; "": a foreign frame. Nil if malformed.
	Types []string
}

// Judge is what sees that a frame is invalid.
type Judge string

// The judges.
const (
	// BySchema: JSON Schema alone.
	BySchema Judge = "schema"
	// ByRule: one of the schema's own keywords, which begin with x-.
	ByRule Judge = "rule"
	// ByGrammar: it is no JSON text in UTF-8.
	ByGrammar Judge = "grammar"
)

// VectorAnswer is what an invalid frame gets.
type VectorAnswer struct {
	// Close is the close code; 0: the connection lives on, and an error comes.
	Close int
	// Code and Field are the error's; an empty Field: it has none.
	Code, Field string
	// Ref is what it echoes; empty: this is not said.
	Ref string
	// Index is the place in its batch; -1: the error has none.
	Index int
}

// LoadVectors reads the vectors from the directories valid and invalid.
func LoadVectors(dir fs.FS) ([]*Vector, error) {
	var all []*Vector
	seen := map[string]string{}
	for _, verdict := range []string{"valid", "invalid"} {
		names, err := fs.Glob(dir, verdict+"/*.json")
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			list, err := loadVectors(dir, name, verdict == "valid")
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for _, v := range list {
				if before, twice := seen[v.Name]; twice {
					return nil, fmt.Errorf("%s: a vector in %s is called %q, too", name, before, v.Name)
				}
				seen[v.Name] = name
			}
			all = append(all, list...)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there are no vectors in valid and invalid")
	}
	return all, nil
}

// vectorFile is a file of vectors as it is written. Players do not need Covers;
// a test compares it with the rules of the protocol.
type vectorFile struct {
	Direction Side          `json:"direction"`
	Covers    []string      `json:"covers"`
	Vectors   []vectorEntry `json:"vectors"`
}

type vectorEntry struct {
	Name  string            `json:"name"`
	Frame *string           `json:"frame"`
	Parts []json.RawMessage `json:"parts"`
	By    Judge             `json:"by"`
	Code  string            `json:"code"`
	Field string            `json:"field"`
	Ref   string            `json:"ref"`
	Index *int              `json:"index"`
	Close int               `json:"close"`
	Types []*string         `json:"types"`
}

func loadVectors(dir fs.FS, name string, valid bool) ([]*Vector, error) {
	text, err := fs.ReadFile(dir, path.Clean(name))
	if err != nil {
		return nil, err
	}
	var file vectorFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	if file.Direction != Client && file.Direction != Server {
		return nil, fmt.Errorf("the direction is %q, not client or server", file.Direction)
	}
	out := make([]*Vector, len(file.Vectors))
	for i := range file.Vectors {
		if out[i], err = file.Vectors[i].vector(file.Direction, valid); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Vectors[i].Name, err)
		}
	}
	return out, nil
}

// vector makes a vector of what is written, and judges whether it says what it
// must.
func (e *vectorEntry) vector(from Side, valid bool) (v *Vector, err error) {
	v = &Vector{Name: e.Name, From: from, Valid: valid, By: e.By}
	if v.Frame, err = e.frame(); err != nil {
		return nil, err
	}
	for _, t := range e.Types {
		name := ""
		if t != nil {
			name = *t
		}
		v.Types = append(v.Types, name)
	}
	v.Answer = VectorAnswer{Close: e.Close, Code: e.Code, Field: e.Field, Ref: e.Ref, Index: -1}
	if e.Index != nil {
		v.Answer.Index = *e.Index
	}
	if !valid && v.By == "" {
		v.By = BySchema
	}
	answered := e.Code != "" || e.Close != 0
	switch {
	case v.Name == "":
		return nil, errors.New("a vector has a name")
	case valid && (answered || e.By != ""):
		return nil, errors.New("a valid vector is not refused")
	case v.By != "" && v.By != BySchema && v.By != ByRule && v.By != ByGrammar:
		return nil, fmt.Errorf("nobody is called %q", v.By)
	case from == Client && !valid && (e.Code != "") == (e.Close != 0):
		return nil, errors.New("an invalid frame of a client's gets a code, or a close code")
	case from == Client && e.Types != nil:
		return nil, errors.New("types are of a server's frames")
	case from == Server && (e.Types == nil) == (e.Code == ""):
		return nil, errors.New("a server's frame has types, or the code malformed")
	}
	return v, nil
}

// frame puts the parts together.
func (e *vectorEntry) frame() ([]byte, error) {
	if (e.Frame != nil) == (e.Parts != nil) {
		return nil, errors.New("it has a frame, or parts")
	}
	if e.Frame != nil {
		return []byte(*e.Frame), nil
	}
	var out []byte
	for _, p := range e.Parts {
		var text string
		if json.Unmarshal(p, &text) == nil {
			out = append(out, text...)
			continue
		}
		part, err := vectorPart(p)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// vectorPart makes a part that is no text.
func vectorPart(p []byte) ([]byte, error) {
	var part struct {
		Repeat []json.RawMessage `json:"repeat"`
		Hex    *string           `json:"hex"`
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(&part); err != nil {
		return nil, err
	}
	if part.Hex != nil && part.Repeat == nil {
		return hex.DecodeString(*part.Hex)
	}
	var text string
	var n int
	if part.Hex != nil || len(part.Repeat) != 2 || json.Unmarshal(part.Repeat[0], &text) != nil || json.Unmarshal(part.Repeat[1], &n) != nil || n < 0 || n*len(text) > 1<<20 {
		return nil, fmt.Errorf("a part is a text, {\"hex\": bytes} or {\"repeat\": [text, n]} of at most 1 MiB, and not %s", p)
	}
	return []byte(strings.Repeat(text, n)), nil
}
