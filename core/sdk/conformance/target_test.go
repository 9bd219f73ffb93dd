package conformance

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"

	"github.com/stetl/stetl/core/sdk"
)

// config of the plugin that the tests try: one file for each account, and a rule to
// break.
type config struct {
	Dir    string `json:"dir"`
	Breaks string `json:"breaks,omitempty"`
	// Token is of no use but to be said by mistake.
	Token sdk.Secret `json:"token,omitempty"`
	// Paper is proposed.
	Paper string `json:"paper,omitempty" enum:"plain,lined"`
}

// proposed is the part of a configuration that the plugin proposes.
func proposed(_ context.Context, known config, _ sdk.Env) (p sdk.Proposal[config], l sdk.Diagnostics) {
	p.Config.Paper, p.Comments = "plain", map[string]string{"/paper": "It is cheaper."}
	switch known.Breaks {
	case "propose":
		p.Config.Paper = "papyrus"
	case "told-secret":
		p.Config.Token = sdk.NewSecret("token-that-was-found")
	case "comment-astray":
		p.Comments = map[string]string{"/ink": "It is blue."}
	case "propose-writes":
		if err := os.WriteFile(filepath.Join(known.Dir, "draft"), nil, 0o600); err != nil {
			l.Add(sdk.Diagnostic{Code: "folder.moody", Summary: err.Error()})
		}
	case "proposes-nothing":
		l.Add(sdk.Diagnostic{Code: "folder.moody", Summary: "somebody has to decide"})
		p.Config.Paper = "papyrus"
	}
	return p, l
}

func newPlugin(carries ...sdk.Feature) sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name: "folder", Version: "1.0.0",
		Codes: []sdk.CodeInfo{{Code: "folder.moody", Meaning: "it is not in the mood", Remedy: "come back tomorrow"}},
		Capabilities: sdk.Capabilities{
			Abilities:   []sdk.Ability{sdk.CanDisable},
			Hashes:      []sdk.HashSupport{{Scheme: sdk.Bcrypt, MaxCost: 4}}, // cheap to make
			Carries:     append(carries, sdk.CarriesID, sdk.CarriesNames, sdk.CarriesTOTP, sdk.CarriesTenants, sdk.CarriesEmailVerified, sdk.CarriesIdentities, sdk.CarriesMetadata, sdk.CarriesRoles, sdk.CarriesRolePermissions),
			Batch:       sdk.BatchLimits{Users: 50, InFlight: 2},
			MaxIDLength: 1000, UniqueEmail: true, UniqueInTenant: []sdk.Identifier{sdk.IdentifierEmail}, UniqueIdentities: true,
		},
		Propose: proposed,
		New: func(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
			if c.Breaks == "signals" {
				asked := make(chan os.Signal, 1)
				signal.Notify(asked, syscall.SIGTERM)
				go func() {
					<-asked
					syscall.Exit(1)
				}()
			}
			return &folder{config: c, env: env, unwritten: map[string]*account{}, held: map[string]bool{}}, nil
		},
	}
}

type account struct {
	ID, TargetID string
	Fields       map[string]string
	// Lost says that an update has lost the password.
	Lost bool
}

type folder struct {
	sdk.DefinedRoles
	config config
	env    sdk.Env

	mu        sync.Mutex
	unwritten map[string]*account
	held      map[string]bool // roles of those who were loaded
	metadata  []byte          // of whoever came before, for a plugin that does not clean up
}

func (f *folder) breaks(rule string) bool { return f.config.Breaks == rule }

func (f *folder) path(targetID string) string { return filepath.Join(f.config.Dir, targetID+".json") }

// place is where an account lies.
func (f *folder) place(id string) string {
	switch {
	case f.breaks("distinct"):
		id = strings.ToLower(id)
	case f.breaks("trims"):
		id = strings.TrimSpace(id)
	case f.breaks("normalizes"):
		id = norm.NFC.String(id)
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:12])
}

