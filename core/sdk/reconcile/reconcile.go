package reconcile

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// Wanted is an account as a load would leave it.
type Wanted struct {
	// Fields are those that the target shows, by the names that plans give them. An empty
	// value is as good as an absent one.
	Fields map[string]string
	// Secrets are all parts that the target takes and never shows. One that the user does
	// not have stands here with an empty value, so that its removal is noticed.
	Secrets []Secret
}

// Secret is a part of an account that can be written and not read.
type Secret struct {
	// Field is its name in plans, Feature what it is of.
	Field   string
	Feature sdk.Feature
	// Value is all that it consists of. It is fingerprinted and never shown.
	Value string
}

// Held is an account that is in the target.
type Held struct {
	ID string
	// Fields is everything that the target shows of what a load may set: when any of it
	// changes, somebody has touched the account.
	Fields map[string]string
	// Answerable is the part of Fields that is to be as wanted. What is in it and not
	// wanted is to go. Nil is all of Fields.
	Answerable map[string]string
	// Marked says that the account proves itself that a load has made it. That it has the
	// user's name or address is no proof.
	Marked bool
	// Older says that the account was there before the first load, see [Beginning]: none has
	// made it, whatever it carries.
	Older bool
	// Personal are secrets, by field, that the person has chosen at the target since.
	// They are not a load's to replace.
	Personal map[string]bool
	// Equal says of secrets, by field, whether they are as wanted, where that is known by
	// another way than what was last sent: an account may be seen to have none, or one
	// that is not a load's. A secret that is not in it is as it was last sent, or unknown.
	Equal map[string]bool
}

// Difference is a field that is not as it is wanted.
type Difference struct {
	Field, Held, Want string
	// Drift says that the target's value is not what the last run left there.
	Drift bool
}

// Verdict is what is to become of one user.
type Verdict struct {
	// Outcome is what a plan reports, and what a load reports unless writing fails.
	// Created and Updated mean: write, then report with the new state.
	Outcome sdk.Outcome
	// Fields are the changes, for people.
	Fields []sdk.FieldChange
	// Differences are the fields to be written, Send the secrets, by field.
	Differences []Difference
	Send        map[string]bool
	// Kept are the secrets that the source has changed and that stay as the person has
	// chosen them at the target.
	Kept []Secret
	// taken are those that stay so, and of which nobody knows whether the source has changed
	// them.
	taken []Secret
	// Resumed says that an interrupted load has made the account: what is missing of it is
	// to be added, and it counts as created.
	Resumed bool
}

// Judge decides for one target.
type Judge struct {
	Fingerprints sdk.Fingerprints
	// Group gives fields that the target rewrites together one name: those of a list.
	// Nil has each field by itself.
	Group func(field string) string
	// Forgets says that the target is known to keep no value of a group of fields. Nil
	// says so of none.
	Forgets func(group string) bool
	// Show renders differences for people. Nil shows each as it is.
	Show func([]Difference) []sdk.FieldChange
	// Place names the target in messages: "the realm". Empty is "the target".
	Place string
	// KeptCode is the code of a secret that stays as the person has chosen it at the
	// target. Empty is [sdk.CodePartKept].
	KeptCode sdk.Code
}

// Unread is the old value in a [sdk.FieldChange] of a part that the target does not show
// and of which no run remembers what it sent.
const Unread = sdk.UnreadValue

func (j *Judge) place() string { return cmp.Or(j.Place, "the target") }

// Unsent are the secrets that are kept, by field, for [Judge.Left]. The caller may add to
// it.
func (v *Verdict) Unsent() map[string]bool {
	open := map[string]bool{}
	for _, s := range v.Kept {
		open[s.Field] = true
	}
	return open
}

// Absent decides about a user who has no account and whose identifiers are free.
func (j *Judge) Absent(u *sdk.User) Verdict {
	v := Verdict{Outcome: sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}}
	if u.Expect != nil {
		v.Outcome.Action, v.Outcome.Code = sdk.Rejected, sdk.CodeMoved
		v.Outcome.Detail, v.Outcome.Hint = "the account has gone from "+j.place()+" since it was looked at", "plan again"
	}
	return v
}

