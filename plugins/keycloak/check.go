package keycloak

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

const (
	// minVersion is the first server that keeps the ids it is given.
	minVersion = 23
	// testedVersion is the first one that the tests use.
	testedVersion = 26
)

// preflight looks at a realm before a run.
type preflight struct {
	config Config
	api    *api
	// providers are the identity providers of the realm, by alias, and whether they are
	// enabled; nil where they could not be read.
	providers map[string]bool
}

// Check implements [sdk.Checker]. It asks for features rather than versions:
// most accounts may not read the version.
func (t *live) Check(ctx context.Context, needs sdk.Needs) sdk.Diagnostics {
	var l sdk.Diagnostics
	p := &preflight{config: t.config, api: t.api}
	t.signIns = nil
	p.checkAddress(&l)
	token, err := t.api.bearer(ctx) // one attempt: an operator is waiting
	if err != nil {
		l.Add(failed("sign in", err))
		return l
	}
	facts, err := t.api.realmFacts(ctx)
	if status(err) == http.StatusNotFound && t.config.Create {
		return append(l, checkTemplate(ctx, t, token, needs)...)
	}
	if status(err) == http.StatusNotFound {
		l.Add(realmMissing(t.config))
		return l
	}
	if err != nil {
		l.Add(failed("read the realm", err))
		return l
	}
	t.mailsUnverified = facts.VerifyEmail
	p.checkRoles(ctx, &l, token, facts)
	if l.HasErrors() {
		return l // the rest would only say the same
	}
	p.checkServer(ctx, &l, needs, facts)
	checkProvider(ctx, t.api, &l)
	p.checkRealm(&l, facts)
	p.checkFederations(ctx, &l)
	p.checkProfile(ctx, &l, needs)
	p.checkIdentityProviders(ctx, &l, needs)
	checkBridge(ctx, t, &l, needs.Broker)
	p.checkPower(ctx, &l, needs)
	checkAllowed(ctx, p, &l, &t.DefinedRoles)
	checkProof(ctx, p, &l, needs, token)
	t.signIns = signInReader{t.api, t.config, p.providers}.read(ctx, needs, facts)
	return l
}

// Mails implements [sdk.Mailer]: loading mails nobody, but a realm that verifies
// addresses mails whoever has not proven one at the first sign-in.
func (t *seen) Mails() []sdk.Mailing {
	if t.mailsUnverified {
		return []sdk.Mailing{sdk.MailsUnverified}
	}
	return nil
}

