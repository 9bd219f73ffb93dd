package spill

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpill(t *testing.T) {
	t.Parallel()
	s := New(3)
	s.buffer = 64 // flush all the time
	type row struct {
		Fields []string
		Mark   bool
	}
	want := map[int][]row{}
	for i := range 500 {
		part := i % 3
		text := fmt.Sprintf("value %d of some length", i)
		fields := [][]byte{[]byte(text), nil, {}}
		if err := s.Append(part, fields, i%7 == 0); err != nil {
			t.Fatal(err)
		}
		want[part] = append(want[part], row{[]string{text, "NULL", ""}, i%7 == 0})
	}
	for part := range 3 {
		var got []row
		err := s.Each(part, func(fields [][]byte, mark bool) error {
			r := row{Mark: mark}
			for _, f := range fields {
				if f == nil {
					r.Fields = append(r.Fields, "NULL")
				} else {
					r.Fields = append(r.Fields, string(f))
				}
			}
			got = append(got, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[part], got); diff != "" {
			t.Errorf("part %d (-want +got):\n%s", part, diff)
		}
	}
	if _, err := s.file.WriteAt([]byte{1, 2, 3}, 100); err != nil {
		t.Fatal(err)
	}
	var err error
	for part := range 3 {
		err = errors.Join(err, s.Each(part, func([][]byte, bool) error { return nil }))
	}
	if err == nil {
		t.Error("a changed file was read without a complaint")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
