package dumpfile

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Spool keeps what a packed file holds in a form that can be read from any place: tables are
// read in any order and several at once, and to unpack everything before each of them would
// take a hundred times the work. It is compressed again, in chunks that stand alone, and
// takes about as much room as the packed file. It lies in a temporary file that has no name from the moment it is
// opened and is encrypted with a key that never leaves the process, because
// dumps hold password hashes: nothing readable stays behind, whatever happens.
type Spool struct {
	file   *os.File
	aead   cipher.AEAD
	encode *zstd.Encoder
	decode *zstd.Decoder
	chunks []chunk
	end    int64 // of the file
	size   int64 // of what is in it
	pool   sync.Pool

	scratch []byte // of add
}

// chunk is where a sealed stretch lies in the temporary file.
type chunk struct {
	off  int64
	size int
}

// chunkSize is what is sealed at a time. Larger ones compress better and make reading from
// the middle of one dearer.
const chunkSize = 64 << 10

// scratch is the chunk that a reader had last, and room for the next.
type scratch struct {
	number int
	sealed []byte
	plain  []byte
}

// Unpack unpacks a whole file of so many bytes, which proves that it is not cut. Errors name
// the path.
func Unpack(ctx context.Context, path string, packed io.ReaderAt, size int64, method string) (*Spool, error) {
	s, err := newSpool()
	if err != nil {
		return nil, err
	}
	if err := s.fill(ctx, path, io.NewSectionReader(packed, 0, size), method); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.scratch = nil
	return s, nil
}

const hintPacked = "the packed file is cut off or damaged: copy it again in binary mode, or dump again"

func (s *Spool) fill(ctx context.Context, path string, packed io.Reader, method string) error {
	damaged := func(err error) error {
		if _, ok := errors.AsType[*fs.PathError](err); ok {
			return fmt.Errorf("read dump: %w", err)
		}
		msg := "the file is packed with " + method + " and cannot be unpacked: " + err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			msg = "the file is packed with " + method + " and ends too early"
		}
		return &SyntaxError{Path: path, Msg: msg, Hint: hintPacked, Cause: err}
	}
	r, err := Decompress(method, bufio.NewReaderSize(packed, 256<<10))
	if err != nil {
		return damaged(err)
	}
	defer func() { _ = r.Close() }() // nothing was written
	buf := make([]byte, chunkSize)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := readFull(r, buf)
		if n > 0 {
			if err := s.add(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return damaged(err)
		}
	}
}

// readFull fills the buffer, unlike [io.ReadFull] without hiding how the stream ends.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

func newSpool() (*Spool, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	s := &Spool{}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	if s.encode, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false)); err != nil {
		return nil, err
	}
	if s.decode, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(chunkSize)); err != nil {
		return nil, err
	}
	s.pool.New = func() any { return &scratch{number: -1} }
	f, err := os.CreateTemp("", "stetl-*")
	if err != nil {
		return nil, fmt.Errorf("create a temporary file (set TMPDIR to a writable folder): %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink the temporary file: %w", err), f.Close())
	}
	s.file = f
	return s, nil
}

// Size is how many bytes were unpacked.
func (s *Spool) Size() int64 { return s.size }

// add appends a chunk. All but the last one are of chunkSize.
func (s *Spool) add(plain []byte) error {
	packed := s.encode.EncodeAll(plain, s.scratch[:0])
	sealed := s.aead.Seal(packed[:0], nonce(len(s.chunks)), packed, nil)
	s.scratch = sealed
	if _, err := s.file.WriteAt(sealed, s.end); err != nil {
		return fmt.Errorf("write temporary data to %s (set TMPDIR to a disk with more room): %w", os.TempDir(), err)
	}
	s.chunks = append(s.chunks, chunk{s.end, len(sealed)})
	s.end += int64(len(sealed))
	s.size += int64(len(plain))
	return nil
}

// nonce is the number of a chunk, which is used once.
func nonce(number int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), uint64(number)) //nolint:gosec // numbers are positive
}

// ReadAt reads what was unpacked. It may be called concurrently.
func (s *Spool) ReadAt(p []byte, off int64) (n int, err error) {
	have, _ := s.pool.Get().(*scratch)
	defer s.pool.Put(have)
	for n < len(p) {
		at := off + int64(n)
		if at >= s.size {
			return n, io.EOF
		}
		if err := s.load(have, int(at/chunkSize)); err != nil {
			return n, err
		}
		n += copy(p[n:], have.plain[at%chunkSize:])
	}
	return n, nil
}

// load makes a chunk the one that the scratch space holds.
func (s *Spool) load(have *scratch, number int) (err error) {
	if have.number == number {
		return nil
	}
	have.number = -1
	c := s.chunks[number]
	have.sealed = slices.Grow(have.sealed[:0], c.size)[:c.size]
	if _, err := s.file.ReadAt(have.sealed, c.off); err != nil {
		return fmt.Errorf("read temporary data: %w", err)
	}
	packed, err := s.aead.Open(have.sealed[:0], nonce(number), have.sealed, nil)
	if err == nil {
		have.plain, err = s.decode.DecodeAll(packed, have.plain[:0])
	}
	if err != nil {
		return fmt.Errorf("temporary data was changed or lost: %w", err)
	}
	have.number = number
	return nil
}

// Close gives up the room on the disk.
func (s *Spool) Close() error {
	s.decode.Close()
	return s.file.Close()
}
