package scim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// update brings an account up to date: only what differs is written, and what
// others have added stays.
func (s *server) update(ctx context.Context, v *verdict) error {
	id := v.held.id()
	image := preImage{Account: v.held}
	for _, name := range v.want.groups {
		if !slices.ContainsFunc(v.Differences, func(d reconcile.Difference) bool { return d.Field == groupPath(name) }) {
			image.Groups = append(image.Groups, name)
		}
	}
	before, err := json.Marshal(image)
	if err != nil {
		return fmt.Errorf("encode the account %s: %w", id, err)
	}
	if err := s.write.rewrite(ctx, v.held, v.want.body, v.Differences); err != nil {
		return err
	}
	failed := applyGroups(ctx, s.groups, id, v.Differences)
	now, f, err := s.afterUpdate(ctx, id, v, failed)
	if err != nil {
		return err
	}
	if noEffect(v.Differences, f) { // some servers skip paths that they do not understand
		if s.facts.patch {
			if err := s.write.sendPatch(ctx, v.held, pathless(edits(v.held, v.want.body, v.Differences))); err != nil {
				return err
			}
			if now, f, err = s.afterUpdate(ctx, id, v, failed); err != nil {
				return err
			}
		}
		if noEffect(v.Differences, f) {
			return errNoEffect
		}
	}
	open := v.Unsent()
	for _, d := range v.Differences { // a role that did not come about is to be given by a later run
		open[d.Field] = isGroup(d.Field) && f[d.Field] != d.Want
	}
	if v.Send[fieldPassword] {
		if failed[fieldPassword], err = s.write.password(ctx, v, now); err != nil {
			return err
		}
		open[fieldPassword] = failed[fieldPassword] != nil
	}
	var lost []string
	if lost = s.learned.learn(v.want.fields, f); len(lost) > 0 {
		v.Outcome.Detail = "the server does not keep " + joinList(lost)
	}
	v.Outcome.State, v.Outcome.Before = s.compare.left(wanted(v.want), f, v.Differences, open), before
	v.Outcome.Losses = append(v.Outcome.Losses, losses(v, f, failed)...)
	return s.learned.save(ctx)
}

// password gives an account, which is held by now, the hash of the source. What the server
// says against it costs the password only.
func (w writer) password(ctx context.Context, v *verdict, held resource) (refusal, err error) {
	if v.want.secret.IsZero() {
		return fmt.Errorf("%w: SCIM cannot take a password away", errPartRefused), nil
	}
	err = w.rewrite(ctx, held, resource{"password": v.want.secret.Reveal()}, []reconcile.Difference{{Field: "password", Want: "set"}})
	r, ok := errors.AsType[*statusError](err)
	if !ok {
		return nil, err
	}
	r.detail = v.safe(r.detail)
	if refused(err) && r.status != http.StatusPreconditionFailed {
		return fmt.Errorf("%w: %w", errPartRefused, r), nil
	}
	return nil, err
}

// errPartRefused says that a part of an account will not be taken however often it is sent.
var errPartRefused = errors.New("the server does not take it")

// losses are the parts of an updated account that did not become what they should:
// what failed, and what the server has accepted and not done.
func losses(v *verdict, f fields, failed map[string]error) (out []sdk.PartLoss) {
	missed := map[string]error{}
	for _, d := range reconcile.Missed(v.Differences, f) {
		if d.Held != "" || isGroup(d.Field) { // else it is what the server does not keep
			missed[d.Field] = errKept
			if isGroup(d.Field) {
				missed[d.Field] = errStillMember
			}
		}
	}
	maps.Copy(missed, failed)
	for _, path := range slices.Sorted(maps.Keys(missed)) {
		if missed[path] != nil {
			out = append(out, lossOf(path, missed[path]))
		}
	}
	return out
}

// errKept says that a server answers a change with success and keeps the old value.
var errKept = fmt.Errorf("%w: it answers with success and keeps the old value", errPartRefused)

func isGroup(path string) bool { return strings.HasPrefix(path, "groups[") }

