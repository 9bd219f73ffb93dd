package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/stetl/stetl/core/journal"
)

// sealer encrypts pre-images to a key that lies beside the journal, readable for
// its owner only: a copy of the database alone tells nobody anything. The key is
// made with the first pre-image.
type sealer struct {
	mu       sync.Mutex
	identity *age.X25519Identity
}

func (s *sealer) load(dir string, create bool) (*age.X25519Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity != nil {
		return s.identity, nil
	}
	path := filepath.Join(dir, keyName)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		s.identity, err = age.ParseX25519Identity(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	case errors.Is(err, fs.ErrNotExist) && create:
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return nil, err
		}
		if err := writeKey(path, identity.String()+"\n"); err != nil {
			return nil, err
		}
		s.identity = identity
	default:
		return nil, err
	}
	return s.identity, nil
}

// writeKey is durable before anything is encrypted with the key.
func writeKey(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *sealer) encrypt(dir string, clearText []byte) ([]byte, error) {
	identity, err := s.load(dir, true)
	if err != nil {
		return nil, err
	}
	return journal.Seal(clearText, identity.Recipient())
}

func (s *sealer) decrypt(dir string, sealed []byte) ([]byte, error) {
	identity, err := s.load(dir, false)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