func (t *preflight) checkAddress(l *sdk.Diagnostics) {
	u, err := url.Parse(t.config.URL)
	if err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codePlainHTTP, Path: "/url",
			Summary: "password hashes and the client secret will cross the network in clear text", Hint: "use the https address of the server",
		})
	}
	if t.config.Realm == "master" && !t.config.AcceptMaster {
		l.Add(sdk.Diagnostic{
			Code: codeMasterRealm, Path: "/realm", Summary: "master is the realm of the server's administrators",
			Detail: "a user with a role called admin would administer every realm", Hint: "create another realm for the users, or set accept_master: true if this is what you want",
		})
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// checkRoles reads the token, and where that says nothing (a lightweight token)
// tries.
func (t *preflight) checkRoles(ctx context.Context, l *sdk.Diagnostics, token string, facts realmFacts) {
	const (
		imports = "users cannot be imported"
		reads   = "the users of the realm cannot be read"
	)
	if roles := tokenRoles(token, t.config); roles != nil {
		if !roles["manage-realm"] {
			l.Add(missingRole("manage-realm", imports))
		}
		if !roles["view-users"] && !roles["manage-users"] {
			l.Add(missingRole("view-users", reads))
		}
		if t.config.Tenants == tenantsAsGroups && !roles["manage-users"] {
			d := missingRole("manage-users", "groups for tenants cannot be created")
			d.Severity = sdk.Warning
			l.Add(d)
		}
		return
	}
	if facts.DefaultRole == nil {
		l.Add(missingRole("manage-realm", imports))
	}
	n, err := t.api.countUsers(ctx)
	var page []account
	if err == nil {
		page, err = t.api.listUsers(ctx, 0, 1)
	}
	switch {
	case status(err) == http.StatusForbidden, err == nil && n > 0 && len(page) == 0: // query-users alone lists nobody
		l.Add(missingRole("view-users", reads))
	case err != nil:
		l.Add(failed("list users", err))
	}
}

// tokenRoles returns the admin roles a token names for the realm, nil when it
// names none for any client. The token came straight from the server, so its
// signature is not checked.
func tokenRoles(token string, c Config) map[string]bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims struct {
		Access map[string]struct {
			Roles []string `json:"roles"`
		} `json:"resource_access"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Access == nil {
		return nil
	}
	client := "realm-management"
	if c.AuthRealm == "master" {
		client = c.Realm + "-realm"
	}
	roles := map[string]bool{}
	for _, r := range claims.Access[client].Roles {
		roles[r] = true
	}
	return roles
}

func (t *preflight) checkServer(ctx context.Context, l *sdk.Diagnostics, needs sdk.Needs, facts realmFacts) {
	var info struct {
		System struct {
			Version string `json:"version"`
		} `json:"systemInfo"`
		Memory struct {
			Total int64 `json:"total"`
		} `json:"memoryInfo"`
		CPU struct {
			Count int64 `json:"processorCount"`
		} `json:"cpuInfo"`
		Providers map[string]struct {
			Providers map[string]json.RawMessage `json:"providers"`
		} `json:"providers"`
	}
	if err := t.api.read(ctx, "/serverinfo", nil, &info); err != nil {
		l.Add(incomplete("which password hashing providers the server has", err))
		return
	}
	major, _, _ := strings.Cut(info.System.Version, ".")
	checkVersion(l, info.System.Version, major)
	hashing := info.Providers["password-hashing"].Providers
	has := func(provider string) bool { _, ok := hashing[provider]; return ok }
	if slices.Contains(needs.Schemes, sdk.Bcrypt) && !has("bcrypt") {
		l.Add(sdk.Diagnostic{
			Code: codeBcryptMissing, Summary: "the server has no password hashing provider called bcrypt",
			Detail: "without it every old password is refused as wrong, and brute force detection locks the accounts",
			Hint:   `run "stetl plugin assets keycloak --out DIR" and copy the jar into the server's providers/ folder, then restart (or kc.sh build)`,
		})
	}
	argon2 := func(s sdk.Scheme) bool {
		return s == sdk.Argon2id || s == sdk.Argon2i || s == sdk.Argon2d
	}
	if slices.ContainsFunc(needs.Schemes, argon2) && !has("argon2") {
		l.Add(sdk.Diagnostic{
			Code: codeArgon2Missing, Summary: "the server has no password hashing provider called argon2",
			Detail: "Keycloak has it since version 25, but not in FIPS mode", Hint: "upgrade the server to 25 or later",
		})
	}
	if slices.ContainsFunc(needs.Schemes, argon2) {
		checkHeap(l, info.Memory.Total, info.CPU.Count)
	}
	t.checkPolicy(l, facts.PasswordPolicy, has)
}

// checkProvider names a jar that lacks what this program asks it for.
func checkProvider(ctx context.Context, a *api, l *sdk.Diagnostics) {
	about, err := provided{a}.endpoints(ctx)
	if err == nil && about.old() {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeOldProvider, Summary: "the server has an older provider of stetl",
			Detail: "it lacks requests that this version of stetl uses: whether accounts have the passwords of the source, which accounts have a name, whether other realms have the ids of new accounts, what has changed in accounts since. Without these, more is unknown and undo is slow",
			Hint:   `run "stetl plugin assets keycloak --out DIR", copy the jar over the one in the server's providers/ folder, and restart`,
		})
	}
}

func checkVersion(l *sdk.Diagnostics, version, major string) {
	n, err := strconv.Atoi(major)
	switch {
	case err != nil: // hidden
	case n < minVersion:
		l.Add(sdk.Diagnostic{
			Code: codeTooOld, Summary: fmt.Sprintf("Keycloak %s would give every user a new id", version), Hint: fmt.Sprintf("upgrade the server to %d or later", testedVersion),
		})
	case n < testedVersion:
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeUntested, Summary: fmt.Sprintf("stetl was not tested with Keycloak %s", version), Hint: fmt.Sprintf("upgrade the server to %d or later, or try it with a copy of the realm", testedVersion),
		})
	}
}

