package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/journal"
	"github.com/stetl/stetl/core/mapping"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/signin"
)

// Explanation is everything that is known of one account, without secrets.
// Addresses and numbers are shown as shapes.
type Explanation struct {
	SourceID  string `json:"source_id"`
	VisibleID string `json:"visible_id,omitempty"`
	// Account is nil when the source no longer has it.
	Account *AccountShape `json:"account"`
	// Losses are what the target will not hold of it.
	Losses []mapping.Loss `json:"losses"`
	// Plugin is the target's, which does not declare what is lost of features.
	Plugin string          `json:"plugin,omitempty"`
	Class  pluginapi.Class `json:"class,omitempty"`
	// Exclusion says why the mapping keeps it out, if it does.
	Exclusion *mapping.Exclusion `json:"exclusion,omitempty"`
	// SignIn are the ways to sign in that the person has, and whether they work at the
	// target; nil where its plugin says nothing about that.
	SignIn []signin.Way `json:"sign_in,omitempty"`
	// Journal is what runs have left behind, nil when none has met it.
	Journal *Remembered `json:"journal"`
	// Next is what a run would do now; nil when the target was not asked.
	Next *pluginapi.Change `json:"next"`
	// Words explain the codes of the plugin.
	Words diag.Words `json:"-"`
}

// AccountShape is an account without what is personal in it.
type AccountShape struct {
	App      string              `json:"app"`
	Joined   *time.Time          `json:"joined,omitempty"`
	Primary  bool                `json:"primary"`
	Logins   []LoginShape        `json:"logins"`
	Roles    map[string][]string `json:"roles,omitempty"`
	Metadata []string            `json:"metadata_keys,omitempty"`
	TOTP     int                 `json:"totp_devices"`
	Warnings []canonical.Warning `json:"warnings,omitempty"`
}

// LoginShape is a way to sign in.
type LoginShape struct {
	Recipe   string   `json:"recipe"`
	ID       string   `json:"id"`
	Email    string   `json:"email,omitempty"`
	Phone    string   `json:"phone,omitempty"`
	Verified *bool    `json:"verified,omitempty"`
	Provider string   `json:"provider,omitempty"`
	Password string   `json:"password,omitempty"`
	Passkeys int      `json:"passkeys,omitempty"`
	Tenants  []string `json:"tenants,omitempty"`
}

// Remembered is the journal's entry of an account.
type Remembered struct {
	TargetID string `json:"target_id,omitempty"`
	Outcome  string `json:"outcome"`
	Code     string `json:"code,omitempty"`
	Detail   string `json:"detail,omitempty"`
	Hint     string `json:"hint,omitempty"`
	// Losses are parts of the account that the target did not take.
	Losses []pluginapi.PartLoss `json:"losses,omitempty"`
	// Origin says how the account in the target came to be: made, adopted, found.
	Origin string    `json:"origin,omitempty"`
	Run    int64     `json:"run"`
	At     time.Time `json:"at"`
}

// Remember takes over an entry of the journal. What an earlier run than the entry's has
// said is history.
func Remember(e journal.Entry, reason journal.Reason) *Remembered {
	if reason.Run < e.Run {
		reason = journal.Reason{}
	}
	return &Remembered{
		TargetID: e.TargetID, Outcome: string(e.Outcome()), Code: string(e.Code), Detail: reason.Detail, Hint: reason.Hint, Losses: reason.Losses,
		Origin: string(e.Origin), Run: e.Run, At: e.At.UTC(),
	}
}

// Shape reduces an account to what may be shown.
func Shape(u *canonical.User) *AccountShape {
	out := &AccountShape{App: u.App, Primary: u.Primary, Roles: u.Roles, TOTP: len(u.TOTPDevices), Warnings: u.Warnings, Logins: []LoginShape{}}
	if canonical.Known(u.TimeJoined) {
		out.Joined = new(u.TimeJoined.UTC())
	}
	var keys map[string]json.RawMessage
	if u.Metadata != nil && json.Unmarshal(u.Metadata, &keys) == nil { // anything but an object has no keys
		out.Metadata = slices.Sorted(maps.Keys(keys))
	}
	for i := range u.Logins {
		l := &u.Logins[i]
		s := LoginShape{Recipe: string(l.Recipe), ID: l.ID, Verified: l.Verified, Tenants: l.Tenants, Passkeys: len(l.Passkeys)}
		if l.Email != nil {
			s.Email = maskEmail(*l.Email)
		}
		if l.Phone != nil {
			s.Phone = maskPhone(*l.Phone)
		}
		if l.Identity != nil {
			s.Provider = l.Identity.Provider
		}
		if !l.Password.IsZero() {
			s.Password = l.Password.Shape()
		}
		out.Logins = append(out.Logins, s)
	}
	return out
}

