package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Canary is a target that can be asked whether a password is right, and that can
// take an account back; and a memory that outlives the process, for the canaries of
// a run that is killed. Save is durable when it returns nil, and a nil value removes
// a key. Without a journal it is not used.
type Canary interface {
	Login(ctx context.Context, l pluginapi.Login) (bool, error)
	Undo(ctx context.Context, accounts []pluginapi.Account) ([]pluginapi.Outcome, error)
	Saved(ctx context.Context) (map[string][]byte, error)
	Save(ctx context.Context, key string, value []byte) error
}

// canaryKey is followed by the name of a canary that may be in the target; the value
// is its id.
const canaryKey = "engine/canary/"

// Proof is what became of the canary of one hash shape: an account with a
// password that this program knows, hashed like those of the source, loaded like
// them, and removed again.
type Proof struct {
	// Shape is that of the hash, such as "bcrypt 2a cost 11".
	Shape string `json:"shape"`
	// Proven says that the right password was accepted and a wrong one refused.
	Proven bool `json:"proven"`
	// Unasked says that it cannot be proven here, so that nothing is known.
	Unasked bool `json:"unasked,omitempty"`
	// Problem says what was wrong, or why it cannot be proven.
	Problem string `json:"problem,omitempty"`
}

// errUnmade says that this program cannot make a hash of a kind.
var errUnmade = errors.New("stetl cannot make a hash of this kind")

// mostCanaries bounds the canaries of a run.
const mostCanaries = 16

// prover signs canaries in, before any user is loaded.
type prover struct {
	dst      Target
	canary   Canary
	remember bool // with a journal
	withheld pluginapi.Withheld
}

// prove signs a canary in for every kind of hash and says what came of each. The error
// matches [ErrCanary] when a password would not work.
func (p *prover) prove(ctx context.Context, hashes []canonical.PasswordHash) ([]Proof, error) {
	if err := p.collect(ctx); err != nil {
		return nil, err
	}
	var all []Proof
	deaf := false // the target cannot be asked
	for _, hash := range hashes[:min(len(hashes), mostCanaries)] {
		proof := Proof{Shape: hash.Shape()}
		err := p.try(ctx, hash)
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		proof.Proven = err == nil
		if err != nil {
			proof.Problem, deaf = problem(err)
			proof.Unasked = deaf || errors.Is(err, errUnmade)
		}
		all = append(all, proof)
		if deaf {
			break // nor could it be asked about any other
		}
	}
	for _, hash := range hashes[min(len(hashes), mostCanaries):] {
		all = append(all, Proof{Shape: hash.Shape(), Unasked: true, Problem: fmt.Sprintf("there are %d kinds of hashes, and %d of them are tested", len(hashes), mostCanaries)})
	}
	for _, proof := range all {
		if !proof.Proven && !proof.Unasked {
			return all, fmt.Errorf("%w: %s: %s", ErrCanary, proof.Shape, proof.Problem)
		}
	}
	return all, nil
}

// problem says why a proof was not made, and whether the target cannot be asked at all;
// then also what would make it possible.
func problem(err error) (words string, deaf bool) {
	f, ok := errors.AsType[*pluginapi.Failure](err)
	switch {
	case !ok || f.Code != diag.TargetLoginUnavailable:
		return err.Error(), false
	case f.Hint == "":
		return f.Detail, true
	}
	return f.Detail + "; to have it proven, " + f.Hint, true
}

// user is the account of a canary, without its password.
func (p *prover) user(name, id string) pluginapi.User {
	verified := true
	u := pluginapi.User{
		SourceID: name, ID: id, Username: name + "@stetl.invalid", Email: name + "@stetl.invalid", EmailVerified: &verified,
		GivenName: "Canary", FamilyName: "Canary", Enabled: true, Class: pluginapi.NoPassword,
	}
	p.withheld.From(&u)
	return u
}

// collect removes the canaries that runs have left behind that were killed, or lost
// an answer.
func (p *prover) collect(ctx context.Context) error {
	if !p.remember {
		return nil
	}
	saved, err := p.canary.Saved(ctx)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(saved)) {
		name, ok := strings.CutPrefix(key, canaryKey)
		if !ok {
			continue
		}
		u := p.user(name, string(saved[key]))
		u.Prior.InDoubt = true
		outcomes, err := p.dst.Load(ctx, []pluginapi.User{u}) // which looks first, and tells the target's id
		if err == nil && outcomes[0].TargetID == "" {
			err = fmt.Errorf("the target does not say where it is (%s: %s)", outcomes[0].Code, outcomes[0].Detail)
		}
		if err == nil {
			err = p.remove(ctx, name, outcomes[0].TargetID)
		}
		if err != nil {
			return fmt.Errorf("remove the test account %s that an interrupted run has left in the target: %w", u.Username, err)
		}
	}
	return nil
}

