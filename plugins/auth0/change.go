package auth0

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/core/sdk/reconcile"
	"github.com/stetl/stetl/plugins/auth0/internal/directory"
	"github.com/stetl/stetl/plugins/auth0/internal/importjob"
	"github.com/stetl/stetl/plugins/auth0/internal/membership"
	"github.com/stetl/stetl/plugins/auth0/internal/tenant"
)

// change brings one account that is there up to date: only what differs is written, and
// what others have added stays. What the tenant shows afterwards counts.
type change struct {
	t *live
	u *sdk.User
	v verdict

	now    *directory.Account // as it was last seen
	body   []byte             // the user in an upsert, where the password is to be replaced
	answer *sdk.Outcome       // of that upsert
	failed []membership.Failure
	losses []sdk.PartLoss
	open   map[string]bool // secrets that were not written
	marked bool            // the account still notes what was taken away
	end    *sdk.Outcome    // where it ends early
}

// change writes what is to be written, passwords together in jobs, and reports all.
func (t *live) change(ctx context.Context, all []*change, report func(sdk.Outcome)) error {
	each := func(do func(context.Context, *change) error) error {
		g, working := errgroup.WithContext(ctx)
		g.SetLimit(lookups)
		for _, c := range all {
			if c.end != nil {
				continue
			}
			g.Go(func() error { return survives(working, c, do(working, c)) })
		}
		return g.Wait()
	}
	if err := each(func(ctx context.Context, c *change) error { return c.write(ctx) }); err != nil {
		return err
	}
	if err := exchange(ctx, all); err != nil {
		return err
	}
	if err := t.replaceHashes(ctx, all); err != nil {
		return err
	}
	if err := each(func(ctx context.Context, c *change) error { return c.finish(ctx) }); err != nil {
		return err
	}
	for _, c := range all {
		report(*c.end)
	}
	return nil
}

// exchange carries addresses that accounts of one batch pass on.
func exchange(ctx context.Context, all []*change) error {
	var refused []*change
	for _, c := range all {
		if c.end != nil && reconcile.Taken(c.end) {
			refused = append(refused, c)
		}
	}
	address := func(email, id string) map[string]any {
		return map[string]any{"email": email, "email_verified": false, "verify_email": false, "connection": id}
	}
	e := reconcile.Exchange[*change]{
		Again: func(ctx context.Context, c *change) (bool, error) {
			c.end, c.losses, c.failed = nil, nil, nil
			err := survives(ctx, c, c.write(ctx))
			return c.end == nil || !reconcile.Taken(c.end), err
		},
		Wants: func(c, other *change) bool { return c.v.record.Email == other.v.held.Email },
		Aside: func(ctx context.Context, c *change) (bool, error) {
			err := c.t.api.Call(ctx, http.MethodPatch, c.t.api.URI("users", c.v.held.UserID), address(strings.ToLower(rand.Text())+"@exchange.invalid", connectionOf(c)), nil)
			if tenant.Fatal(ctx, err) {
				return false, err
			}
			return err == nil, nil
		},
		Back: func(ctx context.Context, c *change) error {
			body := address(c.v.held.Email, connectionOf(c))
			body["email_verified"] = c.v.held.EmailVerified
			return c.t.api.Call(ctx, http.MethodPatch, c.t.api.URI("users", c.v.held.UserID), body, nil)
		},
	}
	return e.Carry(ctx, refused)
}

// connectionOf is that of the account, or the user's where the tenant does not show it.
func connectionOf(c *change) string { return cmp.Or(c.v.held.Connection(), c.v.record.connection) }

// alreadyThere is how a tenant says that another account has the address, name or number.
var alreadyThere = regexp.MustCompile(`(?i)\b(email|username|phone)\b.* already (exists|in use)`)

