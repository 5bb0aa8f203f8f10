package jobs

import (
	"bytes"
	"fmt"
)

var slotKey = []byte(`"slot":`)

// slotOf reads a job's slot without decoding the rest. PostgreSQL puts spaces
// into the JSON that it keeps.
func slotOf(encoded []byte) (int, error) {
	_, rest, found := bytes.Cut(encoded, slotKey)
	rest = bytes.TrimLeft(rest, " ")
	slot, digits := 0, 0
	for digits < len(rest) && digits < 9 && '0' <= rest[digits] && rest[digits] <= '9' {
		slot = 10*slot + int(rest[digits]-'0')
		digits++
	}
	if !found || digits == 0 {
		return 0, fmt.Errorf("a job without a slot: %.100q", encoded)
	}
	return slot, nil
}
