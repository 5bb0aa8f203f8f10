package wire

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// NewID returns a new UUIDv7 (RFC 9562): 48 bits of milliseconds, then random
// bits. It is safe for concurrent use.
func NewID() string { return NewIDAt(time.Now()) }

// NewIDAt is NewID for a given time.
func NewIDAt(t time.Time) string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails: crypto/rand aborts the program instead
	ms := t.UnixMilli()
	for i := range 6 {
		u[i] = byte(ms >> (40 - 8*i))
	}
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], u[0:4])
	hex.Encode(out[9:13], u[4:6])
	hex.Encode(out[14:18], u[6:8])
	hex.Encode(out[19:23], u[8:10])
	hex.Encode(out[24:36], u[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

// ValidID reports whether s is a UUIDv7 in lower-case canonical text.
func ValidID(s string) bool {
	if len(s) != 36 || s[14] != '7' || s[19] < '8' || s[19] > 'b' || s[19] > '9' && s[19] < 'a' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// IDTime returns the time inside a valid id, to the millisecond.
func IDTime(id string) time.Time {
	var ms int64
	for i := range 13 {
		c := id[i]
		switch {
		case c == '-':
			continue
		case c <= '9':
			ms = ms<<4 | int64(c-'0')
		default:
			ms = ms<<4 | int64(c-'a'+10)
		}
	}
	return time.UnixMilli(ms)
}
