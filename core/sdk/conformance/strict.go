package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/plugin"
	"github.com/stetl/stetl/core/pluginapi"
)

// strictRules are about promises whose breach is seen late, when a run has long ended well.
func strictRules() []Rule {
	return []Rule{
		{
			Name: "check-only-looks", Promise: "Check writes nothing", try: tryCheckOnlyLooks,
			unless: func(k *kit) string {
				if k.suite.Inspect == nil && k.suite.Front == nil {
					return "nobody looks at the target behind the plugin's back"
				}
				return unable(pluginapi.CanCheck)(k)
			},
		},
		{Name: "abilities", Promise: "every ability that is declared is answered, and so is what roles allow where that is carried", try: tryAbilities},
		{
			Name: "keyed-state", Promise: "a state is a fingerprint under the key of the host: with another key it is another one, with the same it is the same", try: tryKeyedState,
			unless: unlessWhole,
		},
		{
			Name: "tenants", Promise: "who has the same address in another tenant is another person, where addresses are unique in a tenant only", try: tryTenants,
			unless: func(k *kit) string {
				if !slices.Contains(k.caps.UniqueInTenant, pluginapi.IdentifierEmail) || !k.caps.Has(pluginapi.CarriesTenants) {
					return "addresses are not unique in a tenant only"
				}
				return unlessWhole(k)
			},
		},
		{
			Name: "undo-stops", Promise: "an undo that is taken back ends within two seconds, and another one goes on with it", try: tryUndoStops,
			unless: unable(pluginapi.CanUndo),
		},
		{
			Name: "client-certificate", Promise: "nobody without the certificate of the host gets an answer", try: tryClientCertificate,
			unless: onlyProcesses,
		},
		{Name: "signals", Promise: "SIGINT and SIGTERM are ignored: the host decides when to stop", try: trySignals, unless: onlyProcesses},
	}
}

func tryCheckOnlyLooks(ctx context.Context, p *probe) error {
	before, err := p.inspect(ctx)
	if err != nil {
		return err
	}
	written := p.suite.Front.writes()
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		found, err := i.Check(ctx, pluginapi.Needs{Users: 3, Roles: []string{"kit-" + p.run}, Tenants: []string{"public"}})
		p.watch.diagnostics(found.Diagnostics)
		return err
	})
	if err != nil {
		return err
	}
	if after, err := p.inspect(ctx); err != nil || after != before {
		p.fail("the check has changed the target (%v)", err)
	}
	if n := p.suite.Front.writes() - written; n > 0 {
		p.fail("the check sent %d requests that could change something", n)
	}
	return nil
}

// tryAbilities asks about somebody whom the target does not have: any answer will do.
func tryAbilities(ctx context.Context, p *probe) error {
	nobody := p.person()
	secret := canonical.NewSecret(p.watch.secret("right-" + p.run + "-Aa2!"))
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		if p.caps.Has(pluginapi.CarriesRolePermissions) {
			if err := i.defineRoles(ctx, []pluginapi.Role{{Name: "conformance-" + p.run, Permissions: []string{"read", "write"}}, {Name: "conformance-" + p.run + "-none"}}); err != nil {
				p.fail("it declares the feature %s, and told what a role allows: %v", pluginapi.CarriesRolePermissions, err)
			}
		}
		for _, call := range []struct {
			ability pluginapi.Ability
			ask     func() error
		}{
			{pluginapi.CanCheck, func() error { _, err := i.Check(ctx, pluginapi.Needs{Users: 1}); return err }},
			{pluginapi.CanPlan, func() error { _, err := i.Plan(ctx, []pluginapi.User{nobody}); return err }},
			{pluginapi.CanUndo, func() error {
				_, err := i.Undo(ctx, []pluginapi.Account{{SourceID: nobody.SourceID, TargetID: nobody.ID, ID: nobody.ID, State: []byte("another state")}})
				return err
			}},
			{pluginapi.CanLogin, func() error {
				_, err := i.Login(ctx, pluginapi.Login{TargetID: nobody.ID, Username: nobody.Username, Password: secret})
				return err
			}},
			{pluginapi.CanSetPassword, func() error {
				return i.SetPassword(ctx, pluginapi.PasswordChange{TargetID: nobody.ID, Email: nobody.Email, Password: secret})
			}},
			{pluginapi.CanStartReset, func() error {
				_, err := i.StartReset(ctx, pluginapi.Reset{TargetID: nobody.ID, Email: nobody.Email})
				return err
			}},
			{pluginapi.CanExchange, func() error {
				_, err := i.Exchange(ctx, pluginapi.Assertion{JWT: secret, TargetID: nobody.ID, Email: nobody.Email})
				return err
			}},
		} {
			if !p.caps.Can(call.ability) {
				continue
			}
			// That there is nobody is an answer; an error of the call is none.
			if err := call.ask(); err != nil && !errors.As(err, new(*pluginapi.Failure)) {
				p.fail("it declares the ability %s, and asked about somebody whom it does not have: %v", call.ability, err)
			}
		}
		return nil
	})
}

