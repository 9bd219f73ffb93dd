package spill

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// Spill keeps rows in partitions, in memory as long as they are few and
// else in one temporary file. The file has no name from the moment it is
// opened and is encrypted with a key that never leaves the process, because
// rows hold password hashes: nothing readable stays behind, whatever
// happens.
//
// One goroutine appends and calls Done; then any number may read.
//
// All partitions share one stretch of memory, of small blocks. When no block is
// free, everything moves to the file, in the order of the partitions: one long
// write, in which each partition has one piece. A piece says where the one
// before it is. So memory grows neither with the number of partitions nor with
// that of rows; only the pieces get smaller.
type Spill struct {
	sealedFile

	parts  []part
	chains []chain // of each partition; nil when nothing is in memory and nothing will be
	slabs  []*slab
	next   []uint32 // of each block in use, the one that follows it in its partition
	limit  int      // number of blocks
	row    []byte   // scratch space of Append
	out    []byte   // and of flush
}

// part is what a partition has in the file. There are as many as partitions of all tables,
// for as long as they are read.
type part struct {
	stored place // of the last piece
	rows   int   // bytes in all pieces
}

// chain is what a partition has in memory: a chain of blocks, of which the last one has
// room left.
type chain struct {
	first, last uint32 // number of the block and 1
	room        []byte // empty, its capacity is the rest of the last block
}

// pieceHead is the size of what precedes the rows of a piece: the place of the
// piece before it.
const pieceHead = 8 + 4

const (
	blockSize = 512
	slabSize  = 64 << 10
	perSlab   = slabSize / blockSize

	// memory is what the blocks of one spill may take, of which each partition
	// can use maxPiece; where there are so many partitions that pieces would be too
	// small to be read one by one, it is minPiece for each. As many spills are filled
	// at once as there are connections.
	memory, minPiece, maxPiece = 8 << 20, blockSize, 64 << 10
	// small is how much may stay in memory when a spill is done.
	small = 128 << 10
	// writeSize is how much is written at least, as far as there is so much.
	writeSize = 256 << 10
)

type slab [slabSize]byte

// slabs lends out memory for blocks, and buffers lend it for reading.
var (
	slabs   = sync.Pool{New: func() any { return new(slab) }}
	buffers = sync.Pool{New: func() any { return new([]byte) }}
)

// New returns an empty one with so many partitions.
func New(parts int) *Spill {
	return &Spill{parts: make([]part, parts), chains: make([]chain, parts), limit: min(max(memory, parts*minPiece), parts*maxPiece) / blockSize}
}

// Append adds a row and its tag, whose meaning the caller decides.
func (s *Spill) Append(number int, fields [][]byte, tag uint64) error {
	size := uvarintSize(tag)
	for _, f := range fields {
		size += uvarintSize(uint64(len(f))+1) + len(f)
	}
	p := &s.chains[number]
	if uvarintSize(uint64(size))+size <= cap(p.room) { //nolint:gosec // a sum of lengths
		p.room = appendRow(p.room, size, fields, tag)
		p.room = p.room[len(p.room):]
		return nil
	}
	s.row = appendRow(s.row[:0], size, fields, tag)
	if blocks := (len(s.row) - cap(p.room) + blockSize - 1) / blockSize; len(s.next) > 0 && len(s.next)+blocks > s.limit {
		// A row stays in one piece, so that pieces can be read one by one.
		if err := s.flush(); err != nil {
			return err
		}
	}
	for rest := s.row; len(rest) > 0; {
		if cap(p.room) == 0 {
			s.grow(p)
		}
		n := copy(p.room[:cap(p.room)], rest)
		p.room, rest = p.room[:n][n:], rest[n:]
	}
	return nil
}

// appendRow encodes a row whose tag and fields take size bytes.
func appendRow(b []byte, size int, fields [][]byte, tag uint64) []byte {
	b = binary.AppendUvarint(b, uint64(size)) //nolint:gosec // a sum of lengths
	b = binary.AppendUvarint(b, tag)
	for _, f := range fields {
		if f == nil {
			b = append(b, 0)
			continue
		}
		b = binary.AppendUvarint(b, uint64(len(f))+1)
		b = append(b, f...)
	}
	return b
}

func uvarintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// grow gives a partition one more block.
func (s *Spill) grow(p *chain) {
	if len(s.next) == len(s.slabs)*perSlab {
		fresh, _ := slabs.Get().(*slab)
		s.slabs = append(s.slabs, fresh)
	}
	s.next = append(s.next, 0)
	number := uint32(len(s.next)) //nolint:gosec // there are not as many blocks
	if p.first == 0 {
		p.first = number
	} else {
		s.next[p.last-1] = number
	}
	p.last, p.room = number, s.block(number)[:0]
}

func (s *Spill) block(number uint32) []byte {
	at := (number - 1) % perSlab * blockSize
	return s.slabs[(number-1)/perSlab][at : at+blockSize : at+blockSize]
}

// gather appends to b what a partition has in memory.
func (s *Spill) gather(b []byte, partition int) []byte {
	if s.chains == nil {
		return b
	}
	p := &s.chains[partition]
	for number := p.first; number != 0; number = s.next[number-1] {
		block := s.block(number)
		if number == p.last {
			block = block[:blockSize-cap(p.room)]
		}
		b = append(b, block...)
	}
	return b
}

