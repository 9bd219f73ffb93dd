package spill

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// Records come back in their order, however many and long they are.
func TestLogKeepsTheOrder(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 3000} {
		var l Log
		record := func(i int) string { return fmt.Sprintf("record %d ", i) + strings.Repeat("x", i%700*(i%5)) }
		for i := range n {
			if err := l.Append([]byte(record(i))); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Append(bytes.Repeat([]byte("long"), logPiece)); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(nil); err != nil {
			t.Fatal(err)
		}
		for range 2 { // as often as anybody likes
			at := 0
			err := l.Each(func(got []byte) error {
				switch {
				case at < n && string(got) != record(at), at == n && len(got) != 4*logPiece, at == n+1 && len(got) != 0:
					return fmt.Errorf("record %d is %.20q", at, got)
				}
				at++
				return nil
			})
			if err != nil || at != n+2 {
				t.Errorf("%d of %d records, %v", at, n+2, err)
			}
		}
		enough := errors.New("enough")
		if err := l.Each(func([]byte) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("it goes on after %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is on disk has no name, says nothing, and does not pass for records when it was
// changed; what is in memory is bounded.
func TestLogIsSealedAndSmall(t *testing.T) {
	t.Parallel()
	var l Log
	for range 20_000 {
		if err := l.Append([]byte("$2a$11$ a hash that nobody may see" + strings.Repeat(".", 100))); err != nil {
			t.Fatal(err)
		}
		if most := cap(l.buf) + cap(l.sealed); most > 3*logPiece {
			t.Fatalf("%d bytes are in memory", most)
		}
	}
	if _, err := os.Stat(l.file.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has a name still: %v", err)
	}
	stored := make([]byte, l.size)
	if _, err := l.file.ReadAt(stored, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, []byte("nobody may see")) {
		t.Error("the file is readable")
	}
	if _, err := l.file.WriteAt([]byte{1, 2, 3}, 100); err != nil {
		t.Fatal(err)
	}
	if err := l.Each(func([]byte) error { return nil }); err == nil {
		t.Error("a changed file was read without a complaint")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestLogNamesTMPDIR(t *testing.T) {
	t.Setenv("TMPDIR", "/does/not/exist")
	var l Log
	var err error
	for range 20 {
		err = errors.Join(err, l.Append(make([]byte, logPiece/4)))
	}
	if err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("without a folder for temporary files: %v", err)
	}
}