func initial(s string) string {
	for _, r := range s {
		return string(r) + "***"
	}
	return ""
}

func maskEmail(s string) string {
	name, domain, ok := strings.Cut(s, "@")
	if !ok {
		return initial(s)
	}
	host, last := domain, ""
	if i := strings.LastIndexByte(domain, '.'); i >= 0 {
		host, last = domain[:i], domain[i:]
	}
	return initial(name) + "@" + initial(host) + last
}

func maskPhone(s string) string {
	if len(s) < 6 {
		return "***"
	}
	return s[:3] + "***" + s[len(s)-2:]
}

// Mask replaces addresses and numbers among the values of a change by shapes.
func Mask(c pluginapi.Change) *pluginapi.Change {
	c.Fields = slices.Clone(c.Fields)
	for i := range c.Fields {
		for _, value := range []*string{&c.Fields[i].Old, &c.Fields[i].New} {
			switch {
			case strings.Contains(*value, "@"):
				*value = maskEmail(*value)
			case strings.HasPrefix(*value, "+"):
				*value = maskPhone(*value)
			}
		}
	}
	return &c
}

// WriteJSON writes the explanation as one JSON object on one line.
func (e *Explanation) WriteJSON(w io.Writer) error {
	e.Losses = orEmpty(e.Losses)
	return WriteJSON(w, e)
}

// WriteText writes the explanation for a person.
func (e *Explanation) WriteText(w io.Writer) error {
	b := newSheet(w)
	fmt.Fprintf(b, "\nAccount %s", diag.Printable(e.SourceID))
	if e.VisibleID != "" && e.VisibleID != e.SourceID {
		fmt.Fprintf(b, ", which applications know as %s", diag.Printable(e.VisibleID))
	}
	b.WriteString("\n")
	e.writeAccount(b)
	e.writeMapping(b)
	e.writeSignIn(b)
	e.writeJournal(b)
	e.writeNext(b)
	return b.flush(w)
}

func (e *Explanation) writeAccount(b *sheet) {
	b.WriteString("\nIn SuperTokens\n\n")
	a := e.Account
	if a == nil {
		b.WriteString("  It is no longer there.\n")
		return
	}
	if a.Joined != nil {
		fmt.Fprintf(b, "  joined %s, app %s\n", a.Joined.Format(time.DateOnly), a.App)
	}
	for _, l := range a.Logins {
		parts := []string{l.Recipe, l.Provider, l.Email, l.Phone}
		switch {
		case l.Verified != nil && *l.Verified:
			parts = append(parts, "verified")
		case l.Verified != nil:
			parts = append(parts, "not verified")
		}
		if l.Password != "" {
			parts = append(parts, "password "+l.Password)
		}
		if l.Passkeys > 0 {
			parts = append(parts, fmt.Sprintf("%d passkeys", l.Passkeys))
		}
		if len(l.Tenants) > 0 {
			parts = append(parts, "tenants "+names(l.Tenants))
		}
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		fmt.Fprintf(b, "  login %s: %s\n", l.ID, strings.Join(parts, ", "))
	}
	for _, tenant := range slices.Sorted(maps.Keys(a.Roles)) {
		fmt.Fprintf(b, "  roles in %s: %s\n", diag.Printable(tenant), names(a.Roles[tenant]))
	}
	if len(a.Metadata) > 0 {
		fmt.Fprintf(b, "  metadata: %s\n", names(a.Metadata))
	}
	if a.TOTP > 0 {
		fmt.Fprintf(b, "  %d authenticators\n", a.TOTP)
	}
	for _, warning := range a.Warnings {
		fmt.Fprintf(b, "  %s: %s\n", warning.Code, warning.Detail)
	}
}

