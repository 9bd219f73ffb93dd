package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// The Format methods that hide secrets would hide differences too.
var exact = cmp.Exporter(func(reflect.Type) bool { return true })

// trip sends a message through its binary form, as the transport does.
func trip[M proto.Message](t interface{ Fatalf(string, ...any) }, m M) M {
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	out, _ := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	return out
}

func TestUserRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawUser(t)
		p, err := EncodeUser(&want)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		got, err := DecodeUser(trip(t, p))
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("round trip (-want +got):\n%s", cmp.Diff(want, got, exact))
		}
	})
}

func TestChangeRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := pluginapi.Change{
			Outcome: pluginapi.Outcome{
				SourceID: text(t, "source id"),
				Action:   rapid.SampledFrom(slices.Sorted(maps.Keys(actions))).Draw(t, "action"),
				TargetID: text(t, "target id"),
				Code:     diag.Code(text(t, "code")),
				Detail:   text(t, "detail"),
				Hint:     text(t, "hint"),
				Changed:  list(t, "changed", text),
				State:    blob(t, "state"),
				Before:   blob(t, "before"),
				Losses: list(t, "losses", func(t *rapid.T, label string) pluginapi.PartLoss {
					return pluginapi.PartLoss{Feature: pluginapi.Feature(text(t, label)), Code: diag.Code(text(t, label)), Attribute: text(t, label), Detail: text(t, label)}
				}),
			},
			Fields: list(t, "fields", func(t *rapid.T, label string) pluginapi.FieldChange {
				return pluginapi.FieldChange{Field: text(t, label), Old: text(t, label), New: text(t, label), Drift: rapid.Bool().Draw(t, label)}
			}),
		}
		got, err := DecodeChange(trip(t, EncodeChange(&want)))
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func TestCapabilitiesRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := drawCapabilities(t)
		got := DecodeCapabilities(trip(t, EncodeCapabilities(&want)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func TestDescriptionRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SampledFrom([]json.RawMessage{nil, json.RawMessage(`"a"`), json.RawMessage(`{"b":[1]}`)})
		want := pluginapi.Description{
			Name: text(t, "name"), Version: text(t, "version"), Minor: rapid.Uint32().Draw(t, "minor"),
			Capabilities: drawCapabilities(t), ConfigSchema: json.RawMessage(`{"type":"object"}`),
			ConfigFields: list(t, "config fields", func(t *rapid.T, label string) pluginapi.ConfigField {
				return pluginapi.ConfigField{
					Key: text(t, label), Title: text(t, label), Description: text(t, label), Default: values.Draw(t, "default"), Example: values.Draw(t, "example"),
					Required: rapid.Bool().Draw(t, "required"), Secret: rapid.Bool().Draw(t, "secret"),
				}
			}),
			Codes: list(t, "codes", func(t *rapid.T, label string) diag.Info {
				return diag.Info{
					Code: diag.Code(text(t, label)), Meaning: text(t, label), Remedy: text(t, label), Path: text(t, label), Permanent: rapid.Bool().Draw(t, "permanent"),
				}
			}),
		}
		got := DecodeDescription(trip(t, EncodeDescription(&want)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func TestCheckedRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := pluginapi.Checked{
			Mails:   list(t, "mails", func(t *rapid.T, l string) pluginapi.Mailing { return pluginapi.Mailing(text(t, l)) }),
			SignIns: list(t, "sign-ins", drawSignIn),
		}
		p := trip(t, EncodeChecked(&want))
		got := pluginapi.Checked{Diagnostics: DecodeDiagnostics(p.GetDiagnostics()), Mails: DecodeMailings(p.GetMails()), SignIns: DecodeSignIns(p.GetSignIns())}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func drawSignIn(t *rapid.T, label string) pluginapi.SignIn {
	return pluginapi.SignIn{
		Way: pluginapi.SignInWay(text(t, label)), Provider: text(t, label),
		State: rapid.SampledFrom([]pluginapi.Switch{pluginapi.SwitchUnknown, pluginapi.SwitchOn, pluginapi.SwitchOff}).Draw(t, "state"),
	}
}

// A state of tomorrow is no reason to refuse an answer.
func TestUnknownSwitchIsUnknown(t *testing.T) {
	t.Parallel()
	got := DecodeSignIns([]*pluginpb.SignIn{{Way: "password", State: 99}})
	if len(got) != 1 || got[0].State != pluginapi.SwitchUnknown {
		t.Errorf("%v", got)
	}
}

func drawCapabilities(t *rapid.T) pluginapi.Capabilities {
	number := rapid.IntRange(0, 1<<40)
	want := pluginapi.Capabilities{
		Hashes: list(t, "hashes", func(t *rapid.T, label string) pluginapi.HashSupport {
			return pluginapi.HashSupport{
				Scheme:       canonical.Scheme(text(t, label)),
				Variants:     list(t, "variants", text),
				MinCost:      number.Draw(t, "min cost"),
				MaxCost:      number.Draw(t, "max cost"),
				MaxMemoryKiB: rapid.Uint32().Draw(t, "memory"),
			}
		}),
		Carries:     list(t, "carries", func(t *rapid.T, l string) pluginapi.Feature { return pluginapi.Feature(text(t, l)) }),
		Abilities:   list(t, "abilities", func(t *rapid.T, l string) pluginapi.Ability { return pluginapi.Ability(text(t, l)) }),
		Batch:       pluginapi.BatchLimits{Users: number.Draw(t, "users"), Bytes: number.Draw(t, "bytes"), InFlight: number.Draw(t, "in flight")},
		MaxIDLength: number.Draw(t, "max id length"),
		UniqueEmail: rapid.Bool().Draw(t, "unique email"),
		Whole:       rapid.Bool().Draw(t, "whole"),
		Identity:    list(t, "identity", text),

		NoUsernames:    rapid.Bool().Draw(t, "no user names"),
		OnlyTenant:     text(t, "only tenant"),
		UniqueInTenant: list(t, "unique in tenant", func(t *rapid.T, l string) pluginapi.Identifier { return pluginapi.Identifier(text(t, l)) }),
		SignIns:        list(t, "sign-ins", drawSignIn),

		UniqueIdentities: rapid.Bool().Draw(t, "unique identities"),
	}
	if n := rapid.IntRange(0, 3).Draw(t, "identifiers"); n > 0 {
		want.FoldsCase = map[pluginapi.Identifier]bool{}
		for range n {
			want.FoldsCase[pluginapi.Identifier(text(t, "identifier"))] = rapid.Bool().Draw(t, "folds case")
		}
	}
	if n := rapid.IntRange(0, 2).Draw(t, "folded identifiers"); n > 0 {
		want.Folding = map[pluginapi.Identifier]pluginapi.Folding{}
		for range n {
			want.Folding[pluginapi.Identifier(text(t, "identifier"))] = pluginapi.Folding{
				Trims: rapid.Bool().Draw(t, "trims"), Normalization: pluginapi.Normalization(text(t, "normalization")),
			}
		}
	}
	return want
}

func TestNeedsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := pluginapi.Needs{
			Schemes:   list(t, "schemes", func(t *rapid.T, l string) canonical.Scheme { return canonical.Scheme(text(t, l)) }),
			Providers: list(t, "providers", text),
			Roles:     list(t, "roles", text), Tenants: list(t, "tenants", text), MetadataKeys: list(t, "keys", text),
			Users: rapid.Int().Draw(t, "users"), Resets: rapid.Int().Draw(t, "resets"),
			WithoutEmail: rapid.Int().Draw(t, "without email"), WithoutName: rapid.Int().Draw(t, "without name"), DryRun: rapid.Bool().Draw(t, "dry run"),
		}
		if rapid.Bool().Draw(t, "a bridge") {
			want.Broker = &pluginapi.Broker{Issuer: text(t, "issuer"), ClientID: text(t, "client"), ClientSecret: canonical.NewSecret("secret"), Exchange: rapid.Bool().Draw(t, "exchange"), Algorithm: text(t, "algorithm")}
		}
		if diff := cmp.Diff(want, DecodeNeeds(trip(t, EncodeNeeds(&want))), cmp.Comparer(func(a, b canonical.Secret) bool { return a.Reveal() == b.Reveal() })); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

func TestDiagnosticsRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := diag.List(list(t, "diagnostics", func(t *rapid.T, label string) diag.Diagnostic {
			return diag.Diagnostic{
				Severity: rapid.SampledFrom([]diag.Severity{diag.Error, diag.Warning}).Draw(t, "severity"),
				Code:     diag.Code(text(t, label)), Summary: text(t, label), Detail: text(t, label), Path: text(t, label), Hint: text(t, label),
			}
		}))
		m := trip(t, &pluginpb.CheckResponse{Diagnostics: EncodeDiagnostics(want)})
		if diff := cmp.Diff(want, DecodeDiagnostics(m.GetDiagnostics())); diff != "" {
			t.Fatalf("round trip (-want +got):\n%s", diff)
		}
	})
}

// A field added to a Go type and forgotten here would be dropped in silence.
func TestEveryFieldCrosses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		value any
		msg   proto.Message
		host  []string // fields that stay on one side
	}{
		{pluginapi.User{}, &pluginpb.User{}, nil},
		{pluginapi.Address{}, &pluginpb.Address{}, nil},
		{pluginapi.Identity{}, &pluginpb.Identity{}, nil},
		{canonical.TOTPDevice{}, &pluginpb.TotpDevice{}, nil},
		{pluginapi.Outcome{}, &pluginpb.Outcome{}, nil},
		{pluginapi.PartLoss{}, &pluginpb.PartLoss{}, nil},
		{pluginapi.Passkey{}, &pluginpb.Passkey{}, nil},
		{pluginapi.FieldChange{}, &pluginpb.FieldChange{}, nil},
		{pluginapi.Description{}, &pluginpb.DescribeResponse{}, nil},
		{pluginapi.ConfigField{}, &pluginpb.ConfigField{}, nil},
		{diag.Info{}, &pluginpb.CodeInfo{}, nil},
		{pluginapi.Folding{}, &pluginpb.Folding{}, nil},
		{pluginapi.SignIn{}, &pluginpb.SignIn{}, nil},
		{pluginapi.Checked{}, &pluginpb.CheckResponse{}, nil},
		{pluginapi.Capabilities{}, &pluginpb.Capabilities{}, nil},
		{pluginapi.HashSupport{}, &pluginpb.HashSupport{}, nil},
		{pluginapi.BatchLimits{}, &pluginpb.BatchLimits{}, nil},
		{pluginapi.Needs{}, &pluginpb.Needs{}, nil},
		{pluginapi.Broker{}, &pluginpb.Broker{}, nil},
		{pluginapi.Fixing{}, &pluginpb.FixRequest{}, nil},
		{pluginapi.Setup{}, &pluginpb.Setup{}, nil},
		{pluginapi.SetupStep{}, &pluginpb.SetupStep{}, nil},
		{pluginapi.Fixed{}, &pluginpb.FixResponse{}, nil},
		{pluginapi.Prior{}, &pluginpb.Prior{}, nil},
		{pluginapi.Account{}, &pluginpb.Account{}, nil},
		{pluginapi.Pulse{}, &pluginpb.Pulse{}, nil},
		{pluginapi.Failure{}, &pluginpb.Failure{}, nil},
		{pluginapi.Login{}, &pluginpb.LoginRequest{}, nil},
		{pluginapi.PasswordChange{}, &pluginpb.SetPasswordRequest{}, nil},
		{pluginapi.Reset{}, &pluginpb.StartResetRequest{}, nil},
		{pluginapi.Assertion{}, &pluginpb.ExchangeRequest{}, nil},
		{diag.Diagnostic{}, &pluginpb.Diagnostic{}, []string{"Pos", "Snippet"}},
	} {
		typ := reflect.TypeOf(tc.value)
		if got, want := tc.msg.ProtoReflect().Descriptor().Fields().Len(), typ.NumField()-len(tc.host); got != want {
			t.Errorf("%s has %d fields to carry, message %s has %d", typ, want, tc.msg.ProtoReflect().Descriptor().Name(), got)
		}
	}
}

