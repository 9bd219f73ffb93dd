package dumpfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Methods are the names of the ways to compress, by their number in an archive of pg_dump.
var Methods = []string{"none", "gzip", "lz4", "zstd"}

// PackedWith recognises a file that was packed as a whole.
func PackedWith(head []byte) string {
	for _, c := range []struct{ magic, method string }{
		{"\x1f\x8b", "gzip"},
		{"\x28\xb5\x2f\xfd", "zstd"},
		{"\x50\x2a\x4d\x18", "zstd"}, // of pzstd
		{"\x04\x22\x4d\x18", "lz4"},
	} {
		if strings.HasPrefix(string(head), c.magic) {
			return c.method
		}
	}
	return ""
}

// maxWindow bounds the memory that a zstd stream may ask for. It is the limit of
// pg_restore, whatever level pg_dump used.
const maxWindow = 128 << 20

// Inflate reads a stream of a custom archive.
func Inflate(method string, r *bufio.Reader) (io.ReadCloser, error) {
	if method != "gzip" { // which is that in name only
		return Decompress(method, r)
	}
	z, err := zlib.NewReader(r)
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	return &whole{z, r}, nil
}

// Decompress reads a compressed file.
func Decompress(method string, r *bufio.Reader) (io.ReadCloser, error) {
	switch method {
	case "none":
		return io.NopCloser(r), nil
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", noEOF(err))
		}
		return z, nil
	case "lz4":
		return io.NopCloser(lz4.NewReader(r)), nil
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return z.IOReadCloser(), nil
	}
	return nil, fmt.Errorf("decompress: unknown method %q", method)
}

// noEOF keeps the end of a file from being taken for the end of its content.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// whole makes sure that a compressed stream is all there was in its chunks.
type whole struct {
	io.ReadCloser
	under *bufio.Reader
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		if _, more := w.under.ReadByte(); more == nil {
			return n, errors.New("data behind the end of the compressed stream")
		}
	}
	return n, err
}