// survives turns an error that is about one account into its outcome.
func survives(ctx context.Context, c *change, err error) error {
	switch {
	case err == nil:
	case tenant.Refused(err):
		c.end = &sdk.Outcome{
			SourceID: c.u.SourceID, TargetID: c.v.held.UserID, Action: sdk.Rejected, Code: sdk.CodeTargetRefused, Detail: err.Error(), Hint: "correct what it names",
		}
		if said := alreadyThere.FindStringSubmatch(err.Error()); said != nil {
			c.end.Code, c.end.Hint = sdk.CodeEmailConflict, "merge the two accounts or change one of them"
			if !strings.EqualFold(said[1], "email") {
				c.end.Code = sdk.CodeUsernameConflict
			}
		}
	case !tenant.Fatal(ctx, err):
		c.end = &sdk.Outcome{
			SourceID: c.u.SourceID, TargetID: c.v.held.UserID, Action: sdk.InDoubt, Code: sdk.CodeUnknownAnswer, Detail: err.Error(), Hint: "run again: the account is compared first",
		}
	default:
		return err
	}
	return nil
}

// surplus is what the account has and nobody wants any more.
func (c *change) surplus() membership.Set { return c.v.held.has.Without(c.v.record.belongs) }

// missing is what it is to get.
func (c *change) missing() membership.Set {
	if c.v.Send[fieldGrants] {
		return c.v.record.belongs
	}
	return c.v.record.belongs.Without(c.v.held.has.Set)
}

// write changes everything but the password.
func (c *change) write(ctx context.Context) error {
	r, held := c.v.record, c.v.held
	c.open, c.now = c.v.Unsent(), held.Account
	// What is to be taken away stays noted in the account until it is gone, so that no
	// crash and no failure has a later run forget it.
	if err := c.patch(ctx, c.fields(c.v.record.marked(c.surplus()))); err != nil {
		return err
	}
	if surplus := c.surplus(); !surplus.Empty() {
		c.failed = c.t.book.Take(ctx, held.UserID, surplus, r.belongs)
	}
	if missing := c.missing(); !missing.Empty() {
		c.failed = append(c.failed, c.t.book.Give(ctx, []membership.Grant{{User: held.UserID, Set: missing}})[held.UserID]...)
	}
	if c.v.Send[fieldTOTP] {
		seed := ""
		if len(r.MFAFactors) > 0 {
			seed = r.MFAFactors[0].TOTP.Secret
		}
		if lost := c.t.factors.replace(ctx, held.Account, seed); lost != nil {
			lost.Detail = r.hide(lost.Detail)
			c.lose(fieldTOTP, *lost)
		}
	}
	if c.v.Send[fieldPassword] {
		return c.pack()
	}
	return nil
}

func (c *change) lose(secret string, why sdk.PartLoss) {
	c.open[secret] = true
	c.losses = append(c.losses, why)
}

// marked is the user's app_metadata, in which more is noted than it is to belong to.
func (r *record) marked(more membership.Set) map[string]json.RawMessage {
	if more.Empty() {
		return r.AppMetadata
	}
	var o origin
	_ = json.Unmarshal(r.AppMetadata[metadataKey], &o) // our own text
	o.Roles = maps.Clone(o.Roles)
	if o.Roles == nil {
		o.Roles = map[string][]string{}
	}
	add := func(tenant string, roles []string) {
		for _, role := range roles {
			if !slices.Contains(o.Roles[tenant], role) {
				o.Roles[tenant] = append(slices.Clone(o.Roles[tenant]), role)
			}
		}
	}
	add(publicTenant, more.Roles)
	for _, name := range slices.Sorted(maps.Keys(more.Organizations)) {
		add(name, more.Organizations[name])
		if !slices.Contains(o.Tenants, name) {
			o.Tenants = append(slices.Clone(o.Tenants), name)
		}
	}
	raw, err := json.Marshal(o)
	if err != nil {
		return r.AppMetadata
	}
	return map[string]json.RawMessage{metadataKey: raw}
}