// In other languages, debug_redact keeps these out of printed messages.
func TestSecretFieldsAreMarked(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		msg   proto.Message
		field protoreflect.Name
	}{
		{&pluginpb.Password{}, "encoded"},
		{&pluginpb.TotpDevice{}, "secret"},
		{&pluginpb.ConfigureRequest{}, "config_json"},
		{&pluginpb.ConfigureRequest{}, "fingerprint_key"},
		{&pluginpb.Outcome{}, "before"},
		{&pluginpb.Account{}, "before"},
		{&pluginpb.LoginRequest{}, "password"},
		{&pluginpb.Setup{}, "admin_token"},
		{&pluginpb.Broker{}, "client_secret"},
		{&pluginpb.SetPasswordRequest{}, "password"},
		{&pluginpb.ExchangeRequest{}, "assertion"},
		{&pluginpb.ExchangeResponse{}, "tokens_json"},
	} {
		f := tc.msg.ProtoReflect().Descriptor().Fields().ByName(tc.field)
		opts, ok := f.Options().(*descriptorpb.FieldOptions)
		if !ok || !opts.GetDebugRedact() {
			t.Errorf("%s is not marked debug_redact", f.FullName())
		}
	}
}

func TestEncodeUserRefuses(t *testing.T) {
	t.Parallel()
	const bad = "caf\xe9"
	for name, tc := range map[string]struct {
		spoil func(*pluginapi.User)
		want  string
	}{
		"latin-1 e-mail":   {func(u *pluginapi.User) { u.Email = bad }, "email is not UTF-8"},
		"latin-1 role":     {func(u *pluginapi.User) { u.Roles = map[string][]string{"public": {bad}} }, "role is not UTF-8"},
		"latin-1 tenant":   {func(u *pluginapi.User) { u.Roles = map[string][]string{bad: {"admin"}} }, "tenant is not UTF-8"},
		"latin-1 hash":     {func(u *pluginapi.User) { u.Password = canonical.ParsePasswordHash(bad) }, "password hash is not UTF-8"},
		"no class":         {func(u *pluginapi.User) { u.Class = "" }, `password class "" is none`},
		"unheard-of class": {func(u *pluginapi.User) { u.Class = "maybe" }, `password class "maybe" is none`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := pluginapi.User{SourceID: "u1", Class: pluginapi.NoPassword}
			tc.spoil(&u)
			_, err := EncodeUser(&u)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("error %v, want one with %q", err, tc.want)
			}
			if strings.Contains(err.Error(), bad) {
				t.Errorf("error repeats the value: %v", err)
			}
		})
	}
}