// lossOf names a part of an account that could not be written.
func lossOf(path string, why error) sdk.PartLoss {
	l := sdk.PartLoss{Feature: sdk.CarriesMetadata, Code: sdk.CodePartFailed, Attribute: shownName(path), Detail: why.Error()}
	if refused(why) || unable(why) || errors.Is(why, errPartRefused) {
		l.Code = sdk.CodePartRefused
	}
	switch name, group := strings.CutPrefix(strings.TrimSuffix(path, "]"), "groups["); {
	case group && strings.HasPrefix(name, tenantPrefix):
		l.Feature, l.Attribute = sdk.CarriesTenants, strings.TrimPrefix(name, tenantPrefix)
	case group:
		l.Feature, l.Attribute = sdk.CarriesRoles, name
	case path == fieldPassword:
		l.Feature, l.Attribute = sdk.PartPassword, ""
	default:
		l.Feature = cmp.Or(featureOf(l.Attribute), sdk.CarriesMetadata)
	}
	return l
}

// errGone says that somebody has deleted an account while it was updated.
var errGone = errors.New("the account was deleted while it was updated")

// errNoEffect says that a server accepts updates and forgets them.
var errNoEffect = errors.New("the server answers updates of this account with success and changes nothing")

// afterUpdate reads what an update has made of an account, its groups among it: what was
// taken away is read back like what was given. Where the server does not show members,
// what was done counts, unless it has failed.
func (s *server) afterUpdate(ctx context.Context, id string, v *verdict, failed map[string]error) (after resource, f fields, err error) {
	after, err = s.api.one(ctx, s.facts.users, id)
	if err != nil {
		return nil, nil, err
	}
	if after == nil {
		return nil, nil, errGone
	}
	f = flatten(after)
	want := map[string]bool{}
	for _, name := range v.want.groups {
		want[name] = true
	}
	for _, d := range v.Differences {
		if isGroup(d.Field) && d.Want == "" {
			want[groupName(d.Field)] = false
		}
	}
	for name, wanted := range want {
		g, err := s.groups.get(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		if g == nil {
			continue
		}
		has, known, err := s.groups.has(ctx, g, id)
		if err != nil {
			return nil, nil, err
		}
		if !known {
			has = wanted == (failed[groupPath(name)] == nil)
		}
		if has {
			f[groupPath(name)] = "yes"
		}
	}
	return after, f, nil
}

// noEffect reports whether all that was to be changed is as before. What is absent
// still may be something that the server does not keep.
func noEffect(diffs []reconcile.Difference, f fields) bool {
	there := false
	for _, d := range diffs {
		if isGroup(d.Field) {
			continue
		}
		if f[d.Field] != d.Held {
			return false
		}
		there = there || d.Held != ""
	}
	return there
}

// applyGroups joins and leaves groups, and returns what went wrong, by field.
func applyGroups(ctx context.Context, d *groupDirectory, id string, diffs []reconcile.Difference) map[string]error {
	failed := map[string]error{}
	for _, diff := range diffs {
		if !isGroup(diff.Field) {
			continue
		}
		if err := d.set(ctx, id, groupName(diff.Field), diff.Want != ""); err != nil {
			failed[diff.Field] = err
		}
	}
	return failed
}

func (d *groupDirectory) set(ctx context.Context, id, name string, member bool) error {
	if !member {
		g, err := d.get(ctx, name)
		if err != nil || g == nil {
			return err
		}
		return d.leave(ctx, g, id)
	}
	g, err := d.ensure(ctx, name)
	if err != nil {
		return err
	}
	return d.join(ctx, g, []string{id})[id]
}

// edit is one attribute to write: a value, or nil to remove it.
type edit struct {
	path  string // as in a PATCH: displayName, name.givenName, urn:…:User:department
	value any
}

// edits turns differences into the fewest attributes to write. Lists are written
// whole, with what others have put into them, because an operation on one element
// fails where there is none.
func edits(held, want resource, diffs []reconcile.Difference) (out []edit) {
	done := map[string]bool{}
	for _, d := range diffs {
		path := lossKey(d.Field)
		if done[path] || isGroup(d.Field) {
			continue
		}
		done[path] = true
		name, value := at(want, path)
		if name == "" {
			name, _ = at(held, path)
		}
		if list := isList(value) || strings.Contains(d.Field, "["); list {
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
func merged(held resource, path string, want any, diffs []reconcile.Difference) any {
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
			gone := slices.ContainsFunc(diffs, func(d reconcile.Difference) bool { return d.Field == p && d.Want == "" })
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

// writer changes accounts that are there.
type writer struct {
	api   *transport
	facts *facts
}

// rewrite writes attributes by PATCH, or by PUT where there is no PATCH.
func (w writer) rewrite(ctx context.Context, held, want resource, diffs []reconcile.Difference) error {
	list := edits(held, want, diffs)
	if len(list) == 0 {
		return nil
	}
	if w.facts.patch {
		err := w.patch(ctx, held, list)
		if !unable(err) || status(err) == http.StatusNotFound {
			return err
		}
	}
	return w.put(ctx, held, list)
}

func (w writer) patch(ctx context.Context, held resource, list []edit) error {
	var ops []any
	for _, e := range list {
		if e.value == nil {
			ops = append(ops, resource{"op": "remove", "path": e.path})
		} else {
			ops = append(ops, resource{"op": "replace", "path": e.path, "value": e.value})
		}
	}
	err := w.sendPatch(ctx, held, ops)
	if e, ok := errors.AsType[*statusError](err); !ok || e.status != http.StatusBadRequest || e.taken() {
		return err
	}
	// Some servers know no paths, or not these: once more with whole values.
	if second := w.sendPatch(ctx, held, pathless(list)); second == nil {
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

func (w writer) sendPatch(ctx context.Context, held resource, ops []any) error {
	path, err := pathOf(w.facts.users, held.id())
	if err != nil {
		return err
	}
	body, err := marshal(resource{"schemas": []string{messagePatch}, "Operations": ops})
	if err != nil {
		return err
	}
	return w.api.write(ctx, request{method: http.MethodPatch, path: path, body: body, ifMatch: w.version(held)})
}

// version is the condition of an update, where the server has conditions: neither a
// header nor a version in the body alone means that it has.
func (w writer) version(held resource) string {
	meta, ok := objectOf(held.get("meta"))
	if !ok || !w.facts.etag {
		return ""
	}
	return meta.text("version")
}

// put replaces the account by itself with the changes. The id goes along, which some
// servers demand; the password does not.
func (w writer) put(ctx context.Context, held resource, list []edit) error {
	path, err := pathOf(w.facts.users, held.id())
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
	return w.api.write(ctx, request{method: http.MethodPut, path: path, body: raw, ifMatch: w.version(held)})
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
func (s reversal) restore(ctx context.Context, held resource, before preImage, prior []byte) error {
	was, is := flatten(before.Account), flatten(held)
	last := reconcile.ParseState(prior)
	var diffs []reconcile.Difference
	for path, v := range was {
		if is[path] != v {
			diffs = append(diffs, reconcile.Difference{Field: path, Held: is[path], Want: v})
		}
	}
	for path, v := range is {
		if _, ok := was[path]; !ok {
			diffs = append(diffs, reconcile.Difference{Field: path, Held: v})
		}
	}
	slices.SortFunc(diffs, func(a, b reconcile.Difference) int { return strings.Compare(a.Field, b.Field) })
	if err := s.write.rewrite(ctx, held, before.Account, diffs); err != nil {
		return err
	}
	if s.facts.groups == "" {
		return nil
	}
	names, err := s.groups.names(ctx)
	if err != nil {
		return err
	}
	var gone []reconcile.Difference
	for _, name := range names {
		if last.Recorded(s.env.Fingerprints, groupPath(name)) && !slices.Contains(before.Groups, name) {
			gone = append(gone, reconcile.Difference{Field: groupPath(name), Held: "yes"})
		}
	}
	return errors.Join(slices.Collect(maps.Values(applyGroups(ctx, s.groups, held.id(), gone)))...)
}