// checkHeap compares what sign-ins with SuperTokens' argon2 parameters take with the
// server's heap. Only administrators of the server may see that.
func checkHeap(l *sdk.Diagnostics, heap, processors int64) {
	const (
		signIn = 88 << 20  // 87795 KiB, and as many sign-ins run at a time as there are processors
		itself = 250 << 20 // a server with nothing to do
	)
	if need := itself + signIn*max(processors, 1); heap > 0 && heap < need {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeHeapSmall, Path: "/url",
			Summary: fmt.Sprintf("the server has %d MB of heap; sign-ins with argon2 hashes of SuperTokens may need %d MB", heap>>20, need>>20),
			Detail:  "each takes 88 MB until the server has replaced the hash by one of its own; a server without memory crashes",
			Hint:    "set JAVA_OPTS_KC_HEAP to more, or the option cpu-cores of the provider argon2 to less, until the users have signed in once",
		})
	}
}

// checkRealm looks at settings of the realm that keep people out.
func (t *preflight) checkRealm(l *sdk.Diagnostics, facts realmFacts) {
	if t.config.Tenants == tenantsAsOrganizations && !facts.Organizations {
		l.Add(sdk.Diagnostic{
			Code: codeOrganizationsOff, Path: "/tenants", Summary: "the realm has organizations switched off",
			Hint: "run check --fix, or switch on Organizations in Realm settings > General (Keycloak 26 or later)",
		})
	}
	if facts.BruteForce && facts.PermanentLockout && facts.TemporaryLockouts == 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codePermanentLockout, Path: "/realm",
			Summary: fmt.Sprintf("the realm locks accounts permanently after %d wrong passwords", facts.FailureFactor),
			Detail:  "in the first days many people try several passwords, and an administrator has to unlock each account",
			Hint:    "lock temporarily until the users have moved (Realm settings > Security defenses > Brute force detection)",
		})
	}
	if facts.EmailLogin != nil && !*facts.EmailLogin && !facts.EmailAsUsername {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeEmailLoginOff, Path: "/realm",
			Summary: "the realm does not let people sign in with their e-mail address",
			Detail:  "it still works for people whose user name is their address, until one of the two changes",
			Hint:    `switch on "Login with email" in Realm settings > Login`,
		})
	}
	if !facts.EditUsername && !facts.EmailAsUsername {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeUsernamesFixed, Path: "/realm",
			Summary: "the realm does not allow changing user names",
			Detail:  "if the address or phone number that is the user name changes, the old one stays as the name to sign in with; everything else is carried",
			Hint:    `run check --fix, or switch on "Edit username" in Realm settings > Login; people can then change their user names in the account console, and people whose name the user profile does not allow are asked for a new one: switch it off again afterwards`,
		})
	}
	if facts.DuplicateEmails {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeDuplicateEmails, Path: "/realm",
			Summary: "the realm lets several accounts have the same e-mail address",
			Detail:  "accounts with the same address are all loaded; a password reset by address reaches only one of them",
			Hint:    `switch off "Duplicate emails" in Realm settings > Login, unless that is meant`,
		})
	}
}

func (t *preflight) checkPolicy(l *sdk.Diagnostics, policy string, has func(string) bool) {
	for rule := range strings.SplitSeq(policy, " and ") {
		name, value, _ := strings.Cut(strings.TrimSpace(rule), "(")
		value = strings.TrimSuffix(value, ")")
		switch name {
		case "hashAlgorithm":
			if value != "" && !has(value) {
				l.Add(sdk.Diagnostic{
					Code: codePolicyAlgorithm, Summary: fmt.Sprintf("the password policy of the realm names the hashing algorithm %s, which the server does not have", value),
					Detail: "every sign-in fails, with the right password too", Hint: "install that provider or choose another algorithm in Authentication > Policies",
				})
			}
		case "forceExpiredPasswordChange":
			l.Add(sdk.Diagnostic{
				Severity: sdk.Warning, Code: codePasswordExpiry, Summary: fmt.Sprintf("the password policy expires passwords after %s days", value),
				Detail: "SuperTokens does not record when a password was set, so the account's age counts: older users must choose a new one at the first sign-in",
				Hint:   "lift the policy until the users have moved",
			})
		}
	}
}

func (t *preflight) checkProfile(ctx context.Context, l *sdk.Diagnostics, needs sdk.Needs) {
	profile, err := t.api.userProfile(ctx)
	if err != nil {
		l.Add(incomplete("which fields the user profile requires", err))
		return
	}
	required, scoped := profile.required()
	if len(required)+len(scoped) > 0 && verifiesProfile(ctx, t.api) {
		checkRequired(l, required, scoped)
	}
	checkHidden(l, profile, needs)
}

