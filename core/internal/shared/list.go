package shared

import "github.com/google/uuid"

// List is a list that grows without moving and with little to spare. The zero value is
// empty.
type List[T any] struct {
	chunks [][]T
}

const chunk = 1 << 11

// Add appends a value.
func (l *List[T]) Add(v T) {
	if n := len(l.chunks); n == 0 || len(l.chunks[n-1]) == chunk {
		l.chunks = append(l.chunks, make([]T, 0, chunk))
	}
	last := &l.chunks[len(l.chunks)-1]
	*last = append(*last, v)
}

// At returns the value at a place, counted from 0.
func (l *List[T]) At(place int) T { return l.chunks[place/chunk][place%chunk] }

func (l *List[T]) appendTo(all []T) []T {
	for _, c := range l.chunks {
		all = append(all, c...)
	}
	return all
}

// Len is how many values there are.
func (l *List[T]) Len() int {
	if len(l.chunks) == 0 {
		return 0
	}
	return (len(l.chunks)-1)*chunk + len(l.chunks[len(l.chunks)-1])
}

// IDs are the ids of accounts by their place. It takes 16 bytes for one that is a
// UUID. The zero value is empty.
type IDs struct {
	uuids List[uuid.UUID]
	odd   map[int]string
}

// Add appends an id.
func (i *IDs) Add(id string) {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		if i.odd == nil {
			i.odd = map[int]string{}
		}
		i.odd[i.Len()] = id
	}
	i.uuids.Add(u)
}

// At returns the id at a place, as it was added.
func (i *IDs) At(place int) string {
	if id, ok := i.odd[place]; ok {
		return id
	}
	return i.uuids.At(place).String()
}

// Len is how many ids there are.
func (i *IDs) Len() int { return i.uuids.Len() }
