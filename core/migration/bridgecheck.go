package migration

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/config"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/supertokens/cutover"
	"github.com/stetl/stetl/core/supertokens/session"
)

// goodSecret is the length from which a secret is not guessed.
const goodSecret = 32

// checkBridge finds what would keep the bridge from doing what its configuration asks
// for, and what is dangerous. It writes nothing. That no run has been is an error when
// the bridge starts, and no reason not to begin with a run.
func checkBridge(ctx context.Context, m *Migration, noRun diag.Severity) diag.List {
	settings := m.cfg.Bridge
	if !settings.Set {
		return nil
	}
	found := exposed(settings)
	found.Add(unable(settings, m.target.Capabilities())...)
	if needsAccounts(settings) && !m.journal.hasAccounts(ctx) {
		found.Add(diag.Diagnostic{
			Severity: noRun, Code: diag.BridgeNoJournal, Path: "/journal", Summary: "no run has stored an account in this journal, so the bridge would know no account",
			Detail: "every instance needs the journal of the runs, for the same source and target", Hint: "run stetl run first, and start the bridge with its journal",
		})
	}
	writable, err := m.journal.exposed(ctx)
	if err != nil {
		found.Add(journalDiagnostic(diag.JournalUnreachable, err.Error()))
	}
	found.Add(writable...)
	sessions, err := session.Open(ctx, bridgeSource(m.cfg.Config, m.o.Accept), session.Config{Connections: 1, WithoutHashes: settings.Lazy.Token.IsZero()})
	if err != nil {
		found.Add(diag.Diagnostic{Code: diag.BridgeRights, Path: "/bridge/database", Summary: "the bridge cannot use the database", Detail: err.Error()})
		return m.cfg.Locate(found)
	}
	defer sessions.Close()
	found.Add(lackingRights(ctx, sessions, settings)...)
	return m.cfg.Locate(found)
}

// needsAccounts reports whether anything is served that is about accounts of the target.
func needsAccounts(c config.Bridge) bool {
	return len(c.Clients) > 0 || c.Exchange.Audience != "" || (c.Reset.Path != "" || c.Reset.APIPath != "") && !c.MatchEmail
}

// unable says what the target would be asked and cannot do.
func unable(c config.Bridge, target pluginapi.Capabilities) (found diag.List) {
	need := func(path, what string, can pluginapi.Ability) {
		if !target.Can(can) {
			found.Add(diag.Diagnostic{Code: diag.BridgeUnable, Path: path, Summary: "the target cannot " + what, Hint: "leave " + strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", ".") + " out"})
		}
	}
	if c.Exchange.Audience != "" {
		need("/bridge/exchange", "give tokens for a session", pluginapi.CanExchange)
	}
	switch {
	case c.Reset.Path == "" && c.Reset.APIPath == "":
	case c.Reset.Mode == "target":
		need("/bridge/reset", "run a reset of its own", pluginapi.CanStartReset)
	default:
		need("/bridge/reset", "set a password", pluginapi.CanSetPassword)
	}
	return found
}

// exposed warns of secrets that could be guessed, and of metrics that anybody may read.
func exposed(c config.Bridge) (found diag.List) {
	weak := func(path string, s canonical.Secret) {
		if n := len(s.Reveal()); n > 0 && n < goodSecret {
			found.Add(diag.Diagnostic{
				Severity: diag.Warning, Code: diag.BridgeExposed, Path: path, Summary: fmt.Sprintf("the secret has %d characters", n),
				Hint: fmt.Sprintf("make one of at least %d random characters, as openssl rand -base64 32 does", goodSecret),
			})
		}
	}
	for i, client := range c.Clients {
		weak(fmt.Sprintf("/bridge/clients/%d/secret", i), client.Secret)
	}
	weak("/bridge/lazy/token", c.Lazy.Token)
	host, _, err := net.SplitHostPort(c.AdminListen)
	if addr, parseErr := netip.ParseAddr(host); err == nil && host != "localhost" && (parseErr != nil || !addr.IsLoopback()) {
		found.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: diag.BridgeExposed, Path: "/bridge/admin_listen", Summary: "the metrics can be read from the network, without a password",
			Hint: "listen on a loopback address, or let only the collector of metrics reach this one",
		})
	}
	return found
}

// lackingRights says what the role of the bridge may not do and has to.
func lackingRights(ctx context.Context, sessions *session.Store, c config.Bridge) (found diag.List) {
	missing, err := cutover.MissingRights(ctx, sessions, bridgeUses(c))
	switch {
	case err != nil:
		found.Add(diag.Diagnostic{Code: diag.BridgeRights, Path: "/bridge/database", Summary: "the rights of the bridge's role cannot be read", Detail: err.Error()})
	case len(missing) > 0:
		found.Add(diag.Diagnostic{
			Code: diag.BridgeRights, Path: "/bridge/database", Summary: "the role of the bridge lacks " + strings.Join(missing, ", "),
			Hint: "have the owner run what stetl bridge --print-sql ROLE prints",
		})
	}
	return found
}

// bridgeUses says which of SuperTokens' tables the bridge changes.
func bridgeUses(c config.Bridge) cutover.Uses {
	resets := c.Reset.Path != "" || c.Reset.APIPath != ""
	return cutover.Uses{
		Sessions: len(c.Clients) > 0 || c.Exchange.Audience != "" || resets && c.Reset.EndsSessions(),
		Resets:   resets, Verifications: c.VerifyEmail.Path != "" || c.VerifyEmail.APIPath != "",
	}
}
