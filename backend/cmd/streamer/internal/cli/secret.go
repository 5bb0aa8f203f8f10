package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pay-theory/streamer/backend/auth"
)

// secretFile is the name of the development secret in the demo's folder. Its
// text, without white space around it, is the secret.
const secretFile = "secret"

// maxSecret bounds what is read of it, in bytes.
const maxSecret = 4 << 10

// readSecret reads the development secret of a folder. The error is an
// fs.ErrNotExist if there is none.
func readSecret(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, failed(path+" may be read by others", "whoever has read it can make tokens; delete it, or chmod 600 it", nil)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, err
	}
	secret := strings.TrimSpace(string(text))
	if len(secret) < auth.MinSecret {
		return nil, failed(path+" holds no secret: it is too short", "delete it, and start the demo again", nil)
	}
	return []byte(secret), nil
}

// ensureSecret reads the development secret of a folder, and makes one if
// there is none.
func ensureSecret(dir string) ([]byte, error) {
	secret, err := readSecret(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails: it ends the program instead
	// Written first and named then, so that nobody reads half of it; and a
	// link does not replace the one that another process has made meanwhile.
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
