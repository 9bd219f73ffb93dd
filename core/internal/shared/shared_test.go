package shared

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	const name, mail, phone Kind = 1, 2, 4
	var f Finder
	for _, v := range []struct {
		place int
		kinds Kind
		value string
	}{
		{0, mail, "a"},
		{0, mail, "a"}, // two logins of one account
		{1, phone, "a"},
		{2, name | mail, "b"},
		{3, mail, "a"},
		{4, mail, "a"},
		{5, name, "a"},
		{6, name, "b"},
		{7, mail, "b"},
		{8, name, "c"},
	} {
		f.Add(v.place, v.kinds, v.value)
	}
	want := []Group{{mail, []int{0, 3, 4}}, {name, []int{2, 6}}, {mail, []int{2, 7}}}
	for range 2 { // asking changes nothing
		if diff := cmp.Diff(want, f.Groups()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Among many values only those are found that are there twice, whatever their bucket.
func TestGroupsOfMany(t *testing.T) {
	t.Parallel()
	const n = 50_000
	var f Finder
	var want []Group
	for i := range n {
		f.Add(i, 1, strconv.Itoa(i))
		if i%100 == 0 {
			f.Add(n+i, 1, strconv.Itoa(i))
			want = append(want, Group{1, []int{i, n + i}})
		}
	}
	if diff := cmp.Diff(want, f.Groups()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	var ids IDs
	want := []string{"5aff9e5b-a479-4278-abc3-0691ef843a3e", "5AFF9E5B-A479-4278-ABC3-0691EF843A3E", "three", "", "urn:uuid:5aff9e5b-a479-4278-abc3-0691ef843a3e"}
	for n := range chunk {
		want = append(want, "00000000-0000-4000-8000-"+strconv.Itoa(100_000_000_000+n))
	}
	for _, id := range want {
		ids.Add(id)
	}
	if ids.Len() != len(want) {
		t.Fatalf("%d ids, want %d", ids.Len(), len(want))
	}
	for place, id := range want {
		if got := ids.At(place); got != id {
			t.Fatalf("id %d is %q, want %q", place, got, id)
		}
	}
}
