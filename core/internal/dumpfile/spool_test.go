package dumpfile

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestSpool reads across chunks from any place.
func TestSpool(t *testing.T) {
	t.Parallel()
	s, err := newSpool()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	text := bytes.Repeat([]byte("0123456789abcdefg"), 4*chunkSize/17)
	for c := range slices.Chunk(text, chunkSize) {
		if err := s.add(c); err != nil {
			t.Fatal(err)
		}
	}
	if s.size != int64(len(text)) || len(s.chunks) != 4 {
		t.Fatalf("%d bytes in %d chunks", s.size, len(s.chunks))
	}
	for _, at := range []int{0, 1, chunkSize - 1, chunkSize, 3*chunkSize + 5, len(text) - 1, len(text)} {
		for _, n := range []int{0, 1, 100, chunkSize, 2*chunkSize + 1} {
			b := make([]byte, n)
			got, err := s.ReadAt(b, int64(at))
			want := text[at:min(at+n, len(text))]
			if got != len(want) || !bytes.Equal(b[:got], want) || (err != nil) != (got < n) {
				t.Errorf("%d bytes at %d: %d, %v", n, at, got, err)
			}
		}
	}
	if _, err := s.file.WriteAt([]byte{0xff, 0xff}, s.chunks[1].off); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadAt(make([]byte, 1), chunkSize); err == nil || !strings.Contains(err.Error(), "temporary data was changed or lost") {
		t.Errorf("a changed chunk: %v", err)
	}
	stored := make([]byte, s.end)
	if _, err := s.file.ReadAt(stored, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.decode.DecodeAll(stored, nil); err == nil || bytes.Contains(stored, text[:100]) {
		t.Error("the temporary file is not encrypted")
	}
}
