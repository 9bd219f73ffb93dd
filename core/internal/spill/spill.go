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
	"sync"
)

// Spill keeps rows in partitions, in memory as long as they are few and
// else in one temporary file. The file has no name from the moment it is
// opened and is encrypted with a key that never leaves the process, because
// rows hold password hashes: nothing readable stays behind, whatever
// happens.
//
// One goroutine appends and calls Done; then any number may read.
type Spill struct {
	parts  []part
	buffer int
	file   *os.File
	size   int64
	aead   cipher.AEAD
	sealed []byte // scratch space of flush
}

type part struct {
	buf    []byte
	chunks []chunk
}

// chunk is a sealed stretch of the file. Its offset, used once, is the
// nonce.
type chunk struct {
	off int64
	len int
}

// memory is what the buffers of one spill together may take while it is
// filled; as many are filled at once as there are connections.
const memory = 4 << 20

const minBuffer, maxBuffer = 4 << 10, 256 << 10

// New returns an empty one with so many partitions.
func New(parts int) *Spill {
	return &Spill{parts: make([]part, parts), buffer: min(max(memory/max(parts, 1), minBuffer), maxBuffer)}
}

// Append adds a row and its mark, whose meaning the caller decides.
func (s *Spill) Append(number int, fields [][]byte, mark bool) error {
	p := &s.parts[number]
	head := uint64(len(fields)) << 1
	if mark {
		head |= 1
	}
	p.buf = binary.AppendUvarint(p.buf, head)
	for _, f := range fields {
		if f == nil {
			p.buf = append(p.buf, 0)
			continue
		}
		p.buf = binary.AppendUvarint(p.buf, uint64(len(f))+1)
		p.buf = append(p.buf, f...)
	}
	if len(p.buf) < s.buffer {
		return nil
	}
	return s.flush(p)
}

// flush seals a partition's buffer and moves it to the file.
func (s *Spill) flush(p *part) error {
	if s.file == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	s.sealed = s.aead.Seal(s.sealed[:0], s.nonce(s.size), p.buf, nil)
	if _, err := s.file.WriteAt(s.sealed, s.size); err != nil {
		return fmt.Errorf("write temporary data to %s (set TMPDIR to a disk with more room): %w", os.TempDir(), err)
	}
	p.chunks = append(p.chunks, chunk{off: s.size, len: len(s.sealed)})
	s.size += int64(len(s.sealed))
	p.buf = p.buf[:0]
	return nil
}

// Done moves what is left in memory to the file, if there is one, so that the
// tables that are done take no memory.
func (s *Spill) Done() error {
	if s.file == nil {
		return nil
	}
	for i := range s.parts {
		p := &s.parts[i]
		if len(p.buf) > 0 {
			if err := s.flush(p); err != nil {
				return err
			}
		}
		p.buf = nil
	}
	s.sealed = nil
	return nil
}

// chunks lends out buffers for reading.
var chunks = sync.Pool{New: func() any { return new([]byte) }}

func (s *Spill) open() error {
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

func (s *Spill) nonce(off int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(off)) //nolint:gosec // offsets are positive
}

// Each gives a partition's rows in the order they were appended. The fields
// are valid during the call.
func (s *Spill) Each(number int, fn func(fields [][]byte, mark bool) error) error {
	p := &s.parts[number]
	var fields [][]byte
	scratch, _ := chunks.Get().(*[]byte)
	defer chunks.Put(scratch)
	for _, c := range p.chunks {
		*scratch = slices.Grow((*scratch)[:0], c.len)
		sealed := (*scratch)[:c.len]
		if _, err := s.file.ReadAt(sealed, c.off); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read temporary data: %w", err)
		}
		plain, err := s.aead.Open(sealed[:0], s.nonce(c.off), sealed, nil)
		if err != nil {
			return fmt.Errorf("temporary data was changed or lost: %w", err)
		}
		if fields, err = eachRecord(plain, fields, fn); err != nil {
			return err
		}
	}
	_, err := eachRecord(p.buf, fields, fn)
	return err
}

// eachRecord decodes rows; fields is scratch space to reuse.
func eachRecord(b []byte, fields [][]byte, fn func(fields [][]byte, mark bool) error) ([][]byte, error) {
	for len(b) > 0 {
		head, n := binary.Uvarint(b)
		b = b[n:]
		fields = slices.Grow(fields[:0], int(head>>1))[:head>>1]
		for i := range fields {
			size, n := binary.Uvarint(b)
			b = b[n:]
			fields[i] = nil
			if size > 0 {
				fields[i] = b[: size-1 : size-1]
				b = b[size-1:]
			}
		}
		if err := fn(fields, head&1 == 1); err != nil {
			return fields, err
		}
	}
	return fields, nil
}

// Close gives up the file. Nil is closed.
func (s *Spill) Close() error {
	if s == nil || s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Parts is the number of partitions.
func (s *Spill) Parts() int { return len(s.parts) }
