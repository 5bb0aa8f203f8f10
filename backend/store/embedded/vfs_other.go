//go:build !linux

package embedded

// location returns the name by which SQLite must open a file. Only on Linux it
// differs from the path.
func location(path string) (string, error) { return path, nil }
