package supertokens

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// joiner joins the rows of tables by the users that they are about, one range of users
// after another.
type joiner struct {
	*opened
	partitioner *partitioner
	assembler   assembler
	rangeSize   int // 0: it follows from how many users there are
	parallel    int
}

// eachRange joins tables range by range, in parallel, and emits in order what
// each range is made into, which keeps nothing of its rows.
func (j *joiner) eachRange(ctx context.Context, readers []*tableReader, build func(*rangeRows, []Orphan) Batch, emit func(Batch) error) error {
	if err := j.partitioner.partition(ctx, readers); err != nil {
		return err
	}
	total, ranges := j.partitioner.rangeCount(), j.partitioner.reader(readers)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(j.parallel + 1) // ranges in memory, with the one that is emitted
	joins := sync.Pool{New: func() any { return newRangeRows(j.layout, j.partitioner.users/total+1) }}
	turns := make([]chan struct{}, total+1)
	for i := range turns {
		turns[i] = make(chan struct{})
	}
	close(turns[0])
	for i := range total {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rr, _ := joins.Get().(*rangeRows)
			var orphans []Orphan
			err := ranges.read(i, rr, func(r *tableReader, v [][]byte) {
				id := trimPadding(v[0])
				orphans = append(orphans, Orphan{Table: string(r.name), ID: id})
				j.assembler.nobodys(rr, r, id, v)
			})
			if err != nil {
				return err
			}
			b := build(rr, orphans)
			rr.reset()
			joins.Put(rr)
			b.Done, b.Total = i+1, total
			select {
			case <-turns[i]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := emit(b); err != nil {
				return err
			}
			close(turns[i+1])
			return nil
		})
	}
	return group.Wait()
}
