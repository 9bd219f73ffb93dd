package keycloak

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// edit brings one account up to date: only what differs is written, what others have
// added stays, and a part that fails costs that part.
type edit struct {
	api     *api
	members *memberships
	view    *view

	held    *detail
	user    *representation
	wanted  reconcile.Wanted
	current account // as the realm has it by now

	before  preImage // its former self
	outcome *sdk.Outcome
	open    map[string]bool // secrets that were not written
	lost    map[string]bool // fields that were not written
	wrote   bool
}

// write carries out a verdict about an account that is there.
func (r *openRealm) write(ctx context.Context, v *verdict) (*edit, error) {
	e := &edit{
		api: r.api, members: r.members, view: &r.view, held: v.held, user: v.user, wanted: v.wanted, current: v.held.account,
		before: preImage{detail: *cmp.Or(v.parked, v.held), Sent: v.Send}, outcome: &v.Outcome, open: v.Unsent(), lost: map[string]bool{},
	}
	return e, r.carryOut(ctx, e, v)
}

// conclude makes the outcome of an account that was written, by what the realm shows of it
// afterwards.
func (r *openRealm) conclude(e *edit, v *verdict, after *detail) {
	r.directory.add(&after.account)
	e.check(v, r.view.held(after, v.wanted, v.last))
	maps.Copy(e.open, e.lost)
	maps.Copy(e.open, v.left)
	v.Outcome.State = r.view.left(after, v.wanted, v.last, e.open)
	if !e.wrote && len(e.lost) > 0 {
		l := v.Outcome.Losses[len(v.Outcome.Losses)-1]
		v.Outcome = refusalOf(v.Outcome.SourceID, l.Detail)
		return
	}
	if v.Outcome.Action == sdk.Updated {
		e.before.Left = v.Outcome.State
		v.Outcome.Before = []byte(text(e.before))
	}
}

func (r *openRealm) carryOut(ctx context.Context, e *edit, v *verdict) error {
	if err := e.account(ctx, v); err != nil {
		return err
	}
	if err := e.unpark(ctx, v.parked); err != nil {
		return err
	}
	if err := r.members.prepare(ctx, []*representation{v.user}); err != nil {
		return err
	}
	type part struct {
		field   string
		feature sdk.Feature
		write   func() error
	}
	parts := []part{
		{fieldRoles, sdk.CarriesRoles, func() error { return e.roles(ctx, v.user.RealmRoles) }},
		{fieldGroups, sdk.CarriesTenants, func() error {
			return e.groups(ctx, v.user.Groups, func(path string) bool { return strings.HasPrefix(path, tenantGroup("")) })
		}},
		{fieldTenancy, sdk.CarriesTenants, func() error {
			return r.members.setOrganizations(ctx, v.held.ID, v.held.Organizations, v.user.organizations, r.view.mine)
		}},
	}
	for _, p := range parts {
		if v.differs(p.field) == nil {
			continue
		}
		if err := e.part(p.write(), p.feature, "", p.field); err != nil {
			return err
		}
	}
	for _, m := range v.moves {
		if err := r.moveLink(ctx, m, v.user); err != nil {
			return err
		}
	}
	for _, d := range v.Differences {
		alias, is := strings.CutPrefix(d.Field, prefixIdentity)
		if !is {
			continue
		}
		if err := e.part(e.link(ctx, alias, linkOf(v.user, alias)), sdk.CarriesIdentities, alias, d.Field); err != nil {
			return err
		}
	}
	return nil
}

// moveLink takes an identity away from an account that had it, unless that has another
// one by now.
func (r *openRealm) moveLink(ctx context.Context, m move, to *representation) error {
	l := linkOf(to, m.alias)
	if l == nil {
		return nil
	}
	holders, err := r.api.linkedTo(ctx, m.alias, l.UserID)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(holders, func(a account) bool { return a.ID == m.from }) {
		return nil
	}
	return r.api.remove(ctx, "users", m.from, "federated-identity", m.alias)
}

func linkOf(u *representation, alias string) *link {
	for _, f := range u.FederatedIdentities {
		if f.IdentityProvider == alias {
			return &link{alias, f.UserID, f.UserName}
		}
	}
	return nil
}