func checkRequired(l *sdk.Diagnostics, required []string, scoped map[string][]string) {
	const detail = `a user without them must fill in a form at the first sign-in, and a direct grant answers "Account is not fully set up"`
	if len(required) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeProfileRequired,
			Summary: fmt.Sprintf("the user profile of the realm requires %s", joinList(required)), Detail: detail,
			Hint: `run check --fix, or in Realm settings > User profile switch off "Required field" for them, or disable the required action Verify Profile`,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(scoped)) {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeProfileRequired,
			Summary: fmt.Sprintf("the user profile of the realm requires %s from people who sign in with the scope %s", name, joinList(scoped[name])), Detail: detail,
			Hint: `in Realm settings > User profile switch off "Required field" for it until the users have it; check --fix leaves what is for a scope alone`,
		})
	}
}

// checkHidden names what administrators do not see, or see and cannot change, of what a
// load writes.
func checkHidden(l *sdk.Diagnostics, profile *userProfile, needs sdk.Needs) {
	switch profile.Unmanaged {
	case "":
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributesHidden,
			Summary: "the realm hides user attributes that its profile does not declare",
			Detail:  "metadata and phone numbers will be stored, but neither administrators nor the account console will see them, and later changes cannot be carried",
			Hint:    `run check --fix, or in Realm settings > General set "Unmanaged attributes" to "Only administrators can write"`,
		})
	case adminsEdit, everybodyEdits:
	default:
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributesFixed,
			Summary: "administrators may not change user attributes that the profile of the realm does not declare",
			Detail:  "metadata and phone numbers are set for new accounts only; later changes cannot be carried",
			Hint:    `run check --fix, or in Realm settings > General set "Unmanaged attributes" to "Only administrators can write"`,
		})
	}
	fields := []string{fieldUsername, fieldEmail, fieldGivenName, fieldFamilyName, attrPhone, attrPhoneVerified, attrOtherEmails, attrOtherIdentities, attrMetadata}
	for _, key := range needs.MetadataKeys {
		fields = append(fields, attrMetadata+"."+key)
	}
	var hidden, fixed []string
	for _, name := range fields {
		switch {
		case profile.declared(name) == nil:
		case !profile.shows(name):
			hidden = append(hidden, name)
		case !profile.takesChanges(name):
			fixed = append(fixed, name)
		}
	}
	const hint = `in Realm settings > User profile let administrators view and edit them`
	if len(hidden) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributesHidden, Summary: "the user profile of the realm hides from administrators " + joinList(hidden),
			Detail: "they are set for new accounts only; later changes cannot be carried", Hint: hint,
		})
	}
	if len(fixed) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeAttributesFixed, Summary: "the user profile of the realm lets no administrator change " + joinList(fixed),
			Detail: "they are set for new accounts only; later changes cannot be carried", Hint: hint,
		})
	}
}

// verifiesProfile reports whether sign-ins look at the profile; they do unless
// the realm is known to have switched that off.
func verifiesProfile(ctx context.Context, a *api) bool {
	var actions []struct {
		Alias   string `json:"alias"`
		Enabled bool   `json:"enabled"`
	}
	if err := a.read(ctx, a.realmPath("authentication", "required-actions"), nil, &actions); err != nil {
		return true
	}
	for _, x := range actions {
		if x.Alias == "VERIFY_PROFILE" {
			return x.Enabled
		}
	}
	return false
}

