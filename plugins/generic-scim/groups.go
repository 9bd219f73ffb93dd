package scim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/stetl/stetl/core/sdk"
)

// groupKey begins the journal's keys of groups that a load has made.
const groupKey = "group:"

// groupMark begins the externalId of groups that a load has made.
const groupMark = "stetl:"

// groupDirectory finds, makes and fills groups. A group has one writer at a time:
// two at once lose members on many servers.
type groupDirectory struct {
	api     *transport
	facts   *facts
	journal sdk.Journal
	members memberList

	mu     sync.Mutex
	byName map[string]*group // nil until read
	shows  bool              // the server has shown members of a group

	probing sync.Mutex
	probed  bool // groups were looked at for whether they show any
	learnt  bool // so was one that has some
}

type group struct {
	id, name string
	marked   bool // it carries our externalId, or was made in this run
	writing  sync.Mutex

	mu      sync.Mutex
	known   bool
	members map[string]bool // nil when the server shows none
}

func (d *groupDirectory) open(ctx context.Context) error {
	if d.byName != nil {
		return nil
	}
	byName := map[string]*group{}
	_, err := d.api.every(ctx, d.facts, d.facts.groups, "&excludedAttributes=members", func(r resource) {
		name := r.text("displayName")
		if byName[name] == nil {
			byName[name] = &group{id: r.id(), name: name, marked: r.text("externalId") == groupMark+name}
		}
	})
	if err != nil {
		return err
	}
	d.byName = byName
	return nil
}

// get finds a group, nil when there is none.
func (d *groupDirectory) get(ctx context.Context, name string) (*group, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	return d.byName[name], nil
}

// names lists the groups that are there.
func (d *groupDirectory) names(ctx context.Context) (out []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	for n := range d.byName {
		out = append(out, n)
	}
	return out, nil
}