func (f *folder) read(id string) (*account, error) {
	if a := f.unwritten[id]; a != nil {
		return a, nil
	}
	raw, err := os.ReadFile(f.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var a account
	return &a, json.Unmarshal(raw, &a)
}

func (f *folder) write(path string, a *account) error {
	if f.breaks("crash") {
		f.unwritten[path] = a
		return nil
	}
	return f.store(path, a)
}

func (f *folder) store(path string, a *account) error {
	raw, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.path(path)+".new", raw, 0o600); err != nil {
		return err
	}
	return os.Rename(f.path(path)+".new", f.path(path))
}

func fields(u *sdk.User) map[string]string {
	f := map[string]string{
		"username": u.Username, "email": u.Email, "given_name": u.GivenName, "family_name": u.FamilyName, "hash": u.Password.Encode(),
	}
	f["tenants"], f["enabled"], f["metadata"] = strings.Join(u.Tenants, " "), fmt.Sprint(u.Enabled), string(u.Metadata)
	if u.EmailVerified != nil {
		f["email_verified"] = fmt.Sprint(*u.EmailVerified)
	}
	for _, i := range u.Identities {
		f["identities"] += i.Provider + " " + i.Subject + " "
	}
	for _, d := range u.TOTP {
		f["totp"] += d.Secret.Reveal() + " "
	}
	f["roles"] = strings.Join(u.Roles["public"], " ")
	return f
}

// granted is a user without the identities that other accounts have, and what was lost by it.
func (f *folder) granted(u *sdk.User) (sdk.User, []sdk.PartLoss) {
	mine, losses := *u, []sdk.PartLoss(nil)
	if f.breaks("one-owner") {
		return mine, nil
	}
	mine.Identities = nil
	for _, i := range u.Identities {
		if owner := f.owner(u, i); owner != "" {
			losses = append(losses, sdk.PartLoss{Feature: sdk.CarriesIdentities, Code: sdk.CodeIdentityConflict, Attribute: i.Provider})
			continue
		}
		mine.Identities = append(mine.Identities, i)
	}
	return mine, losses
}

// names are those of all accounts, as files.
func (f *folder) names() (all []string) {
	files, _ := filepath.Glob(f.path("*"))
	for _, file := range files {
		all = append(all, filepath.Base(file[:len(file)-len(".json")]))
	}
	return append(all, slices.Collect(maps.Keys(f.unwritten))...)
}

// owner is the account, as a file, of another one that has an identity.
func (f *folder) owner(u *sdk.User, i sdk.Identity) string {
	for _, name := range f.names() {
		a, err := f.read(name)
		if err == nil && a.ID != u.ID && !slices.Contains(u.Prior.Linked, a.TargetID) && strings.Contains(a.Fields["identities"], i.Provider+" "+i.Subject+" ") {
			return name
		}
	}
	return ""
}

// rolePath is where it stands what a role allows.
func rolePath(dir, role string) string {
	return filepath.Join(dir, "role-"+hex.EncodeToString([]byte(role)))
}

func (f *folder) DefineRoles(ctx context.Context, roles []sdk.Role) error {
	for _, r := range roles {
		if f.breaks("role-permissions") {
			if err := os.WriteFile(rolePath(f.config.Dir, r.Name), []byte(strings.Join(r.Permissions, "\n")), 0o600); err != nil {
				return err
			}
		}
	}
	return f.DefinedRoles.DefineRoles(ctx, roles)
}

