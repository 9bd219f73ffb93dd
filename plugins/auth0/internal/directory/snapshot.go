package directory

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"strings"
)

// snapshot is an export on disk, without a name: the file is gone with the process.
type snapshot struct {
	file    *os.File
	seed    maphash.Seed
	byID    map[uint64]span
	byEmail map[uint64][]span
}

type span struct {
	at   int64
	size int
}

// newSnapshot stores and indexes what an export has, packed or not. seen hears now and then
// of how many users that is so far.
func newSnapshot(r io.Reader, seen func(int)) (*snapshot, error) {
	body := bufio.NewReaderSize(r, 64<<10)
	var lines io.Reader = body
	if magic, err := body.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if lines, err = gzip.NewReader(body); err != nil {
			return nil, fmt.Errorf("unpack an export: %w", err)
		}
	}
	file, err := os.CreateTemp("", "stetl-export-*") // readable by its owner only
	if err != nil {
		return nil, fmt.Errorf("store an export: %w", err)
	}
	_ = os.Remove(file.Name()) // where the system allows it, the name goes at once
	s := &snapshot{file: file, seed: maphash.MakeSeed(), byID: map[uint64]span{}, byEmail: map[uint64][]span{}}
	if err := s.index(lines, seen); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *snapshot) close() error {
	err := s.file.Close()
	if removeErr := os.Remove(s.file.Name()); removeErr != nil && !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

func (s *snapshot) index(lines io.Reader, seen func(int)) error {
	w := bufio.NewWriter(s.file)
	at := int64(0)
	for d := json.NewDecoder(lines); ; {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if errors.Is(err, io.EOF) {
			break
		}
		var key struct {
			UserID string `json:"user_id"`
			Email  string `json:"email"`
		}
		if err == nil {
			err = json.Unmarshal(raw, &key)
		}
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			return fmt.Errorf("store an export: %w", err)
		}
		here := span{at, len(raw)}
		at += int64(len(raw))
		s.byID[s.hash(key.UserID)] = here
		if n := len(s.byID); n%1000 == 0 {
			seen(n)
		}
		if key.Email != "" {
			h := s.hash(strings.ToLower(key.Email))
			s.byEmail[h] = append(s.byEmail[h], here)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("store an export: %w", err)
	}
	return nil
}

func (s *snapshot) hash(text string) uint64 { return maphash.String(s.seed, text) }

func (s *snapshot) read(at span) (*Account, error) {
	raw := make([]byte, at.size)
	if _, err := s.file.ReadAt(raw, at.at); err != nil {
		return nil, fmt.Errorf("read the exported users: %w", err)
	}
	var a Account
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, fmt.Errorf("read an exported user: %w", err)
	}
	return &a, nil
}

// named returns the account with an id, nil when there is none.
func (s *snapshot) named(id string) (*Account, error) {
	at, ok := s.byID[s.hash(id)]
	if !ok || id == "" {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	a, err := s.read(at)
	if err != nil || a.UserID != id {
		return nil, err
	}
	return a, nil
}

func (s *snapshot) find(q *Question) (h Holders, err error) {
	if h.ID, err = s.named(q.Known); err != nil || h.ID != nil {
		h.Known = true
		return h, err
	}
	if h.ID, err = s.named(q.ID); err != nil || h.ID != nil {
		h.Known = q.ID == q.Known
		return h, err
	}
	if q.Email == "" {
		return h, nil
	}
	for _, at := range s.byEmail[s.hash(q.Email)] {
		a, err := s.read(at)
		if err != nil {
			return h, err
		}
		if strings.EqualFold(a.Email, q.Email) && a.In(q.Connection) {
			h.Email = a
		}
	}
	return h.recognised(q), nil
}