// Found decides about an account that is the user's: it has the id that the journal
// knows, a mark, or the user's own id. Whether an account that has nothing but a name in
// common is the user's, the plugin decides before.
func (j *Judge) Found(u *sdk.User, w Wanted, h Held) Verdict {
	last := ParseState(u.Prior.State)
	v := Verdict{Outcome: sdk.Outcome{SourceID: u.SourceID, TargetID: h.ID}, Send: map[string]bool{}}
	v.Differences = j.compare(last, w.Fields, h)
	v.Fields = j.show(v.Differences)
	state := State{secrets: last.secrets, sent: last.sent, shown: shownState(j.Fingerprints, h.Fields)}
	if len(state.sent) == 0 {
		state.sent = sentState(j.Fingerprints, nil) // as Left has it where nothing was rewritten
	}
	unread := j.secrets(&v, u, last, w, h)
	if len(unread) == 0 && len(v.Send) == 0 {
		state.secrets = j.secretState(w, v.Unsent()) // the others are as wanted
	}
	v.Outcome.State = state.bytes()
	var names []string
	for _, f := range v.Fields {
		if !slices.Contains(names, f.Field) {
			names = append(names, f.Field)
		}
	}
	known := len(v.Send) // of which it is known that they differ
	for _, s := range unread {
		if v.Send[s.Field] {
			known--
		}
	}
	o, differs := &v.Outcome, len(v.Differences) > 0 || known > 0
	switch {
	case u.Existing != sdk.Update && u.Prior.InDoubt && h.Marked && !h.Older && len(v.Fields) > 0:
		o.Action, o.Changed, v.Resumed = sdk.Created, names, true
	case u.Existing != sdk.Update && differs:
		o.Action, o.Code = sdk.Skipped, sdk.CodeExistsDiffers
		o.Detail = "the account is there and differs in " + strings.Join(names, ", ")
		o.Hint = "change or delete the account in " + j.place() + ", or take it over with policies.existing: adopt"
		v.Send = nil
	case u.Existing != sdk.Update && len(unread) > 0:
		o.Action, v.Send, v.Fields = sdk.Unchanged, nil, nil
		for _, s := range unread {
			o.Losses = append(o.Losses, sdk.PartLoss{Feature: s.Feature, Code: sdk.CodeUnread})
		}
	case len(v.Fields) == 0:
		o.Action = sdk.Unchanged
	case u.Expect != nil && !bytes.Equal(u.Expect, o.State):
		o.Action, o.Code, v.Send = sdk.Rejected, sdk.CodeMoved, nil
		o.Detail, o.Hint = "the account has changed in "+j.place()+" since it was looked at", "plan again"
	default:
		o.Action, o.Changed = sdk.Updated, names
	}
	if o.Action == sdk.Unchanged {
		state.sent = j.stillReshaped(last, w.Fields, h.Fields)
		o.State = state.bytes()
		if u.Prior.InDoubt && h.Older {
			o.Code = sdk.CodeThereBefore
		}
	}
	for _, s := range slices.Concat(v.Kept, v.taken) {
		if o.Action.MayLose() {
			o.Losses = append(o.Losses, sdk.PartLoss{Feature: s.Feature, Code: cmp.Or(j.KeptCode, sdk.CodePartKept)})
		}
	}
	return v
}

// compare lists the fields that are to be written: those that differ, and those that a
// load answers for and that are wanted no more.
func (j *Judge) compare(last State, want map[string]string, h Held) (out []Difference) {
	now := h.Answerable
	if now == nil {
		now = h.Fields
	}
	fp, reshaped, differs := j.Fingerprints, map[string]bool{}, map[string]bool{}
	add := func(field, value string) {
		out = append(out, Difference{Field: field, Held: now[field], Want: value, Drift: fp.Drifted(last.shown, field, h.Fields[field])})
	}
	for field, value := range want {
		group := j.group(field)
		switch {
		case now[field] == value:
		case now[field] == "" && j.Forgets != nil && j.Forgets(group):
		case last.sentAs(fp, field, value) && !fp.Drifted(last.shown, field, now[field]):
			reshaped[group] = true // the target's own form of the same value
		default:
			differs[group] = true
			add(field, value)
		}
	}
	for field, value := range now {
		group := j.group(field)
		if _, wanted := want[field]; wanted || value == "" || (reshaped[group] && !differs[group]) {
			continue
		}
		add(field, "")
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Field, b.Field) })
	return out
}

// stillReshaped are the values that the target keeps in another form than they were sent
// in. One that is there as it is wanted by now has lost that past.
func (j *Judge) stillReshaped(last State, want, now map[string]string) []byte {
	sent := map[string]string{}
	for field, value := range want {
		if now[field] != value && last.sentAs(j.Fingerprints, field, value) {
			sent[field] = value
		}
	}
	return sentState(j.Fingerprints, sent)
}