// patch sends a change of the profile and keeps what the tenant answers.
func (c *change) patch(ctx context.Context, body map[string]any) error {
	if len(body) == 0 {
		return nil
	}
	c.t.directory.Touched(c.now.UserID)
	for _, part := range apart(body) {
		var now directory.Account
		if err := c.t.api.Call(ctx, http.MethodPatch, c.t.api.URI("users", c.now.UserID), part, &now); err != nil {
			return err
		}
		c.now = &now
	}
	return nil
}

// apart makes of a change of a profile the requests that it takes: a tenant takes no address
// and name at once.
func apart(body map[string]any) []map[string]any {
	if body["email"] == nil || body["username"] == nil {
		return []map[string]any{body}
	}
	rest := maps.Clone(body)
	delete(rest, "username")
	return []map[string]any{rest, {"username": body["username"], "connection": body["connection"]}}
}

// fields is the body of a change. The tenant merges the top level of metadata, and
// what others keep there is sent along in case it does not.
func (c *change) fields(mark map[string]json.RawMessage) map[string]any {
	r, held := c.v.record, c.v.held
	body := map[string]any{}
	text := func(value string) any {
		if value == "" {
			return nil
		}
		return value
	}
	connection := connectionOf(c)
	for _, d := range c.v.Differences {
		switch d.Field {
		case fieldEmail:
			body["email"], body["email_verified"], body["verify_email"], body["connection"] = r.Email, r.EmailVerified, false, connection
		case fieldVerified:
			body["email_verified"] = r.EmailVerified
		case fieldUsername:
			body["username"], body["connection"] = r.Username, connection
		case fieldPhone, fieldPhoneVerified:
			body["phone_number"], body["phone_verified"], body["connection"] = r.PhoneNumber, r.PhoneVerified, connection
		case fieldGiven:
			body["given_name"] = text(r.GivenName)
		case fieldFamily:
			body["family_name"] = text(r.FamilyName)
		case fieldName:
			body["name"] = r.Name
		case fieldBlocked:
			body["blocked"] = r.Blocked
		}
		if strings.HasPrefix(d.Field, prefixUserMetadata) {
			metadata := r.userMetadata(held.UserMetadata)
			for _, gone := range c.v.Differences {
				if key, ok := strings.CutPrefix(gone.Field, prefixUserMetadata); ok && gone.Want == "" {
					metadata[key] = nil
				}
			}
			body["user_metadata"] = metadata
		}
	}
	if normal(mark[metadataKey]) != normal(c.now.AppMetadata[metadataKey]) {
		body["app_metadata"] = over(c.now.AppMetadata, mark)
	}
	return body
}

// over is what others keep in metadata, and ours over it.
func over(held, ours map[string]json.RawMessage) map[string]json.RawMessage {
	out := maps.Clone(held)
	if out == nil {
		out = map[string]json.RawMessage{}
	}
	maps.Copy(out, ours)
	return out
}

func (r *record) userMetadata(held map[string]json.RawMessage) map[string]json.RawMessage {
	var fresh map[string]json.RawMessage
	_ = json.Unmarshal(r.UserMetadata, &fresh) // an object, see place
	return over(held, fresh)
}

// pack prepares an upsert that replaces the hash of an account that nobody has signed in
// to. It replaces metadata as well, so that all of it is sent; and it would make another
// account if the address were not that of this one.
func (c *change) pack() error {
	r := *c.v.record
	if c.now.Email != r.Email || !c.now.In(c.t.config.Connection) {
		c.lose(fieldPassword, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartFailed, Detail: "an import finds accounts by address, and the account does not have this address"})
		return nil
	}
	r.UserID = strings.TrimPrefix(c.now.UserID, IDPrefix)
	r.AppMetadata = c.now.AppMetadata
	r.MFAFactors = nil
	var err error
	if user := r.userMetadata(c.now.UserMetadata); len(user) > 0 {
		if r.UserMetadata, err = json.Marshal(user); err != nil {
			return err
		}
	}
	if c.body, err = json.Marshal(&r.importUser); err != nil {
		return err
	}
	if !c.t.queue.Fits(c.body) {
		c.body = nil
		c.lose(fieldPassword, sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartRefused, Detail: "only an import can replace the hash, and the account with its metadata is too large for one"})
	}
	return nil
}