// Finish implements [sdk.Finisher]: roles that somebody has get what they allow, unless they
// have something.
func (f *folder) Finish(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for role := range f.held {
		allows, known := f.Allows(role)
		place := rolePath(f.config.Dir, role)
		if f.breaks("roles-again") {
			place += fmt.Sprint("-", time.Now().UnixNano())
		}
		_, err := os.Stat(place)
		switch tooLong := slices.ContainsFunc(allows, func(p string) bool { return len(p) > 1000 }); {
		case !known || len(allows) == 0 || err == nil || f.breaks("roles-forgotten"):
		case tooLong && f.breaks("roles-stop"):
			return errors.New("a permission is too long")
		case tooLong:
			f.env.Log.Warn("what a role allows is too long")
		default:
			if err := os.WriteFile(place, []byte(strings.Join(allows, "\n")), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// state is what the host remembers of an account.
func (f *folder) state(fields map[string]string) []byte {
	switch {
	case f.breaks("keyed-state"):
		raw, _ := json.Marshal(fields)
		sum := sha256.Sum256(raw)
		return sum[:]
	case f.breaks("open-state"):
		return append([]byte(fields["email"]), f.env.Fingerprints.State(fields)...)
	case f.breaks("growing-state"): // by each value of an account
		return bytes.Repeat(f.env.Fingerprints.State(fields), 1+strings.Count(fields["metadata"], ","))
	case f.breaks("bounds"):
		return bytes.Repeat(f.env.Fingerprints.State(fields), 200)
	}
	return f.env.Fingerprints.State(fields)
}

// same reports whether an account is in a state; of one that is too long, the host has a
// digest.
func (f *folder) same(want, have []byte) bool {
	sum := sha256.Sum256(have)
	return bytes.Equal(want, have) || bytes.Equal(want, sum[:])
}

// overlooked is what a plugin does not compare that breaks a rule.
func (f *folder) overlooked(u *sdk.User, have *account) string {
	switch {
	case f.breaks("changed-password") && u.Prior.State != nil, f.breaks("unread") && u.Prior.State == nil:
		return "hash"
	case f.breaks("given-and-taken") && len(u.TOTP) == 0:
		return "totp"
	case f.breaks("enabled"), f.breaks("email_verified"), f.breaks("identities"):
		return f.config.Breaks
	case f.breaks("rounded") && strings.Contains(string(u.Metadata), "900719925474099"):
		return "metadata"
	case f.breaks("exchange") && u.Existing == sdk.Update && u.Prior.TargetID != "" && f.anothers(u.Username, have):
		return "username email"
	}
	return ""
}

// anothers reports whether another account has a name.
func (f *folder) anothers(name string, but *account) bool {
	files, _ := filepath.Glob(f.path("*"))
	for _, file := range files {
		a, err := f.read(filepath.Base(file[:len(file)-len(".json")]))
		if err == nil && a.TargetID != but.TargetID && a.Fields["username"] == name {
			return true
		}
	}
	return false
}

func (f *folder) compare(u *sdk.User) (sdk.Change, *account, error) {
	c := sdk.Change{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	switch {
	case u.ID == "":
		c.Action, c.Code = sdk.Rejected, sdk.CodeIDInvalid
		return c, nil, nil
	case len(u.ID) > 1000:
		c.Action, c.Code = sdk.Rejected, sdk.CodeIDTooLong
		if f.breaks("codes") {
			c.Code = "folder.long"
		}
		return c, nil, nil
	}
	if f.breaks("looks") && u.Prior.State != nil && f.same(u.Prior.State, f.state(fields(u))) {
		c.Action, c.TargetID, c.State = sdk.Unchanged, u.Prior.TargetID, u.Prior.State
		return c, nil, nil
	}
	have, err := f.read(f.place(u.ID))
	if err != nil || have == nil || f.breaks("lost-answer") && u.Prior.InDoubt {
		return c, nil, err
	}
	c.TargetID, c.State = have.TargetID, f.state(have.Fields)
	c.Fields = f.env.Fingerprints.Diff(u.Prior.State, have.Fields, fields(u), func(field, value string) string {
		if field == "hash" || field == "totp" {
			return f.env.Fingerprints.Of(value)
		}
		return value
	})
	overlooked := strings.Fields(f.overlooked(u, have))
	c.Fields = slices.DeleteFunc(c.Fields, func(c sdk.FieldChange) bool { return slices.Contains(overlooked, c.Field) })
	switch {
	case len(c.Fields) == 0:
		c.Action = sdk.Unchanged
	case u.Existing != sdk.Update && !f.breaks("leave"):
		c.Action, c.Code = sdk.Skipped, sdk.CodeExistsDiffers
	case u.Expect != nil && !f.same(u.Expect, c.State) && !f.breaks("update"):
		c.Action, c.Code = sdk.Rejected, sdk.CodeMoved
	default:
		c.Action = sdk.Updated
	}
	return c, have, nil
}

func (f *folder) Check(_ context.Context, needs sdk.Needs) sdk.Diagnostics {
	if f.breaks("check-only-looks") && !needs.DryRun {
		_ = os.WriteFile(filepath.Join(f.config.Dir, fmt.Sprint("checked-", time.Now().UnixNano())), nil, 0o600)
	}
	if f.breaks("check") {
		return sdk.Diagnostics{{Code: "folder.moody", Summary: "not today"}}
	}
	return nil
}

func (f *folder) Plan(ctx context.Context, users []sdk.User, out sdk.Changes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.breaks("slow-plan") && len(users) == 50 {
		time.Sleep(3 * time.Second)
	}
	for i := range users {
		mine, losses := f.granted(&users[i])
		if f.breaks("blind-to-owners") {
			mine, losses = users[i], nil
		}
		c, _, err := f.compare(&mine)
		if err != nil {
			return err
		}
		if c.Action.MayLose() {
			c.Losses = losses
		}
		if f.breaks("plan") && c.Action == sdk.Created && len(users) == 12 {
			if _, err := f.load(&users[i]); err != nil {
				return err
			}
		}
		switch {
		case c.Action != sdk.Updated:
		case f.breaks("blind-plan"):
			c.Action, c.Fields = sdk.Unchanged, nil
		case f.breaks("wordless-plan"):
			c.Fields = nil
		case f.breaks("stateless-plan"):
			c.State = nil
		}
		out.Report(c)
	}
	return nil
}

func (f *folder) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.breaks("cancel") && len(users) == 50:
		time.Sleep(3 * time.Second)
	case f.breaks("token-in-log"):
		f.env.Log.Info("asking", "authorization", "Bearer "+f.config.Token.Reveal())
	case f.breaks("stdout"):
		_, _ = syscall.Write(1, []byte("loading…\n"))
	case f.breaks("environment"):
		f.env.Log.Info("starting", "environment", fmt.Sprint(os.Environ()))
	case f.breaks("taken") && len(users) == 5 && users[3].Username == users[0].Username:
		return errors.New("the target refused the batch")
	case f.breaks("poison") && slices.ContainsFunc(users, func(u sdk.User) bool { return u.ID == "" }):
		return errors.New("the target refused the batch")
	case f.breaks("large") && slices.ContainsFunc(users, func(u sdk.User) bool { return len(u.Metadata) > 4<<20 }):
		panic("too much")
	}
	for i := range users {
		u := &users[i]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.breaks("outcomes") && !u.Enabled {
			continue
		}
		for _, role := range u.Roles["public"] {
			f.held[role] = true
		}
		switch {
		case f.breaks("secret-in-pulse"):
			f.env.Pulse(sdk.Pulse{Reason: "loading " + u.Password.Encode()})
		case f.breaks("secret-saved"):
			if err := f.env.Journal.Put(ctx, "last", []byte(u.Password.Encode())); err != nil {
				return err
			}
		case f.breaks("leftovers"): // what the one before had is still in the buffer
			mine := *u
			if mine.Metadata == nil {
				mine.Metadata = f.metadata
			}
			f.metadata, u = mine.Metadata, &mine
		case f.breaks("answer-for-nobody"):
			out.Report(sdk.Outcome{SourceID: "somebody-else", Action: sdk.Created})
		}
		if f.breaks("secrets") {
			f.env.Log.Debug("loading", "hash", u.Password.Encode())
		}
		o, err := f.load(u)
		if err != nil {
			return err
		}
		out.Report(o)
		if f.breaks("answers") {
			out.Report(o)
		}
	}
	return nil
}

func (f *folder) load(wanted *sdk.User) (sdk.Outcome, error) {
	mine, losses := f.granted(wanted)
	u := &mine
	c, have, err := f.compare(u)
	if err != nil {
		return c.Outcome, err
	}
	if c.Action.MayLose() && !f.breaks("unsaid-owners") {
		c.Losses = losses
	}
	if f.breaks("one-owner") { // from whoever has them
		if err := f.take(u); err != nil {
			return c.Outcome, err
		}
	}
	switch {
	case c.Action == sdk.Created && f.breaks("tenants") && len(u.Tenants) > 0 && strings.HasPrefix(u.Tenants[0], "kit-b") && f.anothers(u.Username, &account{}):
		c.Action, c.Code = sdk.Rejected, sdk.CodeEmailConflict
		return c.Outcome, nil
	case c.Action == sdk.Created && f.breaks("hashes") && u.Password.Variant == "2y":
		c.Action, c.Code = sdk.Rejected, "folder.moody"
		return c.Outcome, nil
	case c.Action == sdk.Created:
		c.TargetID = fmt.Sprint(time.Now().UnixNano())
		switch f.config.Breaks {
		case "nameless":
			c.TargetID = ""
		case "twins":
			c.TargetID = "1"
		case "token-in-outcome":
			c.Detail = "made with " + f.config.Token.Reveal()
		}
		if f.breaks("losses") {
			c.Losses = append(c.Losses, sdk.PartLoss{Feature: "luggage", Code: "folder.moody"})
		}
	case c.Action == sdk.Unchanged && f.breaks("idempotent") && u.Prior.TargetID == "" && !u.Prior.InDoubt:
		c.TargetID = "again-" + c.TargetID
	case c.Action == sdk.Updated:
		c.Before, err = json.Marshal(have.Fields)
		if err != nil {
			return c.Outcome, err
		}
		for _, f := range c.Fields {
			c.Changed = append(c.Changed, f.Field)
		}
		if f.breaks("same-account") && have.Fields["username"] != u.Username && !f.anothers(u.Username, have) {
			c.TargetID = "moved-" + c.TargetID
		}
	default:
		return c.Outcome, nil
	}
	if c.Action == sdk.Updated {
		if err := f.careless(u, have); err != nil {
			return c.Outcome, err
		}
	}
	c.State = f.state(fields(u))
	if c.Action == sdk.Updated && f.breaks("stateless-update") {
		c.State = nil
	}
	lost := f.breaks("kept-password") && have != nil && have.Fields["hash"] == u.Password.Encode()
	return c.Outcome, f.write(f.place(u.ID), &account{ID: u.ID, TargetID: c.TargetID, Fields: fields(u), Lost: lost})
}

// take takes identities away from whoever has them.
func (f *folder) take(u *sdk.User) error {
	for _, i := range u.Identities {
		owner := f.owner(u, i)
		if owner == "" {
			continue
		}
		a, err := f.read(owner)
		if err != nil {
			return err
		}
		a.Fields["identities"] = strings.ReplaceAll(a.Fields["identities"], i.Provider+" "+i.Subject+" ", "")
		if err := f.write(owner, a); err != nil {
			return err
		}
	}
	return nil
}

// careless is what an update should not do.
func (f *folder) careless(u *sdk.User, have *account) error {
	switch {
	case have.Fields["identities"] == "" || have.Fields["identities"] != fields(u)["identities"]:
	case f.breaks("rest"): // it sends what it was asked to change, and all else goes
		u.Identities = nil
	case f.breaks("others"): // it sends the change to all who are alike
		for _, name := range f.names() {
			a, err := f.read(name)
			if err == nil && a.TargetID != have.TargetID && a.Fields["identities"] != "" {
				a.Fields["given_name"] = u.GivenName
				err = f.write(name, a)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// find looks an account up by the id that the target gave.
func (f *folder) find(target string) (string, *account, error) {
	for name, a := range f.unwritten {
		if a.TargetID == target {
			return name, a, nil
		}
	}
	files, err := filepath.Glob(f.path("*"))
	for _, file := range files {
		name := filepath.Base(file[:len(file)-len(".json")])
		a, err := f.read(name)
		if err != nil || a.TargetID == target {
			return name, a, err
		}
	}
	return "", nil, err
}

func (f *folder) Undo(ctx context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.breaks("undo-stops") && len(accounts) == 12 {
		time.Sleep(3 * time.Second)
	}
	for _, a := range accounts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		o := sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID, Action: sdk.Unchanged}
		name, have, err := f.find(a.TargetID)
		if err != nil {
			return err
		}
		off := a.Disable || a.DryRun
		switch {
		case have == nil:
		case a.State != nil && !f.same(a.State, f.state(have.Fields)) && (off || !f.breaks("undo")):
			o.Action, o.Code = sdk.Skipped, sdk.CodeMoved
		case off || a.Before != nil:
			if err := f.switchOff(name, have, &a, &o); err != nil {
				return err
			}
		default:
			o.Action = sdk.Deleted
			if err := os.Remove(f.path(name)); err != nil {
				return err
			}
		}
		out.Report(o)
	}
	return nil
}

// switchOff switches an account off, or on again, or says what it would do.
func (f *folder) switchOff(name string, have *account, a *sdk.Account, o *sdk.Outcome) (err error) {
	switch o.Action = sdk.Updated; {
	case a.DryRun && !a.Disable && a.Before == nil:
		o.Action = sdk.Deleted
		return nil
	case a.DryRun && !f.breaks("disable"):
		return nil
	case !a.Disable && f.breaks("undo-update") && have.Fields["off"] == "" && have.Fields["identities"] == "":
		return nil
	case !a.Disable:
		have.Fields = nil
		return errors.Join(json.Unmarshal(a.Before, &have.Fields), f.write(name, have))
	}
	if o.Before, err = json.Marshal(have.Fields); err != nil {
		return err
	}
	have.Fields["off"] = "yes"
	if a.Release {
		have.Fields["username"], have.Fields["email"] = name, name
	}
	o.State = f.state(have.Fields)
	return f.write(name, have)
}

func (f *folder) UndoInDoubt(_ context.Context, accounts []sdk.Account, out sdk.Outcomes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range accounts {
		o := sdk.Outcome{SourceID: a.SourceID, TargetID: a.TargetID, Action: sdk.Unchanged}
		have, err := f.read(f.place(a.ID))
		if err != nil {
			return err
		}
		if have != nil && !f.breaks("undo-in-doubt") {
			o.Action, o.TargetID = sdk.Deleted, have.TargetID
			if f.unwritten[f.place(a.ID)] == nil {
				err = os.Remove(f.path(f.place(a.ID)))
			}
			delete(f.unwritten, f.place(a.ID))
		}
		if err != nil {
			return err
		}
		out.Report(o)
	}
	return nil
}

func (f *folder) Login(_ context.Context, l sdk.Login) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, a, err := f.find(l.TargetID)
	if err != nil || a == nil {
		return false, errors.Join(err, errors.New("no such account"))
	}
	if f.breaks("login") && strings.HasPrefix(l.Password.Reveal(), "wrong-") {
		return true, nil
	}
	if a.Lost || f.breaks("empty-login") && l.Password.IsZero() {
		return !a.Lost, nil
	}
	return bcrypt.CompareHashAndPassword([]byte(a.Fields["hash"]), []byte(l.Password.Reveal())) == nil, nil
}

func (f *folder) Close(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, a := range f.unwritten {
		if err := f.store(name, a); err != nil {
			return err
		}
	}
	return nil
}
