package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// update brings an account up to date: only what differs is written, and what
// others have added stays.
func (s *server) update(ctx context.Context, v *verdict) error {
	id := v.held.id()
	image := preImage{Account: v.held}
	for _, name := range v.want.groups {
		if !slices.ContainsFunc(v.diffs, func(d difference) bool { return d.path == groupPath(name) }) {
			image.Groups = append(image.Groups, name)
		}
	}
	before, err := json.Marshal(image)
	if err != nil {
		return fmt.Errorf("encode the account %s: %w", id, err)
	}
	if err := s.rewrite(ctx, v.held, v.want.body, v.diffs); err != nil {
		return err
	}
	if err := s.regroup(ctx, id, v.diffs); err != nil {
		return err
	}
	f, err := s.afterUpdate(ctx, id)
	if err != nil {
		return err
	}
	if noEffect(v.diffs, f) { // some servers skip paths that they do not understand
		if s.facts.patch {
			if err := s.sendPatch(ctx, v.held, pathless(edits(v.held, v.want.body, v.diffs))); err != nil {
				return err
			}
			if f, err = s.afterUpdate(ctx, id); err != nil {
				return err
			}
		}
		if noEffect(v.diffs, f) {
			return errNoEffect
		}
	}
	want := s.wantFields(v.want)
	for _, name := range v.want.groups {
		f[groupPath(name)] = "yes"
	}
	v.outcome.State, v.outcome.Before = left(s.env.Fingerprints, want, f), before
	if lost := s.lessons.learn(v.want.fields, f); len(lost) > 0 {
		v.outcome.Detail = "the server does not keep " + joinList(lost)
	}
	return s.lessons.save(ctx)
}

// errNoEffect says that a server accepts updates and forgets them.
var errNoEffect = errors.New("the server answers updates of this account with success and changes nothing")

// afterUpdate reads what an update has made of an account.
func (s *server) afterUpdate(ctx context.Context, id string) (fields, error) {
	after, err := s.api.one(ctx, s.facts.users, id)
	if err != nil {
		return nil, err
	}
	if after == nil {
		return nil, fmt.Errorf("the account %s has gone while it was updated", id)
	}
	return flatten(after), nil
}

// noEffect reports whether all that was to be changed is as before. What is absent
// still may be something that the server does not keep.
func noEffect(diffs []difference, f fields) bool {
	there := false
	for _, d := range diffs {
		if strings.HasPrefix(d.path, "groups[") {
			continue
		}
		if f[d.path] != d.held {
			return false
		}
		there = there || d.held != ""
	}
	return there
}

// regroup joins and leaves groups.
func (s *server) regroup(ctx context.Context, id string, diffs []difference) error {
	for _, d := range diffs {
		name, ok := strings.CutPrefix(d.path, "groups[")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "]")
		if d.want == "" {
			g, err := s.groups.get(ctx, name)
			if err == nil && g != nil {
				err = s.groups.leave(ctx, g, id)
			}
			if err != nil {
				return err
			}
			continue
		}
		g, err := s.groups.ensure(ctx, name)
		if err != nil {
			return err
		}
		if err := s.groups.join(ctx, g, []string{id})[id]; err != nil {
			return err
		}
	}
	return nil
}

// edit is one attribute to write: a value, or nil to remove it.
type edit struct {
	path  string // as in a PATCH: displayName, name.givenName, urn:…:User:department
	value any
}

// edits turns differences into the fewest attributes to write. Lists are written
// whole, with what others have put into them, because an operation on one element
// fails where there is none.
func edits(held, want resource, diffs []difference) (out []edit) {
	done := map[string]bool{}
	for _, d := range diffs {
		path := lossKey(d.path)
		if done[path] || strings.HasPrefix(d.path, "groups[") {
			continue
		}
		done[path] = true
		name, value := at(want, path)
		if name == "" {
			name, _ = at(held, path)
		}
		if list := isList(value) || strings.Contains(d.path, "["); list {
			value = merged(held, path, value, diffs)
		}
		out = append(out, edit{name, value})
	}
	return out
}

func isList(v any) bool {
	switch v.(type) {
	case []any, []string, []resource:
		return true
	}
	return false
}

// at finds an attribute by its lower-case path, and the path with the letters that
// the resource uses.
func at(r resource, path string) (name string, value any) {
	for k, v := range r {
		lower := strings.ToLower(k)
		if lower == path {
			return k, v
		}
		rest, ok := strings.CutPrefix(path, lower)
		if !ok || len(rest) < 2 || (rest[0] != '.' && rest[0] != ':') {
			continue
		}
		if o, isObject := objectOf(v); isObject {
			if sub, value := at(o, rest[1:]); sub != "" {
				return k + rest[:1] + sub, value
			}
		}
	}
	return "", nil
}

