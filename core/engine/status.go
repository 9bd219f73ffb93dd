package engine

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/pluginapi"
)

// status is how an account of the source compares with what the journal says of it.
type status uint8

const (
	// statusNew: the journal has never heard of it.
	statusNew status = iota
	// statusFailed: it is known and was never loaded.
	statusFailed
	// statusInDoubt: it was sent and nobody knows what came of it.
	statusInDoubt
	// statusChanged: it was loaded and has changed since.
	statusChanged
	// statusUnchanged: it was loaded as it still is.
	statusUnchanged
)

// sent says whether the account was given to the target and may be there.
func (s status) sent() bool { return s >= statusInDoubt }

// statusOf compares u with what the journal knows of it, which is nil when it knows
// nothing. With full, nobody is unchanged. key keys digests.
func statusOf(k *journal.Known, full bool, u *pluginapi.User, key []byte) status {
	switch {
	case k == nil:
		return statusNew
	case k.InDoubt:
		return statusInDoubt
	case !k.InTarget:
		return statusFailed
	case full || !bytes.Equal(k.Digest, u.Digest(key)):
		return statusChanged
	default:
		return statusUnchanged
	}
}

// cursor walks through the journal beside the source, as both are in the order of
// their ids, so that of what the journal knows only a moment is at hand.
type cursor struct {
	next  func() ([]journal.Known, error, bool)
	stop  func()
	ahead []journal.Known // those that the source has not reached yet
	last  string          // the id that the source was at
	begun bool
	// removed lists who is in the target and not in the source any more, gone who never
	// came to the target and is not there any more either.
	removed, gone []string
}

// openCursor begins to read a journal; nil knows nobody.
func openCursor(ctx context.Context, j Journal) (*cursor, error) {
	if j == nil {
		return &cursor{}, nil
	}
	c := &cursor{}
	c.next, c.stop = iter.Pull2(inParts(j.Known(ctx)))
	return c, c.fill()
}

// inParts yields the entries a few hundred at a time, which are valid until the next
// ones come: SQLite and the survey would push each other out of the processor's caches
// if they took turns at every account.
func inParts(all iter.Seq2[journal.Known, error]) iter.Seq2[[]journal.Known, error] {
	return func(yield func([]journal.Known, error) bool) {
		part, digests := make([]journal.Known, 0, 256), []byte(nil)
		for k, err := range all {
			if err != nil {
				if len(part) == 0 || yield(part, nil) {
					yield(nil, err)
				}
				return
			}
			digests = append(digests, k.Digest...)
			k.Digest = digests[len(digests)-len(k.Digest):]
			if part = append(part, k); len(part) == cap(part) {
				if !yield(part, nil) {
					return
				}
				part, digests = part[:0], digests[:0]
			}
		}
		if len(part) > 0 {
			yield(part, nil)
		}
	}
}

// find returns what is known of the next account of the source, nil when nothing is. It
// is valid until the next call.
func (c *cursor) find(id string) (*journal.Known, error) {
	if id <= c.last && c.begun {
		return nil, fmt.Errorf("account %s comes after account %s; the source is not in the order of its ids", id, c.last)
	}
	last := c.last
	c.last, c.begun = id, true
	for len(c.ahead) > 0 && c.ahead[0].SourceID < id {
		if err := c.pass(last); err != nil {
			return nil, err
		}
	}
	if len(c.ahead) > 0 && c.ahead[0].SourceID == id {
		return &c.ahead[0], nil
	}
	return nil, nil //nolint:nilnil // who is not known is no failure
}

// pass goes by an account. If it is not the one that was found last, the source does
// not have it.
func (c *cursor) pass(last string) error {
	switch k := &c.ahead[0]; {
	case k.SourceID == last:
	case k.InTarget:
		c.removed = append(c.removed, k.SourceID)
	case !k.InDoubt: // else it may be there
		c.gone = append(c.gone, k.SourceID)
	}
	if c.ahead = c.ahead[1:]; len(c.ahead) > 0 {
		return nil
	}
	return c.fill()
}

func (c *cursor) fill() (err error) {
	if c.ahead, err, _ = c.next(); err != nil || len(c.ahead) == 0 { // none when there are no more
		c.close()
	}
	return err
}

// end is to be called when the source has ended.
func (c *cursor) end() error {
	for len(c.ahead) > 0 {
		if err := c.pass(c.last); err != nil {
			return err
		}
	}
	return nil
}

// close ends the reading of the journal.
func (c *cursor) close() {
	if c.stop != nil {
		c.stop()
	}
	c.next, c.stop, c.ahead = nil, nil, nil
}