// flush seals what every partition has in memory and moves it to the file.
func (s *Spill) flush() error {
	if err := s.open(); err != nil {
		return err
	}
	s.out = s.out[:0]
	for i := range s.parts {
		p := &s.parts[i]
		if s.chains[i].first == 0 {
			continue
		}
		start, off := len(s.out), s.size+int64(len(s.out))
		s.out = binary.BigEndian.AppendUint64(s.out, uint64(p.stored.off)) //nolint:gosec // not negative
		s.out = binary.BigEndian.AppendUint32(s.out, p.stored.size)
		s.out = s.gather(s.out, i)
		plain := s.out[start:]
		s.out = s.aead.Seal(s.out[:start], nonce(off), plain, nil)
		size := uint32(len(s.out) - start) //nolint:gosec // little more than memory, or one row of 1 GiB
		*p = part{stored: place{off, size}, rows: p.rows + len(plain) - pieceHead}
		s.chains[i] = chain{}
		if len(s.out) >= writeSize {
			if err := s.write(); err != nil {
				return err
			}
		}
	}
	s.next = s.next[:0]
	return s.write()
}

func (s *Spill) write() error {
	if err := s.append(s.out); err != nil {
		return err
	}
	s.out = s.out[:0]
	return nil
}

// Done moves what is left in memory to the file, unless it is little and all
// there is, so that spills that are done take no memory.
func (s *Spill) Done() error {
	if s.file == nil && len(s.slabs)*slabSize <= small {
		return nil
	}
	if len(s.next) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.release()
	return nil
}

// release gives the memory back.
func (s *Spill) release() {
	for _, b := range s.slabs {
		slabs.Put(b)
	}
	s.slabs, s.chains, s.next, s.row, s.out = nil, nil, nil, nil, nil
}

// piece returns the rows of a piece, in scratch space, and where the one before
// it is.
func (s *Spill) piece(at place, scratch *[]byte) (rows []byte, before place, err error) {
	plain, err := s.read(at, scratch)
	if err != nil {
		return nil, place{}, err
	}
	before.off = int64(binary.BigEndian.Uint64(plain)) //nolint:gosec // was one
	before.size = binary.BigEndian.Uint32(plain[8:])
	return plain[pieceHead:], before, nil
}

// Each gives a partition's rows with little of it in memory: what was appended
// last may come first. The fields are valid during the call.
func (s *Spill) Each(number int, fn func(fields [][]byte, tag uint64) error) error {
	scratch, _ := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	var d decoder
	*scratch = s.gather((*scratch)[:0], number)
	err := d.all(*scratch, fn)
	for at := s.parts[number].stored; err == nil && at.size > 0; {
		var rows []byte
		if rows, at, err = s.piece(at, scratch); err == nil {
			err = d.all(rows, fn)
		}
	}
	return err
}

// Close gives up the file. Nil is closed.
func (s *Spill) Close() error {
	if s == nil {
		return nil
	}
	return s.close()
}

// Parts is the number of partitions.
func (s *Spill) Parts() int { return len(s.parts) }

// Buffer is memory for the rows of one partition, to be used again for others.
type Buffer struct{ rows []byte }

// Ordered gives a partition's rows in the order they were appended, with all of
// them in memory. The fields are valid until the buffer is used again. Several
// goroutines may read at once, each with a buffer of its own.
func (s *Spill) Ordered(number int, into *Buffer, fn func(fields [][]byte, tag uint64) error) error {
	scratch, _ := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	p := &s.parts[number]
	if cap(into.rows) < p.rows {
		into.rows = make([]byte, p.rows+p.rows/16) // others are about as large
	}
	rows := into.rows[:p.rows]
	end := p.rows // the last piece is read first
	for at := p.stored; at.size > 0; {
		piece, before, err := s.piece(at, scratch)
		if err != nil {
			return err
		}
		end -= copy(rows[end-len(piece):], piece)
		at = before
	}
	into.rows = s.gather(rows, number)
	var d decoder
	return d.all(into.rows, fn)
}

// decoder decodes rows; it holds scratch space.
type decoder struct{ fields [][]byte }

func (d *decoder) all(b []byte, fn func(fields [][]byte, tag uint64) error) (err error) {
	for len(b) > 0 && err == nil {
		b, err = d.one(b, fn)
	}
	return err
}

// one decodes the first row and returns what follows it.
func (d *decoder) one(b []byte, fn func(fields [][]byte, tag uint64) error) (rest []byte, err error) {
	size, n := binary.Uvarint(b)
	row, rest := b[n:n+int(size)], b[n+int(size):] //nolint:gosec // was a length
	tag, n := binary.Uvarint(row)
	row = row[n:]
	d.fields = d.fields[:0]
	for len(row) > 0 {
		size, n := binary.Uvarint(row)
		row = row[n:]
		if size == 0 {
			d.fields = append(d.fields, nil)
			continue
		}
		d.fields = append(d.fields, row[:size-1:size-1])
		row = row[size-1:]
	}
	return rest, fn(d.fields, tag)
}

// InOrder gives a partition's rows in the order they were appended, with one piece of it in
// memory, and the places of all. The fields are valid during the call. Several goroutines may
// read at once.
func InOrder(s *Spill, number int, fn func(fields [][]byte, tag uint64) error) error {
	scratch, _ := buffers.Get().(*[]byte)
	defer buffers.Put(scratch)
	var pieces []place
	for at := s.parts[number].stored; at.size > 0; {
		pieces = append(pieces, at)
		_, before, err := s.piece(at, scratch)
		if err != nil {
			return err
		}
		at = before
	}
	var d decoder
	for _, at := range slices.Backward(pieces) {
		rows, _, err := s.piece(at, scratch)
		if err == nil {
			err = d.all(rows, fn)
		}
		if err != nil {
			return err
		}
	}
	*scratch = s.gather((*scratch)[:0], number)
	return d.all(*scratch, fn)
}
