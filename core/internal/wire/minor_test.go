package wire

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// baseline is the protocol as programs speak it that were made before minor versions.
func baseline(t *testing.T) *protoregistry.Files {
	t.Helper()
	raw, err := os.ReadFile("../../pluginpb/baseline-v1.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// through sends m to a program that knows the messages of files, which passes on what it
// has understood.
func through[M proto.Message](t interface{ Fatalf(string, ...any) }, files *protoregistry.Files, m M) M {
	name := m.ProtoReflect().Descriptor().FullName()
	d, err := files.FindDescriptorByName(name)
	if err != nil {
		t.Fatalf("the old program has no %s: %v", name, err)
	}
	message, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		t.Fatalf("%s was no message", name)
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	old := dynamicpb.NewMessage(message)
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, old); err != nil {
		t.Fatalf("the old program cannot read %s: %v", name, err)
	}
	if raw, err = proto.Marshal(old); err != nil {
		t.Fatalf("marshal: %v", err)
	}
	out, _ := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(raw, out); err != nil {
		t.Fatalf("unmarshal: %v", err)
	}
	return out
}

// A plugin of minor version 0 hears all that there was, and nothing else.
func TestOldPluginGetsTheUser(t *testing.T) {
	t.Parallel()
	old := baseline(t)
	rapid.Check(t, func(t *rapid.T) {
		want := drawUser(t)
		p, err := EncodeUser(&want)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		got, err := DecodeUser(through(t, old, p))
		if err != nil {
			t.Fatalf("decode: %v", err)
		}
		want.Passkeys, want.Prior.Linked = nil, nil
		if diff := cmp.Diff(want, got, exact); diff != "" {
			t.Fatalf("at an old plugin (-want +got):\n%s", diff)
		}
	})
}

// A host knows a plugin of minor version 0 by what it does not say.
func TestOldPluginIsDescribed(t *testing.T) {
	t.Parallel()
	old := baseline(t)
	rapid.Check(t, func(t *rapid.T) {
		want := pluginapi.Description{
			Name: "acme", Version: "1", Minor: Minor, Capabilities: drawCapabilities(t),
			ConfigFields: []pluginapi.ConfigField{{Key: "url"}}, Codes: diag.Words{{Code: "acme.quota"}},
		}
		got := DecodeDescription(through(t, old, EncodeDescription(&want)))
		want.Minor, want.ConfigFields, want.Codes = 0, nil, nil
		c := &want.Capabilities
		c.FoldsCase, c.Folding, c.NoUsernames, c.UniqueInTenant, c.SignIns, c.OnlyTenant = nil, nil, false, nil, nil, ""
		c.UniqueIdentities = false
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("an old plugin (-want +got):\n%s", diff)
		}
	})
}

// A host of minor version 0 takes the answers of a younger plugin: the account counts as
// it did, and the losses are not heard.
func TestOldHostGetsOutcomes(t *testing.T) {
	t.Parallel()
	want := pluginapi.Outcome{
		SourceID: "1", Action: pluginapi.Created, TargetID: "t", State: []byte{1},
		Losses: []pluginapi.PartLoss{{Feature: pluginapi.CarriesRoles, Code: "acme.no_role", Attribute: "admin"}},
	}
	got, err := DecodeOutcome(through(t, baseline(t), EncodeOutcome(&want)))
	if err != nil {
		t.Fatal(err)
	}
	want.Losses = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("at an old host (-want +got):\n%s", diff)
	}
	checked := through(t, baseline(t), EncodeChecked(&pluginapi.Checked{
		Diagnostics: diag.List{{Code: "acme.full", Summary: "full"}}, SignIns: []pluginapi.SignIn{{Way: pluginapi.SignInPassword}},
	}))
	if len(checked.GetDiagnostics()) != 1 || checked.GetSignIns() != nil {
		t.Errorf("a check at an old host: %v", checked)
	}
}

// What an old host says about itself is minor version 0.
func TestOldHostIsKnown(t *testing.T) {
	t.Parallel()
	old := baseline(t)
	if d := through(t, old, &pluginpb.DescribeRequest{Minor: Minor}); d.GetMinor() != 0 {
		t.Errorf("Describe: %v", d)
	}
	if c := through(t, old, &pluginpb.ConfigureRequest{ConfigJson: []byte("{}"), Minor: Minor}); c.GetMinor() != 0 || string(c.GetConfigJson()) != "{}" {
		t.Errorf("Configure: %v", c.GetMinor())
	}
}