// sentAs reports whether a value was the last to be sent, of a field that the target
// keeps in another form.
func (s State) sentAs(fp sdk.Fingerprints, field, value string) bool {
	return fp.Drifted(s.sent, field, "") && !fp.Drifted(s.sent, field, value)
}

func (j *Judge) group(field string) string {
	if j.Group == nil {
		return field
	}
	return j.Group(field)
}

func (j *Judge) show(all []Difference) (out []sdk.FieldChange) {
	if j.Show != nil {
		return j.Show(all)
	}
	for _, d := range all {
		out = append(out, sdk.FieldChange{Field: d.Field, Old: d.Held, New: d.Want, Drift: d.Drift})
	}
	return out
}

// secrets notes which are to be sent, and returns those of which nobody knows what the
// account has.
func (j *Judge) secrets(v *Verdict, u *sdk.User, last State, w Wanted, h Held) (unread []Secret) {
	fp := j.Fingerprints
	for _, s := range w.Secrets {
		old, drift := "", false
		equal, known := h.Equal[s.Field]
		none := len(last.secrets) == 0
		if u.Prior.InDoubt && (known || !h.Personal[s.Field]) {
			none = true // what was under way may have arrived, or not; what is the person's own was left alone
		}
		same := !none && !fp.Drifted(last.secrets, s.Field, s.Value)
		had := len(last.secrets) > 0 && fp.Drifted(last.secrets, s.Field, "") // as a run has noted
		switch {
		case known && equal:
			continue
		case h.Personal[s.Field] && (same || none && s.Value == ""):
			continue // the source asks for nothing new
		case h.Personal[s.Field] && none && !known && u.Existing != sdk.Update:
			unread = append(unread, s)
			continue
		case h.Personal[s.Field] && none && !known:
			// Nobody knows whether it is another one. That it stays is said when the account is
			// taken over, and again when the source has another one.
			v.taken = append(v.taken, s)
			continue
		case h.Personal[s.Field]:
			v.Kept = append(v.Kept, s)
			continue
		case known:
			old, drift = h.Fields[s.Field], same
		case none && s.Value == "" && !had:
			continue // nothing to send
		case none && s.Value != "":
			old = Unread
			unread = append(unread, s)
		case same:
			continue
		case had:
			old = "another one"
		}
		shown := ""
		if s.Value != "" {
			shown = fp.Of(s.Value)
		}
		v.Send[s.Field] = true
		v.Fields = append(v.Fields, sdk.FieldChange{Field: s.Field, Old: old, New: shown, Drift: drift})
	}
	return unread
}

func (j *Judge) secretState(w Wanted, open map[string]bool) []byte {
	values := map[string]string{}
	for _, s := range w.Secrets {
		values[s.Field] = s.Value
		if open[s.Field] {
			values[s.Field] = "\x00" // no value is that, so that the next run finds a difference
		}
	}
	return j.Fingerprints.StateWithin(mostSecrets, values)
}

// Left is the state that a load leaves behind which has sent all that is wanted: shown is
// what the target shows afterwards. Open are the fields and secrets that were not written,
// for whatever reason: the next look finds them different.
func (j *Judge) Left(w Wanted, shown map[string]string, open map[string]bool) []byte {
	sent := map[string]string{}
	for field, value := range w.Fields {
		if shown[field] != value && !open[field] {
			sent[field] = value
		}
	}
	fp := j.Fingerprints
	return State{j.secretState(w, open), sentState(fp, sent), shownState(fp, shown)}.bytes()
}

// Missed compares what the target shows after an update with what was to be written, and
// returns the differences that are still there as they were: what the target has accepted
// and not done.
func Missed(differences []Difference, shown map[string]string) (out []Difference) {
	for _, d := range differences {
		if shown[d.Field] == d.Held {
			out = append(out, d)
		}
	}
	return out
}

// Conflict is the outcome of a user whose identifier belongs to somebody else there.
func (j *Judge) Conflict(u *sdk.User, code sdk.Code, what, holder string) sdk.Outcome {
	id, _, _ := strings.Cut(holder, " ") // what may follow is where it is
	return sdk.Outcome{
		SourceID: u.SourceID, Action: sdk.Rejected, Code: code, Holder: id, Detail: fmt.Sprintf("%s belongs to the account %s of %s", what, holder, j.place()),
		Hint: "merge the two accounts in SuperTokens or change the one in " + j.place() + ", then run again",
	}
}