// remove deletes a canary and forgets it.
func (p *prover) remove(ctx context.Context, name, targetID string) error {
	undone, err := p.canary.Undo(ctx, []pluginapi.Account{{SourceID: name, TargetID: targetID}})
	if err != nil {
		return err
	}
	if a := undone[0].Action; a != pluginapi.Deleted && a != pluginapi.Unchanged { // unchanged: it is gone
		return fmt.Errorf("it is %s (%s: %s)", a, undone[0].Code, undone[0].Detail)
	}
	return p.note(ctx, name, nil)
}

// note remembers that a canary may be in the target, or with nil that it is not.
func (p *prover) note(ctx context.Context, name string, id []byte) error {
	if !p.remember {
		return nil
	}
	return p.canary.Save(ctx, canaryKey+name, id)
}

// try loads one canary, signs it in with the right and with a wrong password, and
// removes it.
func (p *prover) try(ctx context.Context, like canonical.PasswordHash) (err error) {
	name, id := pluginapi.CanaryPrefix+strings.ToLower(rand.Text()), uuid.NewString()
	password := rand.Text()
	u := p.user(name, id)
	u.Class = pluginapi.HashCarried
	if u.Password, err = hashLike(like, password); err != nil {
		return err
	}
	if err := p.note(ctx, name, []byte(id)); err != nil {
		return err
	}
	outcomes, err := p.dst.Load(ctx, []pluginapi.User{u})
	if err != nil {
		return fmt.Errorf("load the canary: %w", err)
	}
	o := outcomes[0]
	if o.Action != pluginapi.Created {
		err := fmt.Errorf("the test account was not created but %s (%s: %s)", o.Action, o.Code, o.Detail)
		if o.Action != pluginapi.InDoubt {
			err = errors.Join(err, p.note(ctx, name, nil))
		}
		return err
	}
	defer func() {
		// Also when the run is to stop: a canary must not stay.
		cleanup, stop := withGrace(ctx, grace)
		defer stop()
		if undoErr := p.remove(cleanup, name, o.TargetID); undoErr != nil && err == nil {
			err = fmt.Errorf("remove the canary %s: %w", u.Username, undoErr)
		}
	}()
	return p.signIn(ctx, pluginapi.Login{TargetID: o.TargetID, Username: u.Username}, password)
}

func (p *prover) signIn(ctx context.Context, l pluginapi.Login, password string) error {
	for _, try := range []struct {
		password string
		right    bool
	}{{password, true}, {"x" + password, false}} {
		l.Password = canonical.NewSecret(try.password)
		accepted, err := p.canary.Login(ctx, l)
		switch {
		case err != nil:
			return fmt.Errorf("log the canary in: %w", err)
		case accepted && !try.right:
			return errors.New("the target accepts a wrong password")
		case !accepted && try.right:
			return errors.New("the target refuses the right password")
		}
	}
	return nil
}

// hashLike hashes password with the parameters of like.
func hashLike(like canonical.PasswordHash, password string) (canonical.PasswordHash, error) {
	switch like.Scheme {
	case canonical.Bcrypt:
		raw, err := bcrypt.GenerateFromPassword([]byte(password), like.Cost)
		if err != nil {
			return canonical.PasswordHash{}, fmt.Errorf("hash the password of the test account: %w", err)
		}
		// The revisions differ in bugs that a short ASCII password does not meet.
		return canonical.ParsePasswordHash("$" + like.Variant + string(raw[3:])), nil
	case canonical.Argon2id, canonical.Argon2i:
		p := like.Argon2
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails, see crypto/rand
		derive := argon2.IDKey
		if like.Scheme == canonical.Argon2i {
			derive = argon2.Key
		}
		if p.Version != argon2.Version {
			break
		}
		parallelism := uint8(min(p.Parallelism, 255))
		digest := derive([]byte(password), salt, p.Iterations, p.MemoryKiB, parallelism, 32)
		return canonical.ParsePasswordHash(fmt.Sprintf("$%s$v=%d$m=%d,t=%d,p=%d$%s$%s", like.Scheme, p.Version, p.MemoryKiB, p.Iterations,
			parallelism, base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(digest))), nil
	default:
	}
	return canonical.PasswordHash{}, errUnmade
}