// names are of users' making and stay on their line.
func names(list []string) string { return diag.Printable(strings.Join(list, ", ")) }

func (e *Explanation) writeMapping(b *sheet) {
	if e.Account == nil {
		return
	}
	b.WriteString("\nMapping\n\n")
	if e.Class != "" {
		fmt.Fprintf(b, "  password: %s\n", strings.ReplaceAll(string(e.Class), "_", " "))
	}
	for _, l := range e.Losses {
		what, why := lossWords(l, e.Plugin)
		if why != "" {
			why = " (" + why + ")"
		}
		fmt.Fprintf(b, "  not carried over: %s%s\n", what, why)
	}
	if e.Exclusion != nil {
		fmt.Fprintf(b, "  %s, %s: %s\n", e.Exclusion.Action, e.Exclusion.Code, e.Exclusion.Detail)
	}
}

// writeSignIn says how the person could sign in at the target.
func (e *Explanation) writeSignIn(b *sheet) {
	if e.SignIn == nil {
		return
	}
	b.WriteString("\nSigning in at the target\n\n")
	for _, w := range e.SignIn {
		fmt.Fprintf(b, "  %s: %s\n", w.Text(), w.State.Text())
	}
	if signin.None(e.SignIn) {
		b.WriteString("  This person has no way to sign in.\n")
	}
}

func (e *Explanation) writeJournal(b *sheet) {
	b.WriteString("\nIn the journal\n\n")
	j := e.Journal
	if j == nil {
		b.WriteString("  No run has sent or rejected it.\n")
		return
	}
	fmt.Fprintf(b, "  run %d, %s: %s", j.Run, j.At.Format(time.DateTime+" UTC"), strings.ReplaceAll(j.Outcome, "_", " "))
	if j.Code != "" {
		fmt.Fprintf(b, " (%s)", j.Code)
	}
	b.WriteString("\n")
	if j.TargetID != "" {
		fmt.Fprintf(b, "  id in the target: %s\n", j.TargetID)
	}
	if text := originText[journal.Origin(j.Origin)]; text != "" {
		fmt.Fprintf(b, "  %s\n", text)
	}
	info, _ := e.Words.Lookup(diag.Code(j.Code))
	for _, text := range []string{cmp.Or(j.Detail, info.Meaning), cmp.Or(j.Hint, info.Remedy)} {
		if text != "" {
			fmt.Fprintf(b, "  %s\n", text)
		}
	}
	e.writeLosses(b, j.Losses)
}

// writeLosses says what of the account the target did not take.
func (e *Explanation) writeLosses(b *sheet, losses []pluginapi.PartLoss) {
	for _, l := range losses {
		info, _ := e.Words.Lookup(l.Code)
		fmt.Fprintf(b, "  not taken: %s (%s)", strings.TrimSpace(string(l.Feature)+" "+diag.Printable(l.Attribute)), l.Code)
		if text := cmp.Or(l.Detail, info.Meaning); text != "" {
			fmt.Fprintf(b, ": %s", diag.Printable(text))
		}
		b.WriteString("\n")
	}
}

var originText = map[journal.Origin]string{
	journal.Made:    "a run has made it: an undo deletes it, if nobody has changed it since",
	journal.Adopted: "it was there before and a run has changed it: an undo restores it",
	journal.Found:   "it was there before and was equal: an undo does not change it",
}

func (e *Explanation) writeNext(b *sheet) {
	if e.Next == nil {
		return
	}
	b.WriteString("\nWhat a run would do now\n\n")
	fmt.Fprintf(b, "  %s\n", actionText(*e.Next))
	info, _ := e.Words.Lookup(e.Next.Code)
	for _, text := range []string{cmp.Or(e.Next.Detail, info.Meaning), cmp.Or(e.Next.Hint, info.Remedy)} {
		if text != "" {
			fmt.Fprintf(b, "  %s\n", text)
		}
	}
	e.writeLosses(b, e.Next.Losses)
	for _, f := range e.Next.Fields {
		writeField(b, f)
	}
}