// replaceHashes sends the passwords of many accounts together.
func (t *live) replaceHashes(ctx context.Context, all []*change) error {
	var items []*importjob.Item
	for _, c := range all {
		if c.end != nil || c.body == nil {
			continue
		}
		t.directory.Touched(c.now.UserID)
		items = append(items, importjob.NewItem(ctx, importjob.User{
			Source: c.u.SourceID, ID: strings.TrimPrefix(c.now.UserID, IDPrefix), Email: c.v.record.Email, Body: c.body, Upsert: true, Payload: matter{c.u, c.v.record},
		}, answerOf(func(o sdk.Outcome) { c.answer = &o })))
	}
	err := t.queue.Carry(ctx, items)
	if ctx.Err() != nil {
		return err
	}
	for _, c := range all {
		if c.body != nil && c.answer == nil && err != nil {
			c.answer = &sdk.Outcome{Code: sdk.CodePartFailed, Detail: err.Error()}
		}
	}
	return nil
}

// answerOf receives one outcome.
type answerOf func(sdk.Outcome)

// Report implements [sdk.Outcomes].
func (f answerOf) Report(o sdk.Outcome) { f(o) }

// finish reads the account back and says what has become of it.
func (c *change) finish(ctx context.Context) error {
	if c.body != nil {
		c.password()
	}
	held := c.v.held
	now, err := c.t.directory.Read(ctx, held.UserID)
	switch {
	case err != nil:
		return err
	case now == nil:
		return fmt.Errorf("the account %s was deleted while it was written", held.UserID)
	}
	c.now = now
	has, err := c.readBack(ctx)
	if err != nil {
		return err
	}
	stays := has.Without(c.v.record.belongs)
	switch err := c.patch(ctx, c.unmark(stays)); {
	case tenant.Fatal(ctx, err):
		return err
	case err != nil: // all else is written: what is noted too much is taken out by the next run
		c.marked = true
		c.losses = append(c.losses, sdk.PartLoss{Feature: sdk.CarriesMetadata, Code: sdk.CodePartFailed, Attribute: fieldOrigin, Detail: c.v.record.hide(err.Error())})
	}
	return c.conclude(has, stays)
}

// unmark is the change that takes out of the account's mark what it no longer has.
func (c *change) unmark(stays membership.Set) map[string]any {
	mark := c.v.record.marked(stays)
	if normal(mark[metadataKey]) == normal(c.now.AppMetadata[metadataKey]) || c.surplus().Empty() {
		return nil
	}
	return map[string]any{"app_metadata": over(c.now.AppMetadata, mark)}
}

// password notes what has become of it.
func (c *change) password() {
	lost := sdk.PartLoss{Feature: sdk.PartPassword, Code: sdk.CodePartFailed, Detail: "the import ended without an answer"}
	if o := c.answer; o != nil {
		lost.Code, lost.Detail = o.Code, o.Detail
		switch {
		case o.Action == sdk.Updated:
			return
		case o.Code == sdk.CodeUnknownAnswer, o.Code == sdk.CodePartFailed:
			lost.Code = sdk.CodePartFailed
		case o.Code != codePasswordKept:
			lost.Code = sdk.CodePartRefused
		}
	}
	c.lose(fieldPassword, lost)
}

// rereadings is how often memberships are read that are not yet as they were written: the
// tenant's lists lag behind.
const rereadings = 3

// readBack says what the account belongs to now.
func (c *change) readBack(ctx context.Context) (membership.Set, error) {
	r, held := c.v.record, c.v.held
	if c.surplus().Empty() && c.missing().Empty() {
		return held.has.Set, nil
	}
	ask := membership.Ask{User: held.UserID, Noted: held.has.Set, Wants: r.belongs}
	for n := 1; ; n++ {
		has := c.t.book.ReadOne(ctx, ask)
		if has.Believed { // what was answered counts
			has.Set = r.belongs
			for _, f := range c.failed {
				has.Set = has.Drop(f.Part)
				if !r.belongs.Has(f.Part) {
					has.Set = membership.Union(has.Set, f.Set())
				}
			}
		}
		if has.Err != nil || has.Believed || n == rereadings || has.Equal(r.belongs) || len(c.failed) > 0 {
			return has.Set, has.Err
		}
		if err := httpx.Sleep(ctx, 4*c.t.config.PollInterval.Duration); err != nil {
			return has.Set, err
		}
	}
}