// ensure finds a group or makes it.
func (d *groupDirectory) ensure(ctx context.Context, name string) (*group, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.open(ctx); err != nil {
		return nil, err
	}
	if g := d.byName[name]; g != nil {
		return g, nil
	}
	body, err := marshal(resource{"schemas": []string{coreGroup}, "displayName": name, "externalId": groupMark + name})
	if err != nil {
		return nil, err
	}
	a, err := d.api.call(ctx, request{method: http.MethodPost, path: d.facts.groups, body: body})
	if status(err) == http.StatusBadRequest { // groups of many servers know no externalId
		if body, err = marshal(resource{"schemas": []string{coreGroup}, "displayName": name}); err != nil {
			return nil, err
		}
		a, err = d.api.call(ctx, request{method: http.MethodPost, path: d.facts.groups, body: body})
	}
	id := ""
	if err == nil {
		r, _ := decode(a.body) // an empty answer leaves the location
		id = idOf(r, a.header.Get("Location"), d.facts.groups)
	}
	if id == "" { // it may be there all the same, or somebody else has made it
		d.byName = nil
		if openErr := d.open(ctx); openErr != nil {
			return nil, openErr
		}
		g := d.byName[name]
		switch {
		case g == nil && err == nil:
			return nil, fmt.Errorf("make group %s: the server answers %d and there is no such group", name, a.status)
		case g == nil:
			return nil, fmt.Errorf("make group %s: %w", name, err)
		case !g.marked && !lost(err): // else the request whose answer was lost has made it
			return g, nil
		}
		id = g.id
	}
	g := &group{id: id, name: name, marked: true}
	d.byName[name] = g
	if d.journal != nil {
		if err := d.journal.Put(ctx, groupKey+name, []byte(id)); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// has reports whether a group shows an account among its members; known is false
// where the server does not tell.
func (d *groupDirectory) has(ctx context.Context, g *group, id string) (has, known bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.known {
		list, err := d.members.list(ctx, g)
		if err != nil {
			return false, false, err
		}
		g.known, g.members = true, nil
		if len(list) > 0 {
			g.members = make(map[string]bool, len(list))
			d.mu.Lock()
			d.shows = true
			d.mu.Unlock()
			for _, m := range list {
				if o, ok := objectOf(m); ok {
					g.members[o.text("value")] = true
				}
			}
		} else if d.shown(ctx) {
			g.members = map[string]bool{} // somebody has taken all of them out
		}
	}
	return g.members[id], g.members != nil, nil
}

// mostProbed bounds how many groups are looked at to find out whether the server shows
// members at all.
const mostProbed = 20

// shown reports whether the server shows members of groups: else an empty group looks like
// a full one.
func (d *groupDirectory) shown(ctx context.Context) bool {
	d.probing.Lock()
	defer d.probing.Unlock()
	d.mu.Lock()
	shows := d.shows
	var others []*group
	for _, name := range slices.Sorted(maps.Keys(d.byName)) {
		others = append(others, d.byName[name])
	}
	d.mu.Unlock()
	if shows || d.probed {
		return shows
	}
	d.probed = true
	for _, g := range others[:min(len(others), mostProbed)] {
		if list, err := d.members.list(ctx, g); err == nil && len(list) > 0 {
			d.mu.Lock()
			d.shows = true
			d.mu.Unlock()
			return true
		}
	}
	return false
}

// memberList reads and writes the members of groups.
type memberList struct {
	api   *transport
	facts *facts
}

// list reads the members of a group. Some servers show them only on request.
func (m memberList) list(ctx context.Context, g *group) ([]any, error) {
	path, err := pathOf(m.facts.groups, g.id)
	if err != nil {
		return nil, err
	}
	for _, query := range []string{"", "attributes=members"} {
		r, err := m.api.read(ctx, path, query)
		switch {
		case err != nil && (!refused(err) || (query == "" && status(err) != http.StatusNotFound)):
			return nil, err
		case len(elements(r.get("members"))) > 0:
			return elements(r.get("members")), nil
		}
	}
	return nil, nil
}

// stale has the members read again when they are asked for.
func (g *group) stale() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.known = false
}

// join adds members and returns what went wrong, by id.
func (d *groupDirectory) join(ctx context.Context, g *group, ids []string) map[string]error {
	g.writing.Lock()
	defer g.writing.Unlock()
	defer g.stale()
	failed := map[string]error{}
	for part := range slices.Chunk(ids, d.api.config.MemberChunk) {
		d.members.add(ctx, g, part, failed)
	}
	return failed
}

func (m memberList) add(ctx context.Context, g *group, ids []string, failed map[string]error) {
	var err error
	if m.facts.patch {
		var members []any
		for _, id := range ids {
			members = append(members, resource{"value": id})
		}
		err = m.patch(ctx, g, resource{"op": "add", "path": "members", "value": members})
		if status(err) == http.StatusBadRequest { // a server that knows no paths
			if m.patch(ctx, g, resource{"op": "add", "value": resource{"members": members}}) == nil {
				err = nil
			}
		}
	}
	if !m.facts.patch || status(err) == http.StatusMethodNotAllowed || status(err) == http.StatusNotImplemented {
		err = m.replace(ctx, g, ids, true)
	}
	switch {
	case err == nil || status(err) == http.StatusConflict: // they are members
	case refused(err) && len(ids) > 1:
		half := len(ids) / 2
		m.add(ctx, g, ids[:half], failed)
		m.add(ctx, g, ids[half:], failed)
	default:
		for _, id := range ids {
			failed[id] = fmt.Errorf("add to group %s: %w", g.name, err)
		}
	}
}

// leave takes one member out. Servers differ in the form that they understand, and some
// answer with success to one that they do not, so that the members are read again after
// each.
func (d *groupDirectory) leave(ctx context.Context, g *group, id string) (err error) {
	g.writing.Lock()
	defer g.writing.Unlock()
	defer g.stale()
	for _, try := range []func() error{
		func() error { return d.members.patch(ctx, g, resource{"op": "remove", "path": memberPath(id)}) },
		func() error {
			return d.members.patch(ctx, g, resource{"op": "remove", "path": "members", "value": []any{resource{"value": id}}})
		},
		func() error { return d.members.replace(ctx, g, []string{id}, false) },
	} {
		switch err = try(); {
		case refused(err), unable(err):
			continue
		case err != nil:
			return fmt.Errorf("remove from group %s: %w", g.name, err)
		}
		there, readErr := d.members.list(ctx, g)
		if readErr != nil {
			return readErr
		}
		if !slices.ContainsFunc(there, func(m any) bool {
			o, ok := objectOf(m)
			return ok && o.text("value") == id
		}) {
			return nil
		}
		err = errStillMember
	}
	return fmt.Errorf("remove from group %s: %w", g.name, err)
}

// errStillMember says that a server answers a removal with success and does not remove.
var errStillMember = errors.New("the server answers with success, and its members are as before")

// leaveAll takes out members whose accounts are gone: many servers keep them listed.
func (d *groupDirectory) leaveAll(ctx context.Context, g *group, ids []string) error {
	for part := range slices.Chunk(ids, d.api.config.MemberChunk) {
		g.writing.Lock()
		var ops []resource
		for _, id := range part {
			ops = append(ops, resource{"op": "remove", "path": memberPath(id)})
		}
		err := d.members.patch(ctx, g, ops...)
		g.writing.Unlock()
		g.stale()
		if !refused(err) && status(err) != http.StatusNotImplemented {
			if err != nil {
				return fmt.Errorf("remove from group %s: %w", g.name, err)
			}
			continue
		}
		for _, id := range part { // some are not listed, or the server takes one at a time
			if err := d.leave(ctx, g, id); err != nil && !refused(err) {
				return err
			}
		}
	}
	return nil
}

func memberPath(id string) string {
	return `members[value eq "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(id) + `"]`
}

func (m memberList) patch(ctx context.Context, g *group, ops ...resource) error {
	path, err := pathOf(m.facts.groups, g.id)
	if err != nil {
		return err
	}
	body, err := marshal(resource{"schemas": []string{messagePatch}, "Operations": ops})
	if err != nil {
		return err
	}
	return m.api.write(ctx, request{method: http.MethodPatch, path: path, body: body})
}

// replace is for servers without PATCH: the group is read and put back whole.
func (m memberList) replace(ctx context.Context, g *group, ids []string, in bool) error {
	path, err := pathOf(m.facts.groups, g.id)
	if err != nil {
		return err
	}
	r, err := m.api.read(ctx, path, "")
	if err != nil {
		return err
	}
	there, err := m.list(ctx, g)
	if err != nil {
		return err
	}
	var members []any
	for _, e := range there {
		if o, ok := objectOf(e); ok && !slices.Contains(ids, o.text("value")) {
			members = append(members, resource{"value": o.text("value")})
		}
	}
	if in {
		for _, id := range ids {
			members = append(members, resource{"value": id})
		}
	}
	r.unset("meta")
	r.set("members", members)
	body, err := marshal(r)
	if err != nil {
		return err
	}
	return m.api.write(ctx, request{method: http.MethodPut, path: path, body: body})
}

// own lists the groups that a load has made.
func (d *groupDirectory) own(ctx context.Context) (out []*group, err error) {
	names, err := d.names(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		g, err := d.get(ctx, name)
		if err != nil {
			return nil, err
		}
		if isOurs(d, g) {
			out = append(out, g)
		}
	}
	return out, nil
}

// isOurs reports whether a load has made a group.
func isOurs(d *groupDirectory, g *group) bool {
	if g.marked || d.journal == nil {
		return g.marked
	}
	id, noted := d.journal.Get(groupKey + g.name)
	return noted && g.id == string(id)
}

// drop deletes a group that shows no members, and reports whether it did.
func (d *groupDirectory) drop(ctx context.Context, g *group) (bool, error) {
	list, err := d.members.list(ctx, g)
	if err != nil || len(list) > 0 {
		return false, err
	}
	path, err := pathOf(d.facts.groups, g.id)
	if err != nil {
		return false, err
	}
	err = d.api.write(ctx, request{method: http.MethodDelete, path: path})
	switch {
	case refused(err): // its own reasons
		return false, nil
	case err != nil:
		return false, fmt.Errorf("delete group %s: %w", g.name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byName, g.name)
	return true, nil
}
