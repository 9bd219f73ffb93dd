package spill

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/stetl/stetl/internal/testserver/testenv"
)

type row struct {
	Fields []string
	Tag    uint64
}

func toRow(fields [][]byte, tag uint64) row {
	r := row{Tag: tag}
	for _, f := range fields {
		if f == nil {
			r.Fields = append(r.Fields, "NULL")
		} else {
			r.Fields = append(r.Fields, string(f))
		}
	}
	return r
}

// fill appends rows to 3 partitions, some of them longer than a block and than
// all blocks together.
func fill(t *testing.T, s *Spill) (want map[int][]row) {
	t.Helper()
	want = map[int][]row{}
	for i := range 2000 {
		part := i % 3
		if i%97 == 0 {
			part = 0
		}
		text := fmt.Sprintf("value %d", i) + strings.Repeat("x", i%300)
		if i%500 == 0 {
			text += strings.Repeat("long", 1000*i)
		}
		fields := [][]byte{[]byte(text), nil, {}}[:1+i%3]
		tag := uint64(i % 7 * 50)
		if err := s.Append(part, fields, tag); err != nil {
			t.Fatal(err)
		}
		want[part] = append(want[part], toRow(fields, tag))
	}
	return want
}

// anyOrder is for what does not promise one. The first field tells rows apart.
var anyOrder = cmpopts.SortSlices(func(a, b row) bool { return a.Fields[0] < b.Fields[0] })

// sizes are the numbers of blocks after which everything goes to the file.
var sizes = map[string]int{"in memory": 1 << 20, "now and then": 100, "all the time": 1}

func TestRowsComeBack(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "spills long rows")
	for name, limit := range sizes {
		for _, done := range []bool{false, true} {
			s := New(3)
			s.limit = limit
			want := fill(t, s)
			if done {
				if err := s.Done(); err != nil {
					t.Fatal(err)
				}
			}
			var b Buffer
			for part := range 3 {
				var each, ordered, streamed []row
				err := s.Each(part, func(fields [][]byte, tag uint64) error {
					each = append(each, toRow(fields, tag))
					return nil
				})
				err = errors.Join(err, s.Ordered(part, &b, func(fields [][]byte, tag uint64) error {
					ordered = append(ordered, toRow(fields, tag))
					return nil
				}), InOrder(s, part, func(fields [][]byte, tag uint64) error {
					streamed = append(streamed, toRow(fields, tag))
					return nil
				}))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want[part], streamed); diff != "" {
					t.Errorf("%s, part %d, streamed (-want +got):\n%s", name, part, diff)
				}
				if diff := cmp.Diff(want[part], each, anyOrder); diff != "" {
					t.Errorf("%s, part %d, one by one (-want +got):\n%s", name, part, diff)
				}
				if diff := cmp.Diff(want[part], ordered); diff != "" {
					t.Errorf("%s, part %d, in order (-want +got):\n%s", name, part, diff)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// What is on disk says nothing, and does not pass for rows when it was changed.
func TestFileIsSealed(t *testing.T) {
	t.Parallel()
	s := New(3)
	s.limit = 1
	fill(t, s)
	if err := s.Done(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.file.Name()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has a name still: %v", err)
	}
	stored := make([]byte, s.size)
	if _, err := s.file.ReadAt(stored, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(stored, []byte("value")) || bytes.Contains(stored, []byte("longlonglong")) {
		t.Error("the file is readable")
	}
	if _, err := s.file.WriteAt([]byte{1, 2, 3}, 100); err != nil {
		t.Fatal(err)
	}
	var each, ordered, streamed error
	var b Buffer
	for part := range 3 {
		each = errors.Join(each, s.Each(part, func([][]byte, uint64) error { return nil }))
		ordered = errors.Join(ordered, s.Ordered(part, &b, func([][]byte, uint64) error { return nil }))
		streamed = errors.Join(streamed, InOrder(s, part, func([][]byte, uint64) error { return nil }))
	}
	if each == nil || ordered == nil || streamed == nil {
		t.Errorf("a changed file was read without a complaint: %v, %v, %v", each, ordered, streamed)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Memory does not grow with the number of partitions.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 10, 3000} {
		s := New(parts)
		most := 0
		for i := range 200_000 {
			if err := s.Append(i*7919%parts, [][]byte{make([]byte, 100)}, 0); err != nil {
				t.Fatal(err)
			}
			most = max(most, len(s.slabs)*slabSize+cap(s.row)+cap(s.out))
		}
		if limit := memory + memory/2; most > limit {
			t.Errorf("%d partitions take %d bytes, more than %d", parts, most, limit)
		}
		if err := s.Done(); err != nil {
			t.Fatal(err)
		}
		if s.slabs != nil {
			t.Errorf("%d partitions: what is done holds memory", parts)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestErrorNamesTMPDIR(t *testing.T) {
	t.Setenv("TMPDIR", "/does/not/exist")
	s := New(1)
	s.limit = 1
	var err error
	for range 100 {
		err = errors.Join(err, s.Append(0, [][]byte{make([]byte, 100)}, 0))
	}
	if err == nil || !strings.Contains(err.Error(), "set TMPDIR") {
		t.Errorf("without a folder for temporary files: %v", err)
	}
}