// why says why a part of the memberships is not as it is wanted.
func why(failed []membership.Failure, p membership.Part, otherwise string) membership.Failure {
	for _, f := range failed {
		if f.Part == p || f.Role == "" && f.Organization == p.Organization && p.Organization != "" {
			return membership.Failure{Part: p, Err: f.Err}
		}
	}
	return membership.Failure{Part: p, Err: fmt.Errorf("%s", otherwise)}
}

// conclude compares what the tenant shows with what was to be written.
func (c *change) conclude(has, stays membership.Set) error {
	r, held := c.v.record, c.v.held
	var wrong []membership.Failure
	for _, p := range stays.Parts() {
		if !r.belongs.Has(p) {
			wrong = append(wrong, why(c.failed, p, "the tenant still shows it after it was removed"))
		}
	}
	for _, p := range r.belongs.Parts() {
		if !has.Has(p) {
			wrong = append(wrong, why(c.failed, p, "the tenant does not show it after it was given"))
			c.open[fieldGrants] = true
		}
	}
	shown := fields(c.now, has)
	w := c.v.wanted
	w.Fields = maps.Clone(w.Fields)
	missed := map[string]bool{fieldOrigin: c.marked}
	for _, d := range reconcile.Missed(c.v.Differences, shown) {
		if d.Field != fieldRoles && d.Field != fieldOrganizations && d.Field != fieldOrigin {
			c.losses = append(c.losses, sdk.PartLoss{Feature: featureOf(d.Field), Code: sdk.CodePartFailed, Attribute: d.Field, Detail: "the tenant has confirmed the change, but shows the old value"})
			missed[d.Field] = true
		}
	}
	for _, f := range wrong {
		missed[fieldOrigin] = true
		missed[fieldRoles] = missed[fieldRoles] || f.Organization == ""
		missed[fieldOrganizations] = missed[fieldOrganizations] || f.Organization != ""
	}
	maps.DeleteFunc(w.Fields, func(name, _ string) bool { return missed[name] }) // so that the next look finds a difference
	o := c.v.Outcome
	o.TargetID = held.UserID
	o.Losses = slices.Concat(o.Losses, losses(wrong), c.losses)
	o.State = c.t.judge.Left(w, shown, c.open)
	if slices.ContainsFunc(o.Losses, func(l sdk.PartLoss) bool { return l.Code == sdk.CodeUnread }) {
		o.State = c.t.judge.Found(&sdk.User{SourceID: c.u.SourceID}, w, reconcile.Held{ID: held.UserID, Fields: shown}).Outcome.State // as before, nobody knows
	}
	o.Changed = slices.DeleteFunc(slices.Clone(o.Changed), func(name string) bool {
		return name != fieldOrigin && name != fieldRoles && name != fieldOrganizations && (missed[name] || c.open[name])
	})
	switch {
	case c.v.Resumed:
		o.Changed = nil // it was made by a load, not changed by one
	case len(o.Changed) == 0:
		o.Action = sdk.Unchanged
	default:
		before, err := json.Marshal(preimage{*held.Account, held.has.Roles, held.has.Organizations})
		if err != nil {
			return fmt.Errorf("encode the account %s: %w", held.UserID, err)
		}
		o.Before = before
	}
	c.end = &o
	return nil
}

// preimage is an account before an update.
type preimage struct {
	Account       directory.Account   `json:"account"`
	Roles         []string            `json:"roles,omitempty"`
	Organizations map[string][]string `json:"organizations,omitempty"`
}
