package groupcommit

import (
	"errors"
	"slices"
	"testing"
)

// TestQueue: jobs that wait while one is committed share the next transaction, in their order,
// and those that were added are committed before Close returns.
func TestQueue(t *testing.T) {
	t.Parallel()
	begun, goOn := make(chan struct{}, 4), make(chan struct{})
	var commits [][]int
	q := New(func(jobs []int) {
		begun <- struct{}{}
		<-goOn
		commits = append(commits, jobs)
	})
	add := func(j int) {
		if err := q.Add(j); err != nil {
			t.Fatal(err)
		}
	}
	add(0)
	<-begun
	for j := 1; j <= most; j++ {
		add(j)
	}
	close(goOn)
	if !q.Close() || q.Close() {
		t.Error("only the first Close is the first")
	}
	if err := q.Add(1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if len(commits) != 2 || !slices.Equal(commits[0], []int{0}) || len(commits[1]) != most || !slices.IsSorted(commits[1]) {
		t.Errorf("committed as %v", commits)
	}
}
