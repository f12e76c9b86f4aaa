//go:build !zos

package gossip

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Limits of a key file.
const (
	keySize     = 32      // AES-256
	maxKeys     = 8       // a rotation needs two; each more costs every stranger's packet one more trial
	maxKeysFile = 1 << 16 // bytes, with room for comments
)

// ErrKeys is wrapped by the errors about keys that cannot be used.
var ErrKeys = errors.New("unusable gossip keys")

// NewKey returns a fresh random key.
func NewKey() []byte {
	key := make([]byte, keySize)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	return key
}

// FormatKeys writes keys as a key file: one base64 key a line, the first of
// them primary.
func FormatKeys(keys [][]byte) []byte {
	var out []byte
	for _, key := range keys {
		out = base64.StdEncoding.AppendEncode(out, key)
		out = append(out, '\n')
	}
	return out
}

// LoadKeys reads a key file: one key a line, 32 bytes in standard base64; the
// first is primary, the others are accepted too. Empty lines and lines that
// begin with # are skipped. Errors name the line, and never show a key.
func LoadKeys(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("load gossip keys: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeysFile+1))
	if err != nil {
		return nil, fmt.Errorf("load gossip keys: %w", err)
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("load gossip keys from %s: %w", path, err)
	}
	return keys, nil
}

func parseKeys(text []byte) ([][]byte, error) {
	if len(text) > maxKeysFile {
		return nil, fmt.Errorf("%w: the file has more than %d bytes", ErrKeys, maxKeysFile)
	}
	var keys [][]byte
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
		n, err := base64.StdEncoding.Strict().Decode(key, line)
		if err != nil {
			// The decoder's own error may quote the key.
			return nil, fmt.Errorf("%w: line %d is not standard base64", ErrKeys, number)
		}
		if n != keySize {
			return nil, fmt.Errorf("%w: line %d holds %d bytes, a key has %d", ErrKeys, number, n, keySize)
		}
		keys = append(keys, key[:n])
		if len(keys) > maxKeys {
			return nil, fmt.Errorf("%w: more than %d keys", ErrKeys, maxKeys)
		}
	}
	return keys, checkKeys(keys)
}

// CheckKeys returns an error that wraps [ErrKeys] if a pool would not take the
// keys.
func CheckKeys(keys [][]byte) error { return checkKeys(keys) }

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return fmt.Errorf("%w: there is none: gossip is never sent in the clear", ErrKeys)
	}
	if len(keys) > maxKeys {
		return fmt.Errorf("%w: %d keys, at most %d are allowed", ErrKeys, len(keys), maxKeys)
	}
	for i, key := range keys {
		if len(key) != keySize {
			return fmt.Errorf("%w: key %d has %d bytes, want %d", ErrKeys, i+1, len(key), keySize)
		}
		if holds(keys[:i], key) {
			return fmt.Errorf("%w: key %d is there twice", ErrKeys, i+1)
		}
	}
	return nil
}

func holds(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
}

func newRing(keys [][]byte) (*memberlist.Keyring, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(cloneKeys(keys), bytes.Clone(keys[0]))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return ring, nil
}

// setRing makes a ring that is in use hold exactly keys, the first primary.
// Calls must not overlap.
func setRing(ring *memberlist.Keyring, keys [][]byte) error {
	if err := checkKeys(keys); err != nil {
		return err
	}
	keys = cloneKeys(keys)
	for _, key := range keys {
		if err := ring.AddKey(key); err != nil {
			return fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	stale := slices.DeleteFunc(slices.Clone(ring.GetKeys()), func(k []byte) bool { return holds(keys, k) })
	// UseKey brings a key to the front of a new list. RemoveKey instead moves
	// the keys behind the removed one within the list that decrypting
	// goroutines are reading, which is only safe for the last. So those that
	// stay go to the front first, and what is left behind goes from the end.
	last := 0
	if len(stale) > 0 {
		last = len(keys) - 1
	}
	for i := last; i >= 0; i-- {
		if err := ring.UseKey(keys[i]); err != nil {
			return fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	for _, key := range slices.Backward(stale) {
		if err := ring.RemoveKey(key); err != nil {
			return fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	return nil
}

func cloneKeys(keys [][]byte) [][]byte {
	out := make([][]byte, len(keys))
	for i, key := range keys {
		out[i] = bytes.Clone(key)
	}
	return out
}
