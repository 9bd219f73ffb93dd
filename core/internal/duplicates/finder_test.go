package duplicates

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func add(t *testing.T, f *Finder, a Account, kinds Kind, value string) {
	t.Helper()
	if err := f.Add(a, kinds, value); err != nil {
		t.Fatal(err)
	}
}

func diff(t *testing.T, f *Finder, want []Group) {
	t.Helper()
	got, err := f.Groups()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Group{}, "Hash")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	const name, mail, phone Kind = 1, 2, 4
	var f Finder
	diff(t, &f, nil)
	a := make([]Account, 9)
	for i := range a {
		a[i] = Account{Place: i, ID: "id of " + strconv.Itoa(i), Rank: int64(1-i) << 60}
	}
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
		add(t, &f, a[v.place], v.kinds, v.value)
	}
	for range 2 { // asking changes nothing
		diff(t, &f, []Group{{Kind: mail, Accounts: []Account{a[0], a[3], a[4]}}, {Kind: name, Accounts: []Account{a[2], a[6]}}, {Kind: mail, Accounts: []Account{a[2], a[7]}}})
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	diff(t, &f, nil)
}

// A value of several parts is found again by its hash, also when the finder is gone; parts
// that read alike when they are put together are other values.
func TestHasher(t *testing.T) {
	t.Parallel()
	var f Finder
	h := f.Hasher()
	for i, parts := range [][]string{{"ab", "c"}, {"a", "bc"}, {"ab", "c"}} {
		if err := f.AddHash(Account{Place: i}, 1, h.Of(parts...)); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := f.Groups()
	if err != nil || len(groups) != 1 || len(groups[0].Accounts) != 2 || groups[0].Accounts[1].Place != 2 {
		t.Fatalf("%+v, %v", groups, err)
	}
	if err := f.Close(); err != nil || groups[0].Hash != h.Of("ab", "c") {
		t.Errorf("the hash %x is not found again, %v", groups[0].Hash, err)
	}
}

// Among more values than are held in memory only those are found that are there
// twice, whatever their bucket.
func TestGroupsOfMany(t *testing.T) {
	t.Parallel()
	const n = 150_000
	var f Finder
	var want []Group
	id := "an id that is so long that the values do not fit into memory"
	for i := range n {
		add(t, &f, Account{Place: i, ID: id}, 1, strconv.Itoa(i))
	}
	for i := 0; i < n; i += 100 {
		add(t, &f, Account{Place: n + i, ID: id}, 1, strconv.Itoa(i))
		want = append(want, Group{Kind: 1, Accounts: []Account{{Place: i, ID: id}, {Place: n + i, ID: id}}})
	}
	diff(t, &f, want)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
