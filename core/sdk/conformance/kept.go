package conformance

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// keptRules are about what accounts keep: the difference between two of them, what comes
// with them, and what nobody has asked to change.
func keptRules() []Rule {
	return []Rule{
		{
			Name: "distinct", Promise: "two people never get one account, however alike their ids are", try: tryDistinct,
			unless: unlessWhole,
		},
		{Name: "hashes", Promise: "who has a password of a kind that the plugin declares is loaded with it, and signs in", try: tryHashes},
		{
			Name: "kept-password", Promise: "an update of something else leaves the password as it is", try: tryKeptPassword,
			unless: func(k *kit) string {
				if reason := unable(pluginapi.CanLogin)(k); reason != "" {
					return reason
				}
				return unlessPasswords(k)
			},
		},
		{
			Name: "looks", Promise: "what the host remembers of an account is never taken for what the target has", try: tryLooks,
			unless: unlessWhole,
		},
		{
			Name: "undo-update", Promise: "an undo of an update gives the account back what it had", try: tryUndoUpdate,
			unless: func(k *kit) string {
				if reason := unable(pluginapi.CanUndo)(k); reason != "" {
					return reason
				}
				return unlessWhole(k)
			},
		},
	}
}

// alike are pairs of people whose ids differ in little, by what that is.
func alike(p *probe) map[string][2]pluginapi.User {
	pair := func(change func(id string) string) [2]pluginapi.User {
		two := p.people(2)
		two[1].ID = change(two[0].ID)
		return [2]pluginapi.User(two)
	}
	last := func(id string) string {
		other := "0"
		if strings.HasSuffix(id, other) {
			other = "1"
		}
		return id[:len(id)-1] + other
	}
	pairs := map[string][2]pluginapi.User{"the last letter": pair(last)}
	if !p.caps.Folds(pluginapi.IdentifierID) {
		cased := p.people(2)
		cased[0].ID = "abcdef" + cased[0].ID[6:] // so that there is a letter
		cased[1].ID = "ABCDEF" + cased[0].ID[6:]
		pairs["the case of letters"] = [2]pluginapi.User(cased)
	}
	folding := p.caps.Folding[pluginapi.IdentifierID]
	if n := p.caps.MaxIDLength; !folding.Trims && (n == 0 || n > 38) {
		pairs["a blank at the end"] = pair(func(id string) string { return id + " " })
	}
	if n := p.caps.MaxIDLength; folding.Normalization == "" && (n == 0 || n > 42) {
		marked := p.people(2) // the same letter in two forms of Unicode
		marked[1].ID = marked[0].ID + "e\u0301"
		marked[0].ID += "\u00e9"
		pairs["the form of Unicode of a letter"] = [2]pluginapi.User(marked)
	}
	if n := min(p.caps.MaxIDLength, 200); n > len(pairs["the last letter"][0].ID) {
		long := p.people(2)
		long[0].ID += strings.Repeat("x", n-len(long[0].ID))
		long[1].ID = last(long[0].ID)
		pairs["the last letter of as many as there may be"] = [2]pluginapi.User(long)
	}
	return pairs
}

func tryDistinct(ctx context.Context, p *probe) error {
	for what, pair := range alike(p) {
		var ids []string
		for _, u := range pair { // one after the other, so that the second finds the first
			out, err := p.load(ctx, []pluginapi.User{u})
			if err != nil {
				return err
			}
			switch o := out[0]; o.Action {
			case pluginapi.Created:
				ids = append(ids, o.TargetID)
			case pluginapi.Rejected: // named
			default:
				p.fail("somebody new, whose id differs from that of another in %s, ends as %s: the other's account was found", what, say(o))
			}
		}
		if len(ids) == 2 && ids[0] != "" && ids[0] == ids[1] {
			p.fail("two people whose ids differ in %s get one account, %q", what, ids[0])
		}
	}
	return nil
}

// kind is a password hash of a kind that the plugin takes. It is of a password where it can
// be made of one.
type kind struct {
	name string
	hash canonical.PasswordHash
	of   string
}

