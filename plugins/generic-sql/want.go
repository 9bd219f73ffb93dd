package sqltarget

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/reconcile"
)

// account is a user on the way: the rows that are wanted, those that are there, and what
// is to become of it.
type account struct {
	reconcile.Verdict
	user   *sdk.User
	id     string // of the account in the database
	wanted []*row
	held   []*row
	losses []sdk.PartLoss
	marked bool // a transaction of a load has made it

	want    reconcile.Wanted
	inserts []*row
	updates []*row
	deletes []*row
	claims  []reconcile.Claim
	guarded []reconcile.Claim // those of claims that the database guards itself
}

// writes says that something of it is to be written.
func (a *account) writes() bool {
	return a.Outcome.Action == sdk.Created || a.Outcome.Action == sdk.Updated
}

func (a *account) reject(code sdk.Code, detail, hint string) {
	a.Verdict = reconcile.Verdict{Outcome: sdk.Outcome{SourceID: a.user.SourceID, Action: sdk.Rejected, Code: code, Detail: detail, Hint: hint}}
	a.inserts, a.updates, a.deletes = nil, nil, nil
}

func (a *account) rejected() bool { return a.Outcome.Action == sdk.Rejected }

// build makes the rows that a user wants. It needs the catalogue.
func build(m *model, u *sdk.User, now time.Time) *account {
	a := &account{user: u}
	if u.ID == "" {
		a.reject(sdk.CodeIDInvalid, "the user has no id", "")
		return a
	}
	if !u.Enabled && !m.uses("enabled") {
		a.reject(codeDisabled, "the account is disabled, but there is no column for that, so people could sign in to it", "declare a column with the field enabled, or leave out the account")
		return a
	}
	for _, t := range m.tables {
		parts := items(u, t.Per, now)
		if t.Per == perPasskey && len(parts) < len(u.Passkeys) {
			a.losses = append(a.losses, sdk.PartLoss{Feature: sdk.CarriesPasskeys, Code: sdk.CodePartRefused, Detail: "the key in the source cannot be read"})
		}
		for i := range parts {
			if !a.add(t, &parts[i]) {
				return a
			}
		}
	}
	if len(a.wanted) == 0 || a.wanted[0].table != m.accounts() {
		a.reject(codeConstraint, "the first table gets no row for this user", "check the key when of the table")
		return a
	}
	first := a.wanted[0]
	a.id = first.values[m.accounts().index(m.accounts().account.name)].text
	if u.Prior.TargetID != "" && u.Prior.TargetID != a.id {
		a.reject(sdk.CodeIDConflict, "an earlier run has loaded it with another id", "give the account the id that it had in the mapping, or undo it first")
		return a
	}
	a.want = wantedOf(a.wanted)
	return a
}

// add makes one row; false when the user was rejected because of it.
func (a *account) add(t *table, part *item) bool {
	if t.when != nil {
		v, err := t.when.eval(part)
		if err != nil {
			a.reject(codeConstraint, fmt.Sprintf("table %s: the expression of when: %v", t.Name, err), "")
			return false
		}
		if v != true {
			return true
		}
	}
	r := &row{table: t, values: make([]value, len(t.columns))}
	for i, c := range t.columns {
		v, err := c.source.eval(part)
		if err == nil {
			r.values[i], err = c.held.canonical(v)
		}
		if err != nil {
			a.refuse(t, c, err)
			return false
		}
		if err := c.held.allows(r.values[i]); err != nil {
			a.refuse(t, c, err)
			return false
		}
	}
	r.key = t.keyOf(r.values)
	if !slices.ContainsFunc(a.wanted, func(o *row) bool { return o.table == t && o.key == r.key }) {
		a.wanted = append(a.wanted, r)
	}
	return true
}

var (
	errTooLong = errors.New("it is too long")
	errMissing = errors.New("it must have a value")
)

// allows says what the database would have against a value.
func (h *heldColumn) allows(v value) error {
	switch {
	case v.null && h.notNull:
		return errMissing
	case v.null:
	case h.bytes > 0 && h.size(v) > h.bytes:
		return fmt.Errorf("%w: %d bytes, and %d fit", errTooLong, h.size(v), h.bytes)
	case h.least != "" && !h.within(v):
		return fmt.Errorf("it is outside of the range of the type %s", h.typ)
	case h.letters != nil && !h.letters(v.text):
		return errors.New("it has characters that the character set of the column does not have")
	case h.length > 0 && utf8.RuneCountInString(v.text) > h.length:
		return fmt.Errorf("%w: %d letters, and %d fit", errTooLong, utf8.RuneCountInString(v.text), h.length)
	case len(h.enum) > 0 && !slices.Contains(h.enum, v.text):
		return fmt.Errorf("it is not one of the values of the type %s", h.typ)
	}
	return nil
}

// size of a value in bytes.
func (h *heldColumn) size(v value) int {
	if h.kind == kindBytes {
		return len(v.text) / 2 // two digits for each
	}
	return len(v.text)
}

// within says that a value is in the range of the type.
func (h *heldColumn) within(v value) bool {
	if h.kind != kindInteger {
		return h.least <= v.text && v.text <= h.most // times are as their texts
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	least, _ := strconv.ParseInt(h.least, 10, 64) // both are numbers
	most, _ := strconv.ParseInt(h.most, 10, 64)
	return err == nil && least <= n && n <= most
}

// refuse rejects the account because of one value, which is not quoted.
func (a *account) refuse(t *table, c *column, err error) {
	uses := func(field string) bool { return slices.Contains(c.source.uses, field) }
	code, hint := codeConstraint, ""
	isID := uses("id") && c == t.account
	switch {
	case errors.Is(err, errTooLong) && isID:
		code = sdk.CodeIDTooLong
	case errors.Is(err, errTooLong):
		code = sdk.CodeFieldTooLong
	case errors.Is(err, errMissing) && uses("email"):
		code, hint = sdk.CodeEmailMissing, "give the column an expression that makes up an address, or leave out such accounts"
	case errors.Is(err, errMissing) && uses("username"):
		code = sdk.CodeUsernameMissing
	case isID:
		code = sdk.CodeIDInvalid
	case uses("email"):
		code = sdk.CodeEmailInvalid
	}
	a.reject(code, fmt.Sprintf("%s.%s: %v", t.Name, c.name, err), hint)
}

// wantedOf tells the rules of all targets what is wanted. A password is a part that the
// person may have changed since, which is why it is not among the fields.
func wantedOf(rows []*row) reconcile.Wanted {
	w := reconcile.Wanted{Fields: map[string]string{}}
	for _, r := range rows {
		for i, c := range r.table.columns {
			switch {
			case c.personal:
				w.Secrets = append(w.Secrets, reconcile.Secret{Field: r.fields()[i], Feature: sdk.PartPassword, Value: r.values[i].text})
			case c.compared():
				w.Fields[r.fields()[i]] = r.values[i].text
			}
		}
	}
	return w
}