// part notes a part that the server has refused. Errors of another kind are returned:
// nobody knows what they have done.
func (e *edit) part(err error, feature sdk.Feature, attribute string, fields ...string) error {
	if err == nil {
		e.wrote = true
		return nil
	}
	if s := status(err); !refused(err) && s != http.StatusNotFound && s != http.StatusForbidden {
		return err
	}
	e.lose(err, feature, attribute, fields...)
	return nil
}

func (e *edit) lose(err error, feature sdk.Feature, attribute string, fields ...string) {
	for _, f := range fields {
		e.lost[f] = true
	}
	e.outcome.Losses = append(e.outcome.Losses, sdk.PartLoss{Feature: feature, Code: codeOfPart(err), Attribute: attribute, Detail: err.Error()})
}

// codeOfPart tells what the server does not take as it is from what it may take another
// time.
func codeOfPart(err error) sdk.Code {
	switch status(err) {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return sdk.CodePartRefused
	}
	return sdk.CodePartFailed
}

// sending is the body of an update. Attributes are always there: without them the server
// leaves names and attributes that are gone as they were.
type sending struct {
	account
	Attributes      map[string][]string `json:"attributes"`
	RequiredActions []string            `json:"requiredActions,omitempty"`
	Credentials     []credential        `json:"credentials,omitempty"`
}

func (e *edit) put(ctx context.Context, a account, credentials []credential) error {
	a.RequiredActions, a.NotBefore = nil, 0 // left alone
	body := sending{account: a, Attributes: a.Attributes, Credentials: credentials}
	if body.Attributes == nil {
		body.Attributes = map[string][]string{}
	}
	err := e.api.write(ctx, http.MethodPut, e.api.realmPath("users", e.held.ID), body)
	if err == nil {
		e.current = a
	}
	return err
}

// fieldGroup is written together, where an account cannot be written at once.
type fieldGroup struct {
	feature sdk.Feature
	has     func(field string) bool
	set     func(to, from *account)
}

var fieldsApart = []fieldGroup{
	{sdk.CarriesNames, func(f string) bool { return f == fieldGivenName || f == fieldFamilyName }, func(to, from *account) { to.FirstName, to.LastName = from.FirstName, from.LastName }},
	{sdk.CarriesMetadata, func(f string) bool { return f == fieldEnabled || strings.HasPrefix(f, prefixAttribute) }, func(to, from *account) {
		to.Enabled, to.Attributes = from.Enabled, from.Attributes
	}},
	{sdk.PartEmail, func(f string) bool { return f == fieldEmail || f == "emailVerified" }, func(to, from *account) { to.Email, to.EmailVerified = from.Email, from.EmailVerified }},
	{sdk.PartUsername, func(f string) bool { return f == fieldUsername }, func(to, from *account) { to.Username = from.Username }},
}

// account writes what an account itself consists of, and its credentials: at once, and
// where the server does not take that, each for itself.
func (e *edit) account(ctx context.Context, v *verdict) error {
	target := e.target(v)
	credentials, err := e.credentials(ctx, v)
	if err != nil {
		return err
	}
	differing := func(g fieldGroup) (fields []string) {
		for _, d := range v.Differences {
			if g.has(d.Field) {
				fields = append(fields, d.Field)
			}
		}
		return fields
	}
	if len(credentials) == 0 && !slices.ContainsFunc(fieldsApart, func(g fieldGroup) bool { return len(differing(g)) > 0 }) {
		return nil
	}
	err = e.put(ctx, target, credentials)
	if err == nil || !refused(err) {
		e.wrote = err == nil
		return err
	}
	if len(credentials) > 0 {
		if err := e.apart(e.put(ctx, e.current, credentials), credentials); err != nil {
			return err
		}
	}
	for _, g := range fieldsApart {
		fields := differing(g)
		if len(fields) == 0 {
			continue
		}
		next := e.current
		g.set(&next, &target)
		if err := e.part(e.put(ctx, next, nil), g.feature, "", fields...); err != nil {
			return err
		}
	}
	return nil
}

// target is the account as it is to be: the fields that differ are the source's, the
// others stay, whosever they are.
func (e *edit) target(v *verdict) account {
	a, u := e.current, &e.user.account
	for _, d := range v.Differences {
		switch d.Field {
		case fieldUsername:
			a.Username = u.Username
		case fieldEmail:
			a.Email = u.Email
		case "emailVerified":
			a.EmailVerified = u.EmailVerified
		case fieldEnabled:
			a.Enabled = u.Enabled
		case fieldGivenName:
			a.FirstName = u.FirstName
		case fieldFamilyName:
			a.LastName = u.LastName
		}
	}
	stays := func(name string, _ []string) bool { return v.left[prefixAttribute+name] }
	wanted := maps.Clone(u.Attributes)
	maps.DeleteFunc(wanted, stays)
	a.Attributes = maps.Clone(a.Attributes)
	maps.DeleteFunc(a.Attributes, func(name string, values []string) bool { return ours(name) && !stays(name, values) })
	if a.Attributes == nil {
		a.Attributes = map[string][]string{}
	}
	maps.Copy(a.Attributes, wanted)
	return a
}

