package spill

import (
	"encoding/binary"
	"io"
)

// Log keeps records in the order they are appended, in memory as long as they are few
// and else in a file like that of [Spill]. The zero value is empty.
//
// One goroutine appends; then any number may read.
type Log struct {
	sealedFile
	pieces []place
	buf    []byte // the piece that is being filled
	sealed []byte // scratch space
}

// logPiece is how much is sealed and written at once. A record stays in one piece.
const logPiece = 256 << 10

// Append adds a record.
func (l *Log) Append(record []byte) error {
	if len(l.buf) > 0 && len(l.buf)+len(record)+binary.MaxVarintLen64 > logPiece {
		if err := l.flush(); err != nil {
			return err
		}
	}
	l.buf = binary.AppendUvarint(l.buf, uint64(len(record)))
	l.buf = append(l.buf, record...)
	return nil
}

func (l *Log) flush() error {
	if err := l.open(); err != nil {
		return err
	}
	l.sealed = l.aead.Seal(l.sealed[:0], nonce(l.size), l.buf, nil)
	at := place{l.size, uint32(len(l.sealed))} //nolint:gosec // a piece, or one record of 1 GiB
	if err := l.append(l.sealed); err != nil {
		return err
	}
	l.pieces, l.buf = append(l.pieces, at), l.buf[:0]
	return nil
}

// Each gives the records in their order, until fn fails. A record is valid during the
// call.
func (l *Log) Each(fn func(record []byte) error) error {
	scratch, _ := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	for _, at := range l.pieces {
		piece, err := l.read(at, scratch)
		if err == nil {
			err = records(piece, fn)
		}
		if err != nil {
			return err
		}
	}
	return records(l.buf, fn)
}

func records(piece []byte, fn func(record []byte) error) error {
	for len(piece) > 0 {
		size, n := binary.Uvarint(piece)
		if n <= 0 || size > uint64(len(piece)-n) { //nolint:gosec // a length
			return io.ErrUnexpectedEOF // what is sealed is whole, so nobody gets here
		}
		end := n + int(size) //nolint:gosec // no more than there is
		if err := fn(piece[n:end:end]); err != nil {
			return err
		}
		piece = piece[end:]
	}
	return nil
}

// Close gives up the file, and all records.
func (l *Log) Close() error {
	err := l.close()
	*l = Log{}
	return err
}