func (t *preflight) checkIdentityProviders(ctx context.Context, l *sdk.Diagnostics, needs sdk.Needs) {
	if len(needs.Providers) == 0 {
		return
	}
	var instances []struct {
		Alias   string `json:"alias"`
		Enabled bool   `json:"enabled"`
	}
	if err := t.api.read(ctx, t.api.realmPath("identity-provider", "instances"), url.Values{"briefRepresentation": {"true"}, "max": {"1000"}}, &instances); err != nil {
		l.Add(incomplete("which identity providers the realm has (role view-identity-providers)", err))
		return
	}
	t.providers = map[string]bool{}
	for _, i := range instances {
		t.providers[i.Alias] = i.Enabled
	}
	missing, disabled := map[string]bool{}, map[string]bool{}
	for _, p := range needs.Providers {
		alias := cmp.Or(t.config.IdentityProviders[p], p)
		switch enabled, there := t.providers[alias]; {
		case !there:
			missing[alias] = true
		case !enabled:
			disabled[alias] = true
		}
	}
	if len(disabled) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeProviderMissing, Path: "/identity_providers",
			Summary: "the realm has these identity providers switched off: " + joinList(slices.Sorted(maps.Keys(disabled))),
			Detail:  "the links are stored and work when the provider is switched on; until then these users cannot sign in with it",
			Hint:    "switch the provider on in the realm",
		})
	}
	if len(missing) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeProviderMissing, Path: "/identity_providers",
			Summary: "the realm has no identity provider called " + joinList(slices.Sorted(maps.Keys(missing))),
			Detail:  "the links are stored and begin to work when a provider with that alias is added; until then these users cannot sign in with it",
			Hint:    "add the provider to the realm, or name its alias in identity_providers",
		})
	}
}

func missingRole(role, consequence string) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeRoleMissing, Path: "/client_id", Summary: fmt.Sprintf("%s: the client lacks %s", consequence, role),
		Hint: fmt.Sprintf("give the client's service account the role %s of the client realm-management (of REALM-realm when auth_realm is master)", role),
	}
}

func realmMissing(c Config) sdk.Diagnostic {
	return sdk.Diagnostic{
		Code: codeRealmMissing, Path: "/realm", Summary: fmt.Sprintf("the server has no realm %q", c.Realm),
		Hint: "create it, or correct the name; names are case-sensitive",
	}
}

func incomplete(what string, err error) sdk.Diagnostic {
	return sdk.Diagnostic{
		Severity: sdk.Warning, Code: codeCheckIncomplete, Summary: "could not find out " + what, Detail: err.Error(),
		Hint: "give the service account realm-admin, or check it yourself",
	}
}

// failed explains why a request of the preflight did not succeed.
func failed(what string, err error) sdk.Diagnostic {
	if login, ok := errors.AsType[*loginError](err); ok {
		return loginProblem(login)
	}
	if status(err) == http.StatusForbidden {
		return missingRole("manage-realm", "the realm cannot be read")
	}
	return sdk.Diagnostic{
		Code: codeUnreachable, Path: "/url", Summary: "the server does not answer as a Keycloak does: " + what, Detail: err.Error(),
		Hint: "check the url; servers before 17, and servers with http-relative-path, need /auth at its end",
	}
}

func loginProblem(e *loginError) sdk.Diagnostic {
	words := e.Error()
	switch {
	case strings.Contains(words, "HTTPS required"):
		return sdk.Diagnostic{
			Code: codeHTTPSRequired, Path: "/url", Summary: "the realm does not accept requests in clear text", Detail: words,
			Hint: "use the https address of the server; behind a proxy that ends TLS, let the server trust its headers (proxy-headers)",
		}
	case strings.Contains(words, "Realm not enabled"):
		return sdk.Diagnostic{
			Code: codeRealmDisabled, Path: "/realm", Summary: fmt.Sprintf("the realm %q is switched off", e.realm), Detail: words,
			Hint: "switch it on at the top of its settings in the admin console",
		}
	}
	switch e.status() {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
		return sdk.Diagnostic{
			Code: codeLoginRefused, Path: "/client_id", Summary: "the server refuses the client", Detail: e.Error(),
			Hint: "check client_id, client_secret and auth_realm; the client needs Client authentication and Service accounts roles switched on",
		}
	case http.StatusNotFound:
		if !strings.Contains(words, "Realm does not exist") {
			return sdk.Diagnostic{
				Code: codeNoKeycloak, Path: "/url", Summary: "there is no Keycloak at this path of the server", Detail: words,
				Hint: "check the end of the url: servers before 17, and servers with http-relative-path, need /auth there; others must not have it",
			}
		}
		return sdk.Diagnostic{
			Code: codeRealmMissing, Path: "/auth_realm", Summary: fmt.Sprintf("there is no realm %q to sign in to", e.realm), Detail: e.Error(),
			Hint: "create it with a client for stetl, or check realm and auth_realm; names are case-sensitive",
		}
	}
	return sdk.Diagnostic{Code: codeUnreachable, Path: "/url", Summary: "the server cannot be reached", Detail: e.Error(), Hint: "check the url, the network and the certificate"}
}