func TestDecodeRefusesUnknownEnums(t *testing.T) {
	t.Parallel()
	if _, err := DecodeUser(&pluginpb.User{SourceId: "u1"}); err == nil {
		t.Error("a user without class was accepted")
	}
	if _, err := DecodeUser(&pluginpb.User{SourceId: "u1", PasswordClass: 99}); err == nil {
		t.Error("a user of class 99 was accepted")
	}
	if o, err := DecodeOutcome(&pluginpb.Outcome{SourceId: "u1", Action: 99}); err == nil || o.SourceID != "u1" {
		t.Errorf("outcome %v, error %v; want the id and an error", o, err)
	}
}

func TestOutcomeTextIsRepaired(t *testing.T) {
	t.Parallel()
	p := trip(t, EncodeOutcome(&pluginapi.Outcome{SourceID: "u1", Action: pluginapi.Rejected, Detail: "Stra\xdfe"}))
	if got, want := p.GetDetail(), "Stra\uFFFDe"; got != want {
		t.Errorf("detail %q, want %q", got, want)
	}
}

// The seeds of the fuzz test run in every build.
func FuzzDecodeUser(f *testing.F) {
	u := pluginapi.User{SourceID: "u1", Class: pluginapi.HashCarried, Password: canonical.ParsePasswordHash(hashes[0]), Created: time.UnixMilli(1)}
	p, err := EncodeUser(&u)
	if err != nil {
		f.Fatal(err)
	}
	seed, err := proto.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p pluginpb.User
		if proto.Unmarshal(raw, &p) != nil {
			return // not a message
		}
		u, err := DecodeUser(&p)
		if err != nil {
			return
		}
		if _, err := EncodeUser(&u); err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
	})
}

