package supertokens

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/canonical"
)

// opened is an installation that was found, and the app in it that is read.
type opened struct {
	store   store
	catalog *catalog
	layout  *Layout
	app     string
	general findings
	roles   []canonical.Role
	// accepts are the codes of gaps that the operator accepts, gaps all that there are.
	accepts []GapCode
	gaps    []Gap
}

// retry repeats what a broken connection has interrupted while the state that is
// read is still held. Findings of an attempt that failed are forgotten.
func (o *opened) retry(try func() error) error {
	for attempt := 1; ; attempt++ {
		before := o.general.clone()
		err := try()
		if attempt == maxAttempts || !errors.Is(err, errConnectionLost) {
			return err
		}
		o.general = before
	}
}

// refuse notes gaps that the operator accepts as findings, and returns the others as
// an error.
func (o *opened) refuse(gaps []Gap) error {
	open, accepted := accept(gaps, o.accepts)
	o.gaps = append(o.gaps, gaps...)
	for _, g := range accepted {
		example := string(g.Table)
		if example == "" {
			example = o.app
		}
		o.general.add(WarnIncomplete, example, fmt.Sprintf("accepted (%s): %s", g.Code, g.Detail))
	}
	if len(open) > 0 {
		return &IncompleteError{Gaps: open}
	}
	return nil
}

// mayRead reports whether a table that holds nothing of an account is there to be
// read. Where an operator has kept it from this program, that is a finding.
func (o *opened) mayRead(t TableName, otherwise string) bool {
	r := o.layout.tables[t]
	if r.readable && !r.empty {
		return true
	}
	o.general.add(WarnTableNotRead, r.qualified(), fmt.Sprintf("table %s may not be read, or the dump leaves its data out; %s", r.qualified(), otherwise))
	return false
}

// ErrNoApp is returned when the installation has no app of the name asked for.
var ErrNoApp = errors.New("no such app")

// App is one SuperTokens app of the installation.
type App struct {
	ID      string   `json:"app_id"`
	Tenants []string `json:"tenants"`
	// Users counts the login methods, not the accounts they form.
	Users int `json:"login_methods"`
}

// loadApps gives apps, tenants and how many logins each app has, and checks that
// the wanted app is there and is not the empty one of several. The logins of a single app
// are counted only if all are to be.
func (o *opened) loadApps(ctx context.Context, all bool) ([]App, error) {
	apps, err := readApps(ctx, o.store, o.layout, all)
	if err != nil {
		return nil, err
	}
	found := apps
	at := slices.IndexFunc(apps, func(a App) bool { return a.ID == o.app })
	if at < 0 { // then how many the others have is worth counting
		if apps, err = readApps(ctx, o.store, o.layout, true); err != nil {
			return nil, err
		}
	}
	var names []string
	elsewhere := 0
	for _, a := range apps {
		names = append(names, fmt.Sprintf("%s (%d login methods)", a.ID, a.Users))
		elsewhere += a.Users
	}
	at = slices.IndexFunc(apps, func(a App) bool { return a.ID == o.app })
	switch {
	case len(apps) == 0:
		return nil, fmt.Errorf("%w: source.app is %q, and %s has no app at all: no core has been started on these tables yet, or their rows were left out", ErrNoApp, o.app, o.catalog.where)
	case at < 0:
		return nil, fmt.Errorf("%w: source.app is %q, the installation has %s", ErrNoApp, o.app, strings.Join(names, ", "))
	}
	if apps[at].Users == 0 && elsewhere > 0 {
		return found, o.refuse([]Gap{{Code: GapEmptyApp, Detail: fmt.Sprintf(
			"app %q has nobody, while others have: %s; choose one with source.app", o.app, strings.Join(names, ", "))}})
	}
	return found, nil
}

// readApps lists the apps of an installation, sorted, with their tenants. An app that
// only the list of users knows is one too. Where there is one app, its logins are
// counted only if all are to be.
func readApps(ctx context.Context, from store, l *Layout, all bool) ([]App, error) {
	if !l.Generation.multiApp() {
		return []App{{ID: defaultName, Tenants: []string{defaultName}}}, nil
	}
	byID := map[string]*App{}
	app := func(id string) *App {
		if byID[id] == nil {
			byID[id] = &App{ID: id}
		}
		return byID[id]
	}
	if r := l.tables[Apps]; r != nil {
		err := from.scan(ctx, r, "", []string{appColumn}, func(v [][]byte) error {
			app(string(v[0]))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r := l.tables[Tenants]; r != nil {
		err := from.scan(ctx, r, "", []string{appColumn, "tenant_id"}, func(v [][]byte) error {
			a := app(string(v[0]))
			a.Tenants = append(a.Tenants, string(v[1]))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r := l.tables[Spine]; r != nil && (all || len(byID) != 1) {
		users, err := from.countBy(ctx, r, appColumn)
		if err != nil {
			return nil, err
		}
		for id, n := range users {
			app(id).Users = n
		}
	}
	var out []App
	for _, a := range byID {
		slices.Sort(a.Tenants)
		out = append(out, *a)
	}
	slices.SortFunc(out, func(x, y App) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// loadRoles gives the names of the roles of the app; nil where there is no table of them.
func (o *opened) loadRoles(ctx context.Context) (map[string]bool, error) {
	r := o.layout.tables[Roles]
	if r == nil {
		return nil, nil
	}
	roles := map[string]bool{}
	err := o.store.scan(ctx, r, o.app, []string{"role"}, func(v [][]byte) error {
		roles[string(v[0])] = true
		return nil
	})
	return roles, err
}

// Roles gives the roles of the app with their permissions, by name. It is nil where the core
// is too old to have roles. Nobody may change it.
func (o *opened) Roles() []canonical.Role { return o.roles }

// loadPermissions gives the roles of the app with their permissions, sorted; nil where there
// is no table of them. defined are the names of roles.
func (o *opened) loadPermissions(ctx context.Context, defined map[string]bool) ([]canonical.Role, error) {
	r := o.layout.tables[RolePermissions]
	if r == nil {
		return nil, nil
	}
	permissions := map[string][]string{}
	for role := range defined {
		permissions[role] = []string{}
	}
	err := o.store.scan(ctx, r, o.app, []string{"role", "permission"}, func(v [][]byte) error {
		if isNothing(v[0]) || isNothing(v[1]) { // no core stores such a row
			return nil
		}
		role := string(v[0])
		permissions[role] = append(permissions[role], string(v[1]))
		return nil
	})
	var roles []canonical.Role
	for _, role := range slices.Sorted(maps.Keys(permissions)) {
		slices.Sort(permissions[role])
		roles = append(roles, canonical.Role{App: o.app, Name: role, Permissions: slices.Compact(permissions[role])})
	}
	return roles, err
}

// storedMode reads migration_mode from the app's own configuration, where a
// deployment with several connection URI domains keeps it.
func (o *opened) storedMode(ctx context.Context) (string, error) {
	r := o.layout.tables[TenantConfigs]
	if r == nil {
		return "", nil
	}
	var m modeReader
	err := o.store.scan(ctx, r, o.app, modeColumns, m.add)
	return m.mode, err
}
