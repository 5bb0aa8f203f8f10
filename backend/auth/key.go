package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The accepted signature algorithms.
const (
	HS256 = "HS256"
	RS256 = "RS256"
	ES256 = "ES256"
	EdDSA = "EdDSA"
)

// MinSecret is the least length of an HS256 secret in bytes (RFC 7518,
// section 3.2: as long as the hash).
const MinSecret = 32

// Bounds of an RSA modulus in bits. The upper one bounds the work of a
// verification.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// minRSAExponent is the least public exponent (NIST SP 800-56B).
const minRSAExponent = 65537

// maxKeyID is the longest key id in bytes.
const maxKeyID = 256

// Key verifies signatures. Its type determines its algorithm, so a token cannot
// choose another one for it.
type Key struct {
	// ID is the key's `kid`. Optional: a key without one is used for tokens with
	// any kid, a key with one only for tokens with the same kid or none.
	ID string
	// Key is one of
	//   - []byte, a secret of at least 32 random bytes, for HS256;
	//   - *rsa.PublicKey of 2048 to 8192 bits, for RS256;
	//   - *ecdsa.PublicKey on the curve P-256, for ES256;
	//   - ed25519.PublicKey, for EdDSA.
	Key any
}

// algorithm returns the algorithm of a key, or an error that names the rule that
// the key breaks.
func algorithm(key any) (string, error) {
	switch k := key.(type) {
	case []byte:
		return HS256, checkSecret(k)
	case *rsa.PublicKey:
		return RS256, checkRSA(k)
	case *ecdsa.PublicKey:
		return ES256, checkECDSA(k)
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return "", fmt.Errorf("an Ed25519 public key has %d bytes", ed25519.PublicKeySize)
		}
		return EdDSA, nil
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
		return "", errors.New("a private key verifies nothing: give its public key, and keep it where tokens are made")
	default:
		return "", fmt.Errorf("a key of type %T is not supported", key)
	}
}

func checkSecret(secret []byte) error {
	if len(secret) < MinSecret {
		return fmt.Errorf("an HS256 secret has at least %d bytes", MinSecret)
	}
	// A public key used as a secret would let every client sign.
	if strings.HasPrefix(strings.TrimSpace(string(secret)), "-----BEGIN ") {
		return errors.New("an HS256 secret is no PEM file: use ParsePublicKey")
	}
	return nil
}

func checkRSA(key *rsa.PublicKey) error {
	switch {
	case key == nil || key.N == nil:
		return errors.New("the RSA key is empty")
	case key.N.BitLen() < minRSABits || key.N.BitLen() > maxRSABits:
		return fmt.Errorf("an RSA key has %d to %d bits", minRSABits, maxRSABits)
	case key.E < minRSAExponent || key.E%2 == 0:
		return fmt.Errorf("an RSA key's exponent is odd and at least %d", minRSAExponent)
	}
	return nil
}

func checkECDSA(key *ecdsa.PublicKey) error {
	if key == nil || key.Curve != elliptic.P256() {
		return errors.New("an ES256 key lies on the curve P-256")
	}
	if _, err := key.ECDH(); err != nil {
		return errors.New("the ES256 key is no point of its curve")
	}
	return nil
}

// ParsePublicKey reads a public key for [Key] from PEM: PUBLIC KEY (PKIX) or
// RSA PUBLIC KEY (PKCS #1). The rest of data must be empty.
func ParsePublicKey(data []byte) (any, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block found")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("something follows the PEM block")
	}
	var key any
	var err error
	switch {
	case block.Type == "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("this is a private key: give its public key, and keep it where tokens are made")
	default:
		return nil, errors.New("a PEM block PUBLIC KEY is expected")
	}
	if err != nil {
		return nil, fmt.Errorf("the public key does not parse: %w", err)
	}
	if _, err := algorithm(key); err != nil {
		return nil, err
	}
	return key, nil
}

// staticKey is a Key whose rules were checked.
type staticKey struct {
	id, algorithm string
	key           any
}

func newStaticKeys(keys []Key) ([]staticKey, error) {
	out := make([]staticKey, 0, len(keys))
	for i, k := range keys {
		alg, err := algorithm(k.Key)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if len(k.ID) > maxKeyID {
			return nil, fmt.Errorf("key %d: an id has at most %d bytes", i, maxKeyID)
		}
		twin := func(s staticKey) bool { return s.id == k.ID && s.id != "" && s.algorithm == alg }
		if slices.ContainsFunc(out, twin) {
			return nil, fmt.Errorf("key %d: another key has the same id and algorithm", i)
		}
		if secret, ok := k.Key.([]byte); ok {
			k.Key = slices.Clone(secret) // the caller may overwrite its own
		}
		out = append(out, staticKey{id: k.ID, algorithm: alg, key: k.Key})
	}
	return out, nil
}

// serves reports whether the key may have signed a token with this header.
func (k staticKey) serves(h header) bool {
	return k.algorithm == h.algorithm && (k.id == "" || h.keyID == "" || k.id == h.keyID)
}
