package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxDocument is how many bytes of JSON fit into a request: a client's message
// holds no more.
const maxDocument = 32 << 10

// document reads JSON that was given as text, as @FILE, or as - for standard
// input. what names it in errors.
func (a *App) document(what, text string) (json.RawMessage, error) {
	data := []byte(text)
	from := ""
	switch {
	case text == "-":
		from = " (standard input)"
		read, err := readAtMost(a.Stdin)
		if err != nil {
			return nil, failed("standard input", "", err)
		}
		data = read
	case strings.HasPrefix(text, "@"):
		from = " (" + text[1:] + ")"
		f, err := os.Open(text[1:])
		if err != nil {
			return nil, usage(clean(err.Error()), "")
		}
		defer func() { _ = f.Close() }()
		if data, err = readAtMost(f); err != nil {
			return nil, failed(text[1:], "", err)
		}
	}
	data = bytes.TrimSpace(data)
	if len(data) > maxDocument {
		return nil, usage(what+from+" is longer than 32 KiB, which is all that a request holds", "")
	}
	if err := checkJSON(data); err != nil {
		return nil, usage(what+from+" is not JSON: "+clean(err.Error()), `in a shell, put it in single quotes: '{"name": "value"}'`)
	}
	return data, nil
}

// readAtMost reads one byte more than is allowed, so that the excess shows.
func readAtMost(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, maxDocument+1))
}

// checkJSON tells where a text stops being JSON.
func checkJSON(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("at byte %d: %w", syntax.Offset, syntax)
	}
	return err
}
