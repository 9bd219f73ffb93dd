package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// learnedKey is the journal's key for what was learnt about the server.
const learnedKey = "lessons"

// learned are what reading back has taught: which attributes the server drops, which
// it rewrites, and which it adds by itself.
type learned struct {
	journal sdk.Journal

	mu      sync.Mutex
	shapes  map[string]bool // of accounts that were read back
	lost    map[string]bool
	kept    map[string]bool // of some account: what one lacks is not what the server drops
	shaped  map[string]bool
	added   map[string]bool
	single  map[string]bool // lists of which it keeps one value, and not the first
	pace    [2]int          // the best size and number of Bulk requests, 0 when unknown
	changed bool
}

type savedLearned struct {
	Lost   []string `json:"lost,omitempty"`
	Kept   []string `json:"kept,omitempty"`
	Shaped []string `json:"shaped,omitempty"`
	Added  []string `json:"added,omitempty"`
	Single []string `json:"single,omitempty"`
	Pace   [2]int   `json:"pace,omitzero"`
}

func recall(j sdk.Journal) *learned {
	l := &learned{journal: j, shapes: map[string]bool{}, lost: map[string]bool{}, kept: map[string]bool{}, shaped: map[string]bool{}, single: map[string]bool{}}
	if j == nil {
		return l
	}
	raw, ok := j.Get(learnedKey)
	var saved savedLearned
	if !ok || json.Unmarshal(raw, &saved) != nil {
		return l
	}
	l.added, l.pace = map[string]bool{}, saved.Pace
	for _, part := range []struct {
		into map[string]bool
		from []string
	}{{l.lost, saved.Lost}, {l.kept, saved.Kept}, {l.shaped, saved.Shaped}, {l.added, saved.Added}, {l.single, saved.Single}} {
		for _, name := range part.from {
			part.into[name] = true
		}
	}
	return l
}

// mostShapes bounds how many kinds of accounts are read back.
const mostShapes = 64

// unseen reports whether no account of this shape has been read back yet, and from
// then on it has.
func (l *learned) unseen(want fields) bool {
	names := map[string]int{} // how many values, too: some servers keep one
	for path := range want {
		names[lossKey(path)]++
	}
	var shape string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		shape += fmt.Sprintf("%s %d ", name, names[name])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shapes[shape] || len(l.shapes) >= mostShapes {
		return false
	}
	l.shapes[shape] = true
	return true
}

// learn compares what was sent with what is there, and returns what is lost.
func (l *learned) learn(want, held fields) (lost []string) {
	there := map[string]bool{}
	for path := range held {
		there[lossKey(path)] = true
	}
	asked := map[string]bool{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.added == nil {
		l.added = map[string]bool{}
		l.changed = true
	}
	note := func(into map[string]bool, key string) {
		if !into[key] {
			into[key], l.changed = true, true
		}
	}
	for path, v := range want {
		key := lossKey(path)
		asked[key] = true
		if there[key] {
			note(l.kept, key)
			delete(l.lost, key)
		}
		switch {
		case held[path] == v || strings.HasPrefix(path, "groups["):
		case !there[key]:
			if !slices.Contains(lost, key) {
				lost = append(lost, key)
			}
			if !l.kept[key] {
				note(l.lost, key)
			}
		default:
			note(l.shaped, key)
		}
	}
	for key := range there {
		if !asked[key] {
			note(l.added, key)
		}
	}
	slices.Sort(lost)
	return lost
}

// singular notes that the server keeps one address, and not the first, so that no
// more than one may be sent to it. It reports whether held shows that, which is then
// to be put right.
func (l *learned) singular(want, held resource) bool {
	sent, kept := elements(want.get("emails")), elements(held.get("emails"))
	if len(sent) < 2 || len(kept) != 1 || sameName(valueOf(kept[0]), []string{valueOf(sent[0])}) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.single["emails"] {
		l.single["emails"], l.changed = true, true
	}
	return true
}

// keepPace notes what was fastest, for the next run to begin with.
func (l *learned) keepPace(pace [2]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pace[0] > 0 && pace != l.pace {
		l.pace, l.changed = pace, true
	}
}

// keepsOne reports whether no more than one value of a list is to be sent.
func (l *learned) keepsOne(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.single[key]
}

func (l *learned) losses() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.lost)
}

// known reports whether any account was read back yet.
func (l *learned) known() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.added != nil
}

// additions are what the server adds by itself, nil when nothing is known.
func (l *learned) additions() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.added)
}

func (l *learned) loses(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost[key]
}

// reshapes reports whether the server rewrites any of these fields, so that only
// reading tells what it has made of them.
func (l *learned) reshapes(want fields) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for path := range want {
		if l.shaped[lossKey(path)] {
			return true
		}
	}
	return false
}

// predicted is what the server will hold of what it is sent.
func (l *learned) predicted(want fields) fields {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := fields{}
	for path, v := range want {
		if !l.lost[lossKey(path)] {
			f[path] = v
		}
	}
	return f
}

// notKept names what of a user the server will not keep.
func (l *learned) notKept(want fields) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for path := range want {
		if key := lossKey(path); l.lost[key] && !slices.Contains(out, shownName(key)) {
			out = append(out, shownName(key))
		}
	}
	slices.Sort(out)
	return out
}

// save writes down what is new, while a load is running.
func (l *learned) save(ctx context.Context) error {
	l.mu.Lock()
	changed := l.changed
	l.changed = false
	saved := savedLearned{
		slices.Sorted(maps.Keys(l.lost)), slices.Sorted(maps.Keys(l.kept)), slices.Sorted(maps.Keys(l.shaped)), slices.Sorted(maps.Keys(l.added)), slices.Sorted(maps.Keys(l.single)), l.pace,
	}
	l.mu.Unlock()
	if !changed || l.journal == nil {
		return nil
	}
	raw, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	if err := l.journal.Put(ctx, learnedKey, raw); err != nil {
		return fmt.Errorf("remember what the server does with attributes: %w", err)
	}
	return nil
}
