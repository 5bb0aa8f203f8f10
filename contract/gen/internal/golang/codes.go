package golang

import "github.com/pay-theory/streamer/contract/gen/internal/model"

// errorCodes writes the error codes as constants.
func errorCodes(f *file, m *model.Model) {
	f.line("// Error codes.\nconst (")
	for _, c := range m.Codes {
		f.line("\t// Code%s: %s\n\tCode%s = %q", exported(c.Code), c.Meaning, exported(c.Code), c.Code)
	}
	f.line(")")
}

// codesOfWire writes all of codes.json for package wire.
func codesOfWire(f *file, m *model.Model) error {
	errorCodes(f, m)
	f.line("\n// Close codes.\nconst (")
	for _, c := range m.Closes {
		f.line("\t// Close%s: %s\n\tClose%s = %d", exported(c.Name), c.Meaning, exported(c.Name), c.Close)
	}
	f.line(")\n\n// Codes maps every error code of the protocol to what it means to a client.\nvar Codes = map[string]CodeInfo{")
	for _, c := range m.Codes {
		f.line("\tCode%s: {Retryable: %t, Fatal: %t, Hint: %q},", exported(c.Code), c.Retryable, c.Fatal, c.Client)
	}
	f.line("}\n\n// Reconnects holds, for every close code of the protocol, whether a client connects again.\nvar Reconnects = map[int]bool{")
	for _, c := range m.Closes {
		f.line("\tClose%s: %t,", exported(c.Name), c.Reconnect)
	}
	f.line("}")
	return nil
}
