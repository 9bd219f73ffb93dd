package reconcile

import (
	"context"
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// Exchange carries updates that are refused because another account has the identifier
// that theirs is to get. Often that account gives it away in the same batch: then it is a
// matter of order, and where some give each other theirs, of putting one of them aside.
type Exchange[T any] struct {
	// Again tries an update once more. done is false while the identifier is still taken.
	Again func(ctx context.Context, item T) (done bool, err error)
	// Wants says that one is to get the identifier that the other has now.
	Wants func(item, other T) bool
	// Aside gives an account an identifier that nobody wants, and reports whether it has
	// done so. Back gives it the one that it had.
	Aside func(ctx context.Context, item T) (bool, error)
	Back  func(ctx context.Context, item T) error
}

// Carry works on the refused updates of one batch, one after the other. At every moment each
// account is there, under the id that the journal knows.
func (e *Exchange[T]) Carry(ctx context.Context, refused []T) error {
	aside := map[int]bool{}
	open := make([]int, len(refused))
	for i := range open {
		open[i] = i
	}
	for {
		left := open[:0:0]
		for _, i := range open {
			done, err := e.Again(ctx, refused[i])
			if err != nil {
				return err
			}
			if !done {
				left = append(left, i)
			}
		}
		if len(left) == len(open) {
			i := slices.IndexFunc(left, func(i int) bool { return !aside[i] && e.inRing(refused, left, i) })
			if i < 0 {
				break
			}
			moved, err := e.Aside(ctx, refused[left[i]])
			if err != nil {
				return err
			}
			aside[left[i]] = moved
			if !moved {
				break
			}
		}
		open = left
	}
	for _, i := range open {
		if aside[i] {
			if err := e.Back(ctx, refused[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// inRing reports whether what one is to get comes, from one to the other, to be what it has
// itself. Else nobody can be helped by putting it aside.
func (e *Exchange[T]) inRing(all []T, open []int, start int) bool {
	at := start
	for range open {
		next := slices.IndexFunc(open, func(i int) bool { return i != at && e.Wants(all[at], all[i]) })
		if next < 0 {
			return false
		}
		if at = open[next]; at == start {
			return true
		}
	}
	return false
}

// Taken reports whether an outcome says that an identifier is another account's.
func Taken(o *sdk.Outcome) bool {
	return o.Action == sdk.Rejected && (o.Code == sdk.CodeEmailConflict || o.Code == sdk.CodeUsernameConflict)
}
