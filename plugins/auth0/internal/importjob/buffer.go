package importjob

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"strconv"
)

// Budget is how long the body of one import request may be, multipart framing
// included. Auth0 refuses more than 512,000 bytes.
const Budget = 500_000

// framing is what multipart adds, with ids of the usual length. A file that is
// uploaded by hand goes through other clients, which take up to this much.
const (
	externalIDLength = 40
	FileFraming      = 1_500
)

// form encodes an import request with users, a JSON array, and returns its
// content type.
func form(connectionID, externalID string, upsert bool, users []byte) ([]byte, string, error) {
	var b bytes.Buffer
	b.Grow(len(users) + 1024)
	w := multipart.NewWriter(&b)
	for _, f := range [][2]string{
		{"connection_id", connectionID},
		{"upsert", strconv.FormatBool(upsert)},
		{"external_id", externalID},
		{"send_completion_email", "false"}, // else every owner of the tenant gets a mail for every job
	} {
		if err := w.WriteField(f[0], f[1]); err != nil {
			return nil, "", fmt.Errorf("encode an import request: %w", err)
		}
	}
	part, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="users"; filename="users.json"`}, "Content-Type": {"application/json"},
	})
	if err == nil {
		_, err = part.Write(users)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, "", fmt.Errorf("encode an import request: %w", err)
	}
	return b.Bytes(), w.FormDataContentType(), nil
}

// Room is what a request leaves for the array of users.
func Room(connectionID string) (int, error) {
	body, _, err := form(connectionID, string(make([]byte, externalIDLength)), false, nil)
	return Budget - len(body), err
}

// Buffer collects encoded users and cuts arrays out of them. T is what belongs to
// each.
type Buffer[T any] struct {
	limit int // bytes of one array
	size  int // of everything that waits
	items []T
	body  func(T) []byte
}

// NewBuffer returns one whose arrays take so many bytes.
func NewBuffer[T any](limit int, body func(T) []byte) Buffer[T] {
	return Buffer[T]{limit: limit, body: body}
}

// Len is how many wait.
func (b *Buffer[T]) Len() int { return len(b.items) }

// Add puts one more behind the others.
func (b *Buffer[T]) Add(item T) {
	b.items = append(b.items, item)
	b.size += len(b.body(item)) + 1
}

// Full reports whether what waits fills n arrays.
func (b *Buffer[T]) Full(n int) bool { return b.size > n*b.limit }

// Cut takes out what fills one array: in order, and where the next one does not
// fit, whatever fits of those behind it.
func (b *Buffer[T]) Cut() []T {
	var out []T
	kept := b.items[:0:0]
	size := 1 // the brackets, less the comma that the first one lacks
	for i, item := range b.items {
		n := len(b.body(item)) + 1
		if size+n > b.limit {
			kept = append(kept, item)
			if b.limit-size < smallest {
				kept = append(kept, b.items[i+1:]...)
				break
			}
			continue
		}
		out = append(out, item)
		size += n
		b.size -= n
	}
	b.items = kept
	return out
}

// smallest is the least that a user takes: with less room than that, looking on is
// in vain.
const smallest = 60

// Array joins encoded users.
func Array[T any](items []T, body func(T) []byte) []byte {
	size := 2
	for _, item := range items {
		size += len(body(item)) + 1
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(body(item))
	}
	b.WriteByte(']')
	return b.Bytes()
}
