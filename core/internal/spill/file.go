package spill

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sealedFile is a temporary file that has no name from the moment it is opened and is
// encrypted with a key that never leaves the process. The zero value has none yet.
type sealedFile struct {
	file *os.File
	size int64
	aead cipher.AEAD
}

// place is where in the file a piece lies. It is used once, so where it begins
// is the nonce.
type place struct {
	off  int64
	size uint32
}

func nonce(off int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(off)) //nolint:gosec // offsets are positive
}

// open makes the file if there is none.
func (s *sealedFile) open() error {
	if s.file != nil {
		return nil
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	f, err := os.CreateTemp("", "stetl-*")
	if err != nil {
		return fmt.Errorf("create a temporary file (set TMPDIR to a writable folder): %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return errors.Join(fmt.Errorf("unlink the temporary file: %w", err), f.Close())
	}
	s.file = f
	return nil
}

// append writes what is sealed already.
func (s *sealedFile) append(sealed []byte) error {
	if _, err := s.file.WriteAt(sealed, s.size); err != nil {
		return fmt.Errorf("write temporary data to %s (set TMPDIR to a disk with more room): %w", os.TempDir(), err)
	}
	s.size += int64(len(sealed))
	return nil
}

// read returns what was sealed at a place, in scratch space.
func (s *sealedFile) read(at place, scratch *[]byte) ([]byte, error) {
	*scratch = slices.Grow((*scratch)[:0], int(at.size))
	sealed := (*scratch)[:at.size]
	if _, err := s.file.ReadAt(sealed, at.off); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read temporary data: %w", err)
	}
	plain, err := s.aead.Open(sealed[:0], nonce(at.off), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("temporary data was changed or lost: %w", err)
	}
	return plain, nil
}

func (s *sealedFile) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