var hashes = []string{
	"$2a$11$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
	"$argon2id$v=19$m=16,t=2,p=1$c29tZXNhbHQ$c29tZWRpZ2VzdHNvbWVkaWdlc3Q",
	"$f_scrypt$aGFzaA==$c2FsdA==$m=14$r=8$s=Bw==",
	"plain nonsense",
	"",
}

func drawUser(t *rapid.T) pluginapi.User {
	return pluginapi.User{
		SourceID:      text(t, "source id"),
		ID:            text(t, "id"),
		Username:      text(t, "username"),
		Email:         text(t, "email"),
		EmailVerified: maybe(t, "email verified"),
		Phone:         text(t, "phone"),
		PhoneVerified: maybe(t, "phone verified"),
		GivenName:     text(t, "given name"),
		FamilyName:    text(t, "family name"),
		OtherEmails: list(t, "other emails", func(t *rapid.T, label string) pluginapi.Address {
			return pluginapi.Address{Email: text(t, label), Verified: maybe(t, label)}
		}),
		Enabled:    rapid.Bool().Draw(t, "enabled"),
		Created:    moment(t, "created"),
		LastActive: moment(t, "last active"),
		Password:   canonical.ParsePasswordHash(rapid.SampledFrom(hashes).Draw(t, "password")),
		Class:      rapid.SampledFrom([]pluginapi.Class{pluginapi.HashCarried, pluginapi.NeedsReset, pluginapi.NoPassword}).Draw(t, "class"),
		Identities: list(t, "identities", func(t *rapid.T, label string) pluginapi.Identity {
			return pluginapi.Identity{Provider: text(t, label), Subject: text(t, label), Name: text(t, label)}
		}),
		TOTP: list(t, "totp", func(t *rapid.T, label string) canonical.TOTPDevice {
			return canonical.TOTPDevice{
				Name:     text(t, label),
				Secret:   canonical.NewSecret(text(t, label)),
				Period:   time.Duration(rapid.Int64().Draw(t, "period")),
				Skew:     rapid.Int().Draw(t, "skew"),
				Verified: rapid.Bool().Draw(t, "verified"),
				Created:  moment(t, "created"),
			}
		}),
		Passkeys: list(t, "passkeys", func(t *rapid.T, label string) pluginapi.Passkey {
			return pluginapi.Passkey{
				ID: text(t, label), RelyingParty: text(t, label), Attested: blob(t, "attested"), UserHandle: blob(t, "user handle"),
				Counter: rapid.Int64().Draw(t, "counter"), Transports: list(t, "transports", text), Name: text(t, label), Created: moment(t, "created"),
			}
		}),
		Tenants: list(t, "tenants", text),
		Roles:   roles(t),
		Metadata: rapid.SampledFrom([]json.RawMessage{
			nil, {}, json.RawMessage(`{}`), json.RawMessage(`{"n": 9007199254740993, "s":"<&>"}`), json.RawMessage("not json \xff"),
		}).Draw(t, "metadata"),
		Existing: rapid.SampledFrom([]pluginapi.Existing{pluginapi.Leave, pluginapi.Update}).Draw(t, "existing"),
		Prior:    pluginapi.Prior{TargetID: text(t, "target id"), State: blob(t, "state"), InDoubt: rapid.Bool().Draw(t, "in doubt"), Linked: list(t, "linked", text)},
		Expect:   rapid.SampledFrom([][]byte{nil, {}, {1, 2}}).Draw(t, "expect"),
	}
}

