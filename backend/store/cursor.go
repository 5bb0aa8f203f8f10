package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"
)

// Position is a position in a list that is ordered by time, then id.
type Position struct {
	Time time.Time
	ID   string
}

// Cursor encodes a position as an opaque text that belongs to one filter. It
// holds no identity: the tenant of a reader comes only from its token.
func Cursor(p Position, filter ...string) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.Time.UnixMilli()))
	sum := filterSum(filter)
	b = append(b, sum[:]...)
	b = append(b, p.ID...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseCursor decodes a cursor. Errors: ErrCursor if it is damaged, or was made
// for another filter.
func ParseCursor(cursor string, filter ...string) (Position, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	sum := filterSum(filter)
	if err != nil || len(b) < 8+len(sum) || [8]byte(b[8:16]) != sum {
		return Position{}, ErrCursor
	}
	return Position{Time: time.UnixMilli(int64(binary.BigEndian.Uint64(b))), ID: string(b[16:])}, nil
}

func filterSum(filter []string) [8]byte {
	sum := sha256.Sum256([]byte(strings.Join(filter, "\x00")))
	return [8]byte(sum[:8])
}

// Filter returns the parts of a query that its cursors belong to.
func (q *Query) Filter() []string {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return []string{"requests", string(q.Status), q.Action, stamp(q.From), stamp(q.To)}
}

// PageSize returns the size of a page: def if limit is not positive, else limit,
// at most max.
func PageSize(limit, def, max int) int {
	if limit <= 0 {
		return def
	}
	return min(limit, max)
}
