package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pay-theory/streamer/backend/auth"
)

// secretFile is the file in the demo's folder that holds the development secret,
// as text.
const secretFile = "secret"

// readSecret reads the development secret in a folder. The error is
// fs.ErrNotExist if there is none.
func readSecret(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, failed(path+" may be read by others, who can make tokens with it", "delete it, or chmod 600 it", nil)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < auth.MinSecret {
		return nil, failed(path+" is too short for a secret", "delete it, and start the demo again", nil)
	}
	return []byte(secret), nil
}

// secretOr returns the given secret or, if it is empty, the one in a folder.
func secretOr(given, dir string) ([]byte, error) {
	if given != "" {
		return []byte(given), nil
	}
	return readSecret(dir)
}

// ensureSecret reads the development secret in a folder, and makes one if there
// is none.
func ensureSecret(dir string) ([]byte, error) {
	secret, err := readSecret(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // it never fails
	// A link makes the complete file appear at once, and does not replace one
	// that another process has made meanwhile.
	f, err := os.CreateTemp(dir, secretFile+".*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(hex.EncodeToString(random) + "\n")
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), filepath.Join(dir, secretFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return readSecret(dir)
}
