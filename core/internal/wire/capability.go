package wire

import (
	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// EncodeCapabilities never fails.
func EncodeCapabilities(c *pluginapi.Capabilities) *pluginpb.Capabilities {
	p := &pluginpb.Capabilities{
		Carries:   cleanAll(c.Carries),
		Abilities: cleanAll(c.Abilities),
		Batch: &pluginpb.BatchLimits{
			Users:    int64(c.Batch.Users),
			Bytes:    int64(c.Batch.Bytes),
			InFlight: int64(c.Batch.InFlight),
		},
		MaxIdLength: int64(c.MaxIDLength),
		UniqueEmail: c.UniqueEmail,
		Whole:       c.Whole,
		Identity:    cleanAll(c.Identity),

		NoUsernames:    c.NoUsernames,
		UniqueInTenant: cleanAll(c.UniqueInTenant),
		SignIns:        encodeSignIns(c.SignIns),
		OnlyTenant:     clean(c.OnlyTenant),

		UniqueIdentities: c.UniqueIdentities,
	}
	for identifier, folds := range c.FoldsCase {
		if p.FoldsCase == nil {
			p.FoldsCase = map[string]bool{}
		}
		p.FoldsCase[clean(string(identifier))] = folds
	}
	for identifier, f := range c.Folding {
		if p.Folds == nil {
			p.Folds = map[string]*pluginpb.Folding{}
		}
		p.Folds[clean(string(identifier))] = &pluginpb.Folding{Trims: f.Trims, Normalization: clean(string(f.Normalization))}
	}
	for _, h := range c.Hashes {
		p.Hashes = append(p.Hashes, &pluginpb.HashSupport{
			Scheme:       clean(string(h.Scheme)),
			Variants:     cleanAll(h.Variants),
			MinCost:      int64(h.MinCost),
			MaxCost:      int64(h.MaxCost),
			MaxMemoryKib: h.MaxMemoryKiB,
		})
	}
	return p
}

// DecodeCapabilities keeps names that this version does not know: they are
// harmless, and a report may show them.
func DecodeCapabilities(p *pluginpb.Capabilities) pluginapi.Capabilities {
	c := pluginapi.Capabilities{
		Carries:   names[pluginapi.Feature](p.GetCarries()),
		Abilities: names[pluginapi.Ability](p.GetAbilities()),
		Batch: pluginapi.BatchLimits{
			Users:    int(p.GetBatch().GetUsers()),
			Bytes:    int(p.GetBatch().GetBytes()),
			InFlight: int(p.GetBatch().GetInFlight()),
		},
		MaxIDLength: int(p.GetMaxIdLength()),
		UniqueEmail: p.GetUniqueEmail(),
		Whole:       p.GetWhole(),
		Identity:    p.GetIdentity(),

		NoUsernames:    p.GetNoUsernames(),
		UniqueInTenant: names[pluginapi.Identifier](p.GetUniqueInTenant()),
		SignIns:        DecodeSignIns(p.GetSignIns()),
		OnlyTenant:     p.GetOnlyTenant(),

		UniqueIdentities: p.GetUniqueIdentities(),
	}
	for identifier, folds := range p.GetFoldsCase() {
		if c.FoldsCase == nil {
			c.FoldsCase = map[pluginapi.Identifier]bool{}
		}
		c.FoldsCase[pluginapi.Identifier(identifier)] = folds
	}
	for identifier, f := range p.GetFolds() {
		if c.Folding == nil {
			c.Folding = map[pluginapi.Identifier]pluginapi.Folding{}
		}
		c.Folding[pluginapi.Identifier(identifier)] = pluginapi.Folding{Trims: f.GetTrims(), Normalization: pluginapi.Normalization(f.GetNormalization())}
	}
	for _, h := range p.GetHashes() {
		c.Hashes = append(c.Hashes, pluginapi.HashSupport{
			Scheme:       canonical.Scheme(h.GetScheme()),
			Variants:     h.GetVariants(),
			MinCost:      int(h.GetMinCost()),
			MaxCost:      int(h.GetMaxCost()),
			MaxMemoryKiB: h.GetMaxMemoryKib(),
		})
	}
	return c
}

// EncodeChecked never fails.
func EncodeChecked(c *pluginapi.Checked) *pluginpb.CheckResponse {
	return &pluginpb.CheckResponse{Diagnostics: EncodeDiagnostics(c.Diagnostics), Mails: cleanAll(c.Mails), SignIns: encodeSignIns(c.SignIns)}
}

// DecodeMailings keeps names that this version does not know.
func DecodeMailings(all []string) []pluginapi.Mailing { return names[pluginapi.Mailing](all) }

var switches = map[pluginapi.Switch]pluginpb.Switch{
	pluginapi.SwitchUnknown: pluginpb.Switch_SWITCH_UNSPECIFIED,
	pluginapi.SwitchOn:      pluginpb.Switch_SWITCH_ON,
	pluginapi.SwitchOff:     pluginpb.Switch_SWITCH_OFF,
}

func encodeSignIns(all []pluginapi.SignIn) []*pluginpb.SignIn {
	var out []*pluginpb.SignIn
	for _, s := range all {
		out = append(out, &pluginpb.SignIn{Way: clean(string(s.Way)), Provider: clean(s.Provider), State: switches[s.State]})
	}
	return out
}

// DecodeSignIns keeps ways that this version does not know, and reads a state that it
// does not know as unknown.
func DecodeSignIns(all []*pluginpb.SignIn) []pluginapi.SignIn {
	var out []pluginapi.SignIn
	for _, p := range all {
		state, _ := decode(switches, p.GetState())
		out = append(out, pluginapi.SignIn{Way: pluginapi.SignInWay(p.GetWay()), Provider: p.GetProvider(), State: state})
	}
	return out
}

// EncodeNeeds never fails.
func EncodeNeeds(n *pluginapi.Needs) *pluginpb.Needs {
	return &pluginpb.Needs{
		Schemes: cleanAll(n.Schemes), Providers: cleanAll(n.Providers),
		Roles: cleanAll(n.Roles), Tenants: cleanAll(n.Tenants), MetadataKeys: cleanAll(n.MetadataKeys),
		Users: int64(n.Users), Resets: int64(n.Resets), WithoutEmail: int64(n.WithoutEmail), WithoutName: int64(n.WithoutName), DryRun: n.DryRun,
		RoleUsers: encodeCounts(n.RoleUsers), TenantUsers: encodeCounts(n.TenantUsers), Broker: encodeBroker(n.Broker),
	}
}

func encodeBroker(b *pluginapi.Broker) *pluginpb.Broker {
	if b == nil {
		return nil
	}
	return &pluginpb.Broker{Issuer: clean(b.Issuer), ClientId: clean(b.ClientID), ClientSecret: b.ClientSecret.Reveal(), Exchange: b.Exchange, Algorithm: clean(b.Algorithm)}
}

func decodeBroker(p *pluginpb.Broker) *pluginapi.Broker {
	if p == nil {
		return nil
	}
	return &pluginapi.Broker{Issuer: p.GetIssuer(), ClientID: p.GetClientId(), ClientSecret: canonical.NewSecret(p.GetClientSecret()), Exchange: p.GetExchange(), Algorithm: p.GetAlgorithm()}
}

// EncodeSetup never fails.
func EncodeSetup(s *pluginapi.Setup) *pluginpb.Setup {
	if s == nil {
		return nil
	}
	return &pluginpb.Setup{AdminToken: s.AdminToken.Reveal(), Show: s.Show}
}

// DecodeSetup never fails.
func DecodeSetup(p *pluginpb.Setup) pluginapi.Setup {
	return pluginapi.Setup{AdminToken: canonical.NewSecret(p.GetAdminToken()), Show: p.GetShow()}
}

// EncodeSteps never fails.
func EncodeSteps(steps []pluginapi.SetupStep) (out []*pluginpb.SetupStep) {
	for _, s := range steps {
		out = append(out, &pluginpb.SetupStep{What: clean(s.What), RequestJson: clean(string(s.Request)), Command: clean(s.Command)})
	}
	return out
}

// DecodeSteps never fails.
func DecodeSteps(p []*pluginpb.SetupStep) (out []pluginapi.SetupStep) {
	for _, s := range p {
		out = append(out, pluginapi.SetupStep{What: s.GetWhat(), Request: []byte(s.GetRequestJson()), Command: s.GetCommand()})
	}
	return out
}

// DecodeNeeds never fails.
func DecodeNeeds(p *pluginpb.Needs) pluginapi.Needs {
	return pluginapi.Needs{
		Schemes:   names[canonical.Scheme](p.GetSchemes()),
		Providers: p.GetProviders(),
		Roles:     p.GetRoles(), Tenants: p.GetTenants(), MetadataKeys: p.GetMetadataKeys(),
		Users: int(p.GetUsers()), Resets: int(p.GetResets()),
		WithoutEmail: int(p.GetWithoutEmail()), WithoutName: int(p.GetWithoutName()), DryRun: p.GetDryRun(),
		RoleUsers: decodeCounts(p.GetRoleUsers()), TenantUsers: decodeCounts(p.GetTenantUsers()), Broker: decodeBroker(p.GetBroker()),
	}
}

func encodeCounts(m map[string]int) map[string]int64 {
	if m == nil {
		return nil
	}
	out := make(map[string]int64, len(m))
	for name, n := range m {
		out[clean(name)] += int64(n)
	}
	return out
}

func decodeCounts(m map[string]int64) map[string]int {
	if m == nil {
		return nil
	}
	out := make(map[string]int, len(m))
	for name, n := range m {
		out[name] = int(n)
	}
	return out
}

func names[S ~string](all []string) []S {
	var out []S
	for _, s := range all {
		out = append(out, S(s))
	}
	return out
}