// credentials are those to send along, after removing those that they replace and those
// that the source has no more.
func (e *edit) credentials(ctx context.Context, v *verdict) (out []credential, err error) {
	var password *credential
	for i, c := range e.user.Credentials {
		if c.Type == typePassword {
			password = &e.user.Credentials[i]
		}
	}
	for _, held := range e.held.Credentials {
		gone := held.Type == typePassword && v.Send[fieldPassword] && password == nil && held.UserLabel == passwordLabel ||
			held.Type == typeOTP && v.Send[fieldTOTP] && ownCredential(e.held.ID, held.ID)
		if !gone {
			continue
		}
		if err := e.part(e.api.remove(ctx, "users", e.held.ID, "credentials", held.ID), sdk.CarriesTOTP, held.UserLabel, fieldTOTP); err != nil {
			return nil, err
		}
	}
	if v.Send[fieldPassword] && password != nil {
		c := *password
		if slices.ContainsFunc(e.held.Credentials, func(held heldCredential) bool { return held.Type == typePassword }) {
			c.ID = "" // with an id the server leaves one that is there alone
		}
		out = append(out, c)
	}
	if !v.Send[fieldTOTP] {
		return out, nil
	}
	labels := othersLabels(e.held)
	for _, c := range e.user.Credentials {
		if c.Type == typeOTP && !labels[foldLabel(c.UserLabel)] {
			out = append(out, c)
		}
	}
	return out, nil
}

// othersLabels are the names of authenticators that no load has made: the server takes no
// second one of a name.
func othersLabels(d *detail) map[string]bool {
	labels := map[string]bool{}
	for _, held := range d.Credentials {
		if held.Type == typeOTP && !ownCredential(d.ID, held.ID) {
			labels[foldLabel(held.UserLabel)] = held.UserLabel != ""
		}
	}
	return labels
}

// apart notes which credentials the server has refused.
func (e *edit) apart(err error, all []credential) error {
	for _, c := range all {
		field, feature := fieldTOTP, sdk.CarriesTOTP
		if c.Type == typePassword {
			field, feature = fieldPassword, sdk.PartPassword
		}
		if err := e.part(err, feature, c.UserLabel, field); err != nil {
			return err
		}
		e.open[field] = e.open[field] || err != nil
	}
	return nil
}

// check compares what the realm shows afterwards with what was to be written.
func (e *edit) check(v *verdict, h reconcile.Held) {
	for _, d := range reconcile.Missed(v.Differences, h.Fields) {
		if e.lost[d.Field] {
			continue
		}
		e.lost[d.Field] = true
		e.outcome.Losses = append(e.outcome.Losses, sdk.PartLoss{
			Feature: featureOf(d.Field), Code: sdk.CodePartFailed, Attribute: strings.TrimPrefix(d.Field, prefixIdentity), Detail: "the server has confirmed the change, but has not made it",
		})
	}
	for _, s := range v.wanted.Secrets {
		equal, known := h.Equal[s.Field]
		if !known || equal || !v.Send[s.Field] || e.open[s.Field] || e.lost[s.Field] || v.left[s.Field] {
			continue
		}
		e.open[s.Field] = true
		e.outcome.Losses = append(e.outcome.Losses, sdk.PartLoss{Feature: s.Feature, Code: sdk.CodePartFailed, Detail: "the server has confirmed the change, but has not made it"})
	}
}

func featureOf(field string) sdk.Feature {
	switch {
	case field == fieldUsername:
		return sdk.PartUsername
	case field == fieldEmail:
		return sdk.PartEmail
	case field == "emailVerified":
		return sdk.CarriesEmailVerified
	case field == fieldGivenName, field == fieldFamilyName:
		return sdk.CarriesNames
	case field == fieldRoles:
		return sdk.CarriesRoles
	case field == fieldGroups, field == fieldTenancy:
		return sdk.CarriesTenants
	case strings.HasPrefix(field, prefixIdentity):
		return sdk.CarriesIdentities
	case strings.HasPrefix(field, prefixAttribute+attrPhone):
		return sdk.CarriesPhone
	}
	return sdk.CarriesMetadata
}

