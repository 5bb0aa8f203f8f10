package store

import "time"

// IDTime returns the time inside an id, to the millisecond: an id is a UUIDv7
// in canonical text. ok is false when it is not.
func IDTime(id string) (t time.Time, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[14] != '7' {
		return time.Time{}, false
	}
	var ms int64
	for i := range 13 {
		switch c := id[i]; {
		case i == 8:
			continue
		case '0' <= c && c <= '9':
			ms = ms<<4 | int64(c-'0')
		case 'a' <= c && c <= 'f':
			ms = ms<<4 | int64(c-'a'+10)
		default:
			return time.Time{}, false
		}
	}
	return time.UnixMilli(ms), true
}

// CancelRetained reports whether a cancel of an unknown id is retained: the time
// in the id must be within CancelRetention of now.
func CancelRetained(id string, now time.Time) bool {
	t, ok := IDTime(id)
	return ok && now.Sub(t).Abs() <= CancelRetention
}