// merged is a list as it should be: what is wanted first, then what others have
// added, which is neither wanted nor among the differences.
func merged(held resource, path string, want any, diffs []difference) any {
	out := slices.Clone(elements(want))
	if len(out) > 0 {
		if o, ok := objectOf(out[0]); ok && text(o.get("value")) == "" {
			return out // a list without values cannot be merged
		}
	}
	f := fields{}
	f.add(path, out)
	_, there := at(held, path)
	for _, e := range elements(there) {
		one := fields{}
		one.add(path, []any{e})
		for p := range one {
			gone := slices.ContainsFunc(diffs, func(d difference) bool { return d.path == p && d.want == "" })
			if _, wanted := f[p]; wanted || gone {
				continue
			}
			if o, ok := objectOf(e); ok && len(elements(want)) > 0 && truth(o.get("primary")) {
				o = maps.Clone(o)
				o.unset("primary") // there is one at most
				e = o
			}
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// rewrite writes attributes by PATCH, or by PUT where there is no PATCH.
func (s *server) rewrite(ctx context.Context, held, want resource, diffs []difference) error {
	list := edits(held, want, diffs)
	if len(list) == 0 {
		return nil
	}
	if s.facts.patch {
		err := s.patch(ctx, held, list)
		if !unable(err) || status(err) == http.StatusNotFound {
			return err
		}
	}
	return s.put(ctx, held, list)
}

func (s *server) patch(ctx context.Context, held resource, list []edit) error {
	var ops []any
	for _, e := range list {
		if e.value == nil {
			ops = append(ops, resource{"op": "remove", "path": e.path})
		} else {
			ops = append(ops, resource{"op": "replace", "path": e.path, "value": e.value})
		}
	}
	err := s.sendPatch(ctx, held, ops)
	if e, ok := errors.AsType[*statusError](err); !ok || e.status != http.StatusBadRequest || e.taken() {
		return err
	}
	// Some servers know no paths, or not these: once more with whole values.
	if second := s.sendPatch(ctx, held, pathless(list)); second == nil {
		return nil
	}
	return err
}

// pathless are the operations of edits with whole values.
func pathless(list []edit) (ops []any) {
	body := resource{}
	for _, e := range list {
		if e.value == nil {
			ops = append(ops, resource{"op": "remove", "path": e.path})
		} else {
			put(body, e.path, e.value)
		}
	}
	if len(body) > 0 {
		ops = append(ops, resource{"op": "replace", "value": body})
	}
	return ops
}

func (s *server) sendPatch(ctx context.Context, held resource, ops []any) error {
	path, err := pathOf(s.facts.users, held.id())
	if err != nil {
		return err
	}
	body, err := marshal(resource{"schemas": []string{messagePatch}, "Operations": ops})
	if err != nil {
		return err
	}
	return s.api.write(ctx, request{method: http.MethodPatch, path: path, body: body, ifMatch: s.version(held)})
}

// version is the condition of an update, where the server has conditions: neither a
// header nor a version in the body alone means that it has.
func (s *server) version(held resource) string {
	meta, ok := objectOf(held.get("meta"))
	if !ok || !s.facts.etag {
		return ""
	}
	return meta.text("version")
}

// put replaces the account by itself with the changes. The id goes along, which some
// servers demand; the password does not.
func (s *server) put(ctx context.Context, held resource, list []edit) error {
	path, err := pathOf(s.facts.users, held.id())
	if err != nil {
		return err
	}
	body := deepCopy(held)
	for _, name := range []string{"meta", "groups", "password"} {
		body.unset(name)
	}
	for _, e := range list {
		if e.value != nil {
			put(body, e.path, e.value)
			continue
		}
		remove(body, e.path)
	}
	var schemas []any
	for _, n := range append([]any{coreUser}, elements(held.get("schemas"))...) {
		if !slices.Contains(schemas, n) {
			schemas = append(schemas, n)
		}
	}
	for name := range body {
		if strings.HasPrefix(strings.ToLower(name), "urn:") && !slices.Contains(schemas, any(name)) {
			schemas = append(schemas, name)
		}
	}
	body.set("schemas", schemas)
	raw, err := marshal(body)
	if err != nil {
		return err
	}
	return s.api.write(ctx, request{method: http.MethodPut, path: path, body: raw, ifMatch: s.version(held)})
}

func deepCopy(r resource) resource {
	out := resource{}
	for k, v := range r {
		if o, ok := objectOf(v); ok {
			v = deepCopy(o)
		}
		out[k] = v
	}
	return out
}

func remove(body resource, path string) {
	for k, v := range body {
		if strings.EqualFold(k, path) {
			delete(body, k)
			return
		}
		if rest, ok := strings.CutPrefix(strings.ToLower(path), strings.ToLower(k)); ok && len(rest) > 1 {
			if o, isObject := objectOf(v); isObject {
				o.unset(rest[1:])
			}
		}
	}
}

// preImage is an account as it was, for undo.
type preImage struct {
	Account resource `json:"account"`
	// Groups are those of the wanted ones that it was in.
	Groups []string `json:"groups,omitempty"`
}

// restore gives an account back what it was.
func (s *server) restore(ctx context.Context, held resource, before preImage, prior []byte) error {
	was, is := flatten(before.Account), flatten(held)
	last := parseState(prior)
	var diffs []difference
	for path, v := range was {
		if is[path] != v {
			diffs = append(diffs, difference{path, is[path], v})
		}
	}
	for path, v := range is {
		if _, ok := was[path]; !ok {
			diffs = append(diffs, difference{path, v, ""})
		}
	}
	slices.SortFunc(diffs, func(a, b difference) int { return strings.Compare(a.path, b.path) })
	if err := s.rewrite(ctx, held, before.Account, diffs); err != nil {
		return err
	}
	if s.facts.groups == "" {
		return nil
	}
	names, err := s.groups.names(ctx)
	if err != nil {
		return err
	}
	var gone []difference
	for _, name := range names {
		if recorded(s.env.Fingerprints, last.held, groupPath(name)) && !slices.Contains(before.Groups, name) {
			gone = append(gone, difference{groupPath(name), "yes", ""})
		}
	}
	return s.regroup(ctx, held.id(), gone)
}