// blob never draws empty, non-nil bytes: on the wire the two are one.
func blob(t *rapid.T, label string) []byte {
	return rapid.SampledFrom([][]byte{nil, {0}, {1, 0xff, 0}}).Draw(t, label)
}

func TestAccountsRoundTrip(t *testing.T) {
	t.Parallel()
	want := []pluginapi.Account{{SourceID: "1", TargetID: "t1", State: []byte{1}}, {SourceID: "2", Before: []byte{}}, {SourceID: "3", Before: []byte("b")}}
	got := DecodeAccounts(trip(t, &pluginpb.UndoRequest{Accounts: EncodeAccounts(want)}).GetAccounts())
	if diff := cmp.Diff(want, got, exact); diff != "" {
		t.Fatalf("round trip (-want +got):\n%s", diff)
	}
}

func TestFailureRoundTrip(t *testing.T) {
	t.Parallel()
	want := &pluginapi.Failure{Code: "x.y", Detail: "d", Hint: "h"}
	got := DecodeFailure(trip(t, EncodeFailure(fmt.Errorf("wrapped: %w", want), "other")))
	if diff := cmp.Diff(error(want), got); diff != "" {
		t.Errorf("round trip (-want +got):\n%s", diff)
	}
	if f := EncodeFailure(errors.New("plain"), "other"); f.GetCode() != "other" || f.GetDetail() != "plain" {
		t.Errorf("plain error: %v", f)
	}
	if DecodeFailure(EncodeFailure(nil, "other")) != nil {
		t.Error("no error became a failure")
	}
}

func text(t *rapid.T, label string) string { return rapid.String().Draw(t, label) }

// list never draws an empty, non-nil slice: on the wire the two are one.
func list[T any](t *rapid.T, label string, draw func(*rapid.T, string) T) []T {
	var out []T
	for range rapid.IntRange(0, 3).Draw(t, "number of "+label) {
		out = append(out, draw(t, label))
	}
	return out
}

func roles(t *rapid.T) map[string][]string {
	var out map[string][]string
	for range rapid.IntRange(0, 2).Draw(t, "tenants with roles") {
		if out == nil {
			out = map[string][]string{}
		}
		out[text(t, "tenant")] = list(t, "roles", text)
	}
	return out
}

func maybe(t *rapid.T, label string) *bool {
	return rapid.SampledFrom([]*bool{nil, new(false), new(true)}).Draw(t, label)
}

// moment reaches far beyond what a calendar holds: source columns are int64
// milliseconds, whatever they contain.
func moment(t *rapid.T, label string) time.Time {
	if rapid.Bool().Draw(t, label+" absent") {
		return time.Time{}
	}
	return time.UnixMilli(rapid.Int64().Draw(t, label)).UTC()
}