// kinds are one of each that the plugin declares.
func kinds(p *probe) (all []kind, err error) {
	add := func(name, stored, of string) {
		hash := canonical.ParsePasswordHash(stored)
		p.watch.secret(stored)
		known := slices.ContainsFunc(all, func(k kind) bool { return k.name == name })
		if p.caps.Accepts(hash) && !known {
			all = append(all, kind{name, hash, of})
		}
	}
	password, salt := p.watch.secret("kind-"+p.run+"-Aa1!"), []byte("salt of "+p.run)
	cost := canonical.ParsePasswordHash(p.bcrypt()).Cost
	made, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	for _, variant := range []string{"2a", "2b", "2y"} {
		add("bcrypt "+variant, "$"+variant+string(made[3:]), password)
	}
	raw := base64.RawStdEncoding.EncodeToString
	for scheme, key := range map[string]func(_, _ []byte, time, memory uint32, threads uint8, length uint32) []byte{"argon2id": argon2.IDKey, "argon2i": argon2.Key} {
		add(scheme, fmt.Sprintf("$%s$v=19$m=8192,t=2,p=1$%s$%s", scheme, raw(salt), raw(key([]byte(password), salt, 2, 8192, 1, 32))), password)
	}
	digest := argon2.IDKey([]byte(password), salt, 1, 64, 1, 64) // 64 bytes that nobody can guess
	add("argon2d", fmt.Sprintf("$argon2d$v=19$m=8192,t=2,p=1$%s$%s", raw(salt), raw(digest[:32])), "")
	std := base64.StdEncoding.EncodeToString
	add("firebase_scrypt", fmt.Sprintf("$f_scrypt$%s$%s$m=14$r=8$s=Bw==", std(digest), std(salt)), "")
	return all, err
}

func tryHashes(ctx context.Context, p *probe) error {
	all, err := kinds(p)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		p.pointless = "the plugin takes no passwords"
		return nil
	}
	users := p.people(len(all))
	for i := range users {
		users[i].Password, users[i].Class = all[i].hash, pluginapi.HashCarried
	}
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	for i, o := range out {
		lost := slices.ContainsFunc(o.Losses, func(l pluginapi.PartLoss) bool { return l.Feature == pluginapi.PartPassword })
		if o.Action != pluginapi.Created || lost {
			p.fail("it declares hashes like %s, and somebody who has one ends as %s (the password lost: %v)", all[i].name, say(o), lost)
			continue
		}
		if all[i].of == "" || !p.caps.Can(pluginapi.CanLogin) {
			continue
		}
		if err := p.signsIn(ctx, &users[i], o.TargetID, "with a hash like "+all[i].name, map[string]bool{all[i].of: true, "other-" + all[i].of: false}); err != nil {
			return err
		}
	}
	return nil
}

func tryKeptPassword(ctx context.Context, p *probe) error {
	first, _, passwords, err := p.twoPasswords()
	if err != nil {
		return err
	}
	loaded, err := p.load(ctx, []pluginapi.User{first})
	if err != nil {
		return err
	}
	p.expect("somebody with a password", loaded, pluginapi.Created)
	other := known([]pluginapi.User{first}, loaded)
	other[0].GivenName = "Grace"
	if !p.caps.Has(pluginapi.CarriesNames) {
		p.pointless = "there is nothing else to change than what people sign in with"
		return nil
	}
	out, ok, err := p.update(ctx, other)
	if err != nil || !ok {
		return err
	}
	if out[0].Action != pluginapi.Updated {
		return nil // another rule
	}
	for password := range passwords { // the first one was never replaced
		passwords[password] = !passwords[password]
	}
	return p.signsIn(ctx, &first, loaded[0].TargetID, "after an update of something else", passwords)
}

func tryLooks(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 2)
	if err != nil {
		return err
	}
	// Another host, with another memory, has changed them.
	out, ok, err := p.update(ctx, changed(known(users, first)))
	if err != nil || !ok {
		return err
	}
	p.expect("changed by another host", out, pluginapi.Updated)
	if len(p.problems) > 0 {
		return nil
	}
	seen, err := p.load(ctx, known(users, first))
	if err != nil {
		return err
	}
	for _, o := range seen {
		if o.Action == pluginapi.Unchanged {
			p.fail("an account that another host has changed ends as %s, because it is as the host remembers it", say(o))
		}
	}
	if !p.caps.Can(pluginapi.CanUndo) {
		return nil
	}
	gone := accountsOf(out[:1])
	gone[0].State, gone[0].Before = nil, nil // made by the host itself: no condition, and no former self
	undone, err := p.undo(ctx, gone)
	if err != nil {
		return err
	}
	p.expect("taken back", undone, pluginapi.Deleted)
	if seen, err = p.load(ctx, known(users[:1], first)); err != nil {
		return err
	}
	if o := seen[0]; o.Action == pluginapi.Unchanged || o.Action == pluginapi.Updated {
		p.fail("an account that has gone, and that the host remembers, ends as %s", say(o))
	}
	return nil
}

func tryUndoUpdate(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 2)
	if err != nil {
		return err
	}
	out, ok, err := p.update(ctx, changed(known(users, first)))
	if err != nil || !ok {
		return err
	}
	p.expect("with another address and name", out, pluginapi.Updated)
	if len(p.problems) > 0 {
		return nil
	}
	undone, err := p.undo(ctx, accountsOf(out))
	if err != nil {
		return err
	}
	p.expect("an update that is undone", undone, pluginapi.Updated)
	seen, err := p.load(ctx, known(users, first))
	if err == nil {
		p.expect("after the undo of an update, what was loaded first", seen, pluginapi.Unchanged)
	}
	return err
}
