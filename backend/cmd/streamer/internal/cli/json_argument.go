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

// maxJSON is how many bytes of JSON fit into a request.
const maxJSON = 32 << 10

// readJSON reads JSON that was given as text, as @FILE, or as - for standard
// input. what names it in errors.
func (a *App) readJSON(what, argument string) (json.RawMessage, error) {
	data := []byte(argument)
	path, isFile := strings.CutPrefix(argument, "@")
	var input io.Reader
	switch {
	case argument == "-":
		path, input = "standard input", a.Stdin
	case isFile:
		f, err := os.Open(path)
		if err != nil {
			return nil, usageFailure(clean(err.Error()), "")
		}
		defer func() { _ = f.Close() }()
		input = f
	}
	if input != nil {
		var err error
		if data, err = io.ReadAll(io.LimitReader(input, maxJSON+1)); err != nil {
			return nil, failed(path, "", err)
		}
		what += " (" + path + ")"
	}
	data = bytes.TrimSpace(data)
	if len(data) > maxJSON {
		return nil, usageFailure(what+" is longer than 32 KiB, the limit of a request", "")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		text := what + " is not JSON: " + clean(err.Error())
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			text += fmt.Sprintf(" (byte %d)", syntax.Offset)
		}
		return nil, usageFailure(text, `in a shell, put it in single quotes: '{"name": "value"}'`)
	}
	return data, nil
}