// roles gives the account exactly these realm roles, and the default one.
func (e *edit) roles(ctx context.Context, want []string) error {
	path := e.api.realmPath("users", e.held.ID, "role-mappings", "realm")
	var missing, surplus []role
	for _, x := range e.held.Roles {
		if !slices.Contains(want, x.Name) && x.Name != e.view.defaultRole {
			surplus = append(surplus, x)
		}
	}
	var failed error
	for _, name := range want {
		if name == e.view.defaultRole || slices.ContainsFunc(e.held.Roles, func(x role) bool { return x.Name == name }) {
			continue
		}
		x, err := e.members.role(ctx, name)
		if err != nil {
			failed = cmp.Or(failed, err)
			continue
		}
		missing = append(missing, x)
	}
	if len(missing) > 0 {
		failed = cmp.Or(failed, e.api.write(ctx, http.MethodPost, path, missing))
	}
	if len(surplus) > 0 {
		failed = cmp.Or(failed, e.api.write(ctx, http.MethodDelete, path, surplus))
	}
	return failed
}

// groups has the account join groups, and leave those that ours says a load owns.
func (e *edit) groups(ctx context.Context, want []string, ours func(path string) bool) (failed error) {
	for _, path := range want {
		if slices.ContainsFunc(e.held.Groups, func(g group) bool { return g.Path == path }) {
			continue
		}
		id, err := e.members.group(ctx, path)
		if err == nil {
			err = e.api.write(ctx, http.MethodPut, e.api.realmPath("users", e.held.ID, "groups", id), nil)
		}
		failed = cmp.Or(failed, err)
	}
	for _, g := range e.held.Groups {
		if ours(g.Path) && !slices.Contains(want, g.Path) {
			failed = cmp.Or(failed, e.api.remove(ctx, "users", e.held.ID, "groups", g.ID))
		}
	}
	return failed
}

// link links an identity of a provider in the place of the one that is linked. Nil takes
// it away.
func (e *edit) link(ctx context.Context, alias string, want *link) error {
	if slices.ContainsFunc(e.held.Links, func(l link) bool { return l.Alias == alias }) {
		if err := e.api.remove(ctx, "users", e.held.ID, "federated-identity", alias); err != nil {
			return err
		}
	}
	if want == nil {
		return nil
	}
	return e.api.write(ctx, http.MethodPost, e.api.realmPath("users", e.held.ID, "federated-identity", alias), want)
}

// park gives up the names and addresses of an account that others wait for while it
// waits for theirs. It gets its own when they have left them.
func (r *openRealm) park(ctx context.Context, v *verdict) error {
	before := *v.held
	a := before.account
	for _, field := range identifiers {
		switch d := v.differs(field); {
		case d == nil:
		case field == fieldEmail:
			a.Email, d.Held = "", ""
		default:
			a.Username = "moving-" + uuid.NewString()
			d.Held = a.Username
		}
	}
	v.parked = &before
	e := &edit{api: r.api, held: v.held}
	if err := e.put(ctx, a, nil); err != nil && !refused(err) {
		return err // one that is refused is refused again, each part by itself
	}
	held := before
	held.account = e.current
	if e.current.Username == "" {
		held.account = before.account
	}
	v.held = &held
	return nil
}

// unpark gives a parked account its own names and addresses back, where it could not get
// those it was to get.
func (e *edit) unpark(ctx context.Context, before *detail) error {
	if before == nil || !e.lost[fieldUsername] && !e.lost[fieldEmail] {
		return nil
	}
	a := e.current
	if e.lost[fieldUsername] {
		a.Username = before.Username
	}
	if e.lost[fieldEmail] {
		a.Email, a.EmailVerified = before.Email, before.EmailVerified
	}
	if err := e.put(ctx, a, nil); err != nil && !refused(err) {
		return err
	}
	return nil
}

// refusal is the outcome of a user that the server does not take as it is.
func refusal(source string, err error) sdk.Outcome { return refusalOf(source, err.Error()) }

func refusalOf(source, words string) sdk.Outcome {
	return sdk.Outcome{
		SourceID: source, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: words,
		Hint: "correct what it names, or see the server's log",
	}
}