func tryKeyedState(ctx context.Context, p *probe) error {
	users, first, err := p.seed(ctx, 1)
	if err != nil {
		return err
	}
	if len(first[0].State) == 0 {
		p.pointless = "the plugin leaves no state"
		return nil
	}
	if what := clearText(&users[0], first[0].State); what != "" {
		p.fail("the state shows the %s of the person: whoever reads the journal reads it", what)
	}
	again, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	key := p.key
	p.key = make([]byte, len(key))
	_, _ = rand.Read(p.key) // never fails, see crypto/rand
	other, err := p.load(ctx, users)
	p.key = key
	if err != nil {
		return err
	}
	unread := slices.ContainsFunc(again[0].Losses, func(l pluginapi.PartLoss) bool { return l.Code == diag.LoadUnread })
	if !unread && !bytes.Equal(first[0].State, again[0].State) {
		p.fail("with the same key, the state of an account that nobody touched is another one")
	}
	if len(other[0].State) > 0 && bytes.Equal(again[0].State, other[0].State) {
		p.fail("with another key, the state of an account is the same: it can be guessed from what is in the account")
	}
	return nil
}

func tryTenants(ctx context.Context, p *probe) error {
	users := p.people(2)
	users[1].Username, users[1].Email = users[0].Username, users[0].Email
	users[0].Tenants, users[1].Tenants = []string{"kit-a-" + p.run}, []string{"kit-b-" + p.run}
	out, err := p.load(ctx, users)
	if err != nil {
		return err
	}
	if out[0].Action != pluginapi.Created {
		p.pointless = "the target does not take accounts of tenants that it does not have: " + say(out[0])
		return nil
	}
	switch o := out[1]; {
	case o.Code == diag.LoadEmailConflict, o.Code == diag.LoadUsernameConflict:
		p.fail("who has the same address in another tenant ends as %s", say(o))
	case o.TargetID != "" && o.TargetID == out[0].TargetID:
		p.fail("two people with the same address in two tenants get one account, %q", o.TargetID)
	}
	return nil
}

// stopsWithin is what the host waits before it goes on without the plugin.
const stopsWithin = 2 * time.Second

func tryUndoStops(ctx context.Context, p *probe) error {
	_, first, err := p.seed(ctx, 12)
	if err != nil {
		return err
	}
	accounts := accountsOf(first)
	err = p.with(ctx, func(ctx context.Context, i *instance) error {
		reason := errors.New("taken back")
		began := time.Now() // before the clock of soon starts, so that the wait is never measured too short
		soon, stop := context.WithTimeoutCause(ctx, cancelAfter, reason)
		defer stop()
		out, err := i.Undo(soon, accounts)
		if err != nil && !errors.Is(err, reason) {
			return err
		}
		p.watch.outcomes(out)
		if time.Since(began) >= stopsWithin+cancelAfter {
			p.fail("%s after it was taken back, the undo had not ended", stopsWithin)
		}
		return nil
	})
	if err != nil {
		return err
	}
	out, err := p.undo(ctx, accounts)
	if err == nil {
		p.expect("in an undo that goes on", out, pluginapi.Deleted, pluginapi.Unchanged)
	}
	return err
}

// preface is how a client of HTTP/2 begins, with empty settings.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

func tryClientCertificate(ctx context.Context, p *probe) error {
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		at := plugin.Address(i.client)
		if at == nil {
			p.pointless = "nobody knows where it listens"
			return nil
		}
		for how, hello := range map[string]func(net.Conn) net.Conn{
			"without encryption": func(c net.Conn) net.Conn { return c },
			"without a certificate": func(c net.Conn) net.Conn {
				return tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // it is to be refused
			},
		} {
			raw, err := new(net.Dialer).DialContext(ctx, at.Network(), at.String())
			if err != nil {
				return fmt.Errorf("connect to the plugin: %w", err)
			}
			answered := speaks(hello(raw))
			_ = raw.Close()
			if answered {
				p.fail("somebody who comes %s gets an answer", how)
			}
		}
		return nil
	})
}

// speaks reports whether the other side answers in HTTP/2.
func speaks(c net.Conn) bool {
	if c.SetDeadline(time.Now().Add(stopsWithin)) != nil {
		return false
	}
	if _, err := c.Write([]byte(preface)); err != nil {
		return false
	}
	// A frame of settings: nine bytes, of which the fourth is its kind.
	frame := make([]byte, 9)
	n, _ := c.Read(frame)
	return n > 3 && frame[3] == 4
}

// A plugin that ends by a signal may take a while for it on a busy machine.
const (
	signalLooks = 10
	signalPause = 50 * time.Millisecond
)

func trySignals(ctx context.Context, p *probe) error {
	return p.with(ctx, func(ctx context.Context, i *instance) error {
		process, err := os.FindProcess(i.client.Info().PID)
		if err != nil {
			return err
		}
		for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
			if err := process.Signal(signal); err != nil {
				p.pointless = "this system cannot send it: " + err.Error()
				return nil //nolint:nilerr // where there are no signals, there is nothing to try
			}
			i.expectDeath = true    // which is what is found out
			for range signalLooks { // who obeys does so in a moment of its own
				out, err := i.Load(ctx, p.people(1))
				if err != nil {
					p.fail("after the signal %q it does not work any more: %v", signal, err)
					return nil
				}
				p.expect(fmt.Sprintf("after the signal %q", signal), out, pluginapi.Created)
				time.Sleep(signalPause)
			}
		}
		return nil
	})
}
