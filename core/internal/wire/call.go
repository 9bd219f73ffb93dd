package wire

import (
	"errors"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

// EncodeAccounts never fails.
func EncodeAccounts(all []pluginapi.Account) []*pluginpb.Account {
	out := make([]*pluginpb.Account, len(all))
	for i, a := range all {
		out[i] = &pluginpb.Account{
			SourceId: clean(a.SourceID), TargetId: clean(a.TargetID), State: a.State, Before: a.Before, Id: clean(a.ID), InDoubt: a.InDoubt, SignedIn: a.SignedIn,
			Disable: a.Disable, Release: a.Release, DryRun: a.DryRun,
		}
	}
	return out
}

// DecodeAccounts never fails.
func DecodeAccounts(all []*pluginpb.Account) []pluginapi.Account {
	out := make([]pluginapi.Account, len(all))
	for i, p := range all {
		out[i] = pluginapi.Account{
			SourceID: p.GetSourceId(), TargetID: p.GetTargetId(), State: p.GetState(), Before: p.Before, ID: p.GetId(), InDoubt: p.GetInDoubt(), SignedIn: p.GetSignedIn(),
			Disable: p.GetDisable(), Release: p.GetRelease(), DryRun: p.GetDryRun(),
		}
	}
	return out
}

// EncodeRoles never fails.
func EncodeRoles(all []pluginapi.Role) []*pluginpb.Role {
	out := make([]*pluginpb.Role, len(all))
	for i, r := range all {
		out[i] = &pluginpb.Role{Name: clean(r.Name), Permissions: cleanAll(r.Permissions)}
	}
	return out
}

// DecodeRoles never fails.
func DecodeRoles(all []*pluginpb.Role) []pluginapi.Role {
	out := make([]pluginapi.Role, len(all))
	for i, p := range all {
		out[i] = pluginapi.Role{Name: p.GetName(), Permissions: p.GetPermissions()}
	}
	return out
}

// EncodeFailure turns what a call about one user returned into a message; nil
// for nil. Code stands for errors that bring none.
func EncodeFailure(err error, code diag.Code) *pluginpb.Failure {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*pluginapi.Failure](err)
	if !ok {
		f = &pluginapi.Failure{Code: code, Detail: err.Error()}
	}
	return &pluginpb.Failure{Code: clean(string(f.Code)), Detail: clean(f.Detail), Hint: clean(f.Hint)}
}

// DecodeFailure returns a [*pluginapi.Failure], or nil for nil.
func DecodeFailure(p *pluginpb.Failure) error {
	if p == nil {
		return nil
	}
	return &pluginapi.Failure{Code: diag.Code(p.GetCode()), Detail: p.GetDetail(), Hint: p.GetHint()}
}

// EncodePulse never fails.
func EncodePulse(p pluginapi.Pulse) *pluginpb.Pulse {
	return &pluginpb.Pulse{Limit: int64(p.Limit), Wait: durationpb.New(p.Wait), Reason: clean(p.Reason), Done: int64(p.Done), Total: int64(p.Total)}
}

// DecodePulse never fails.
func DecodePulse(p *pluginpb.Pulse) pluginapi.Pulse {
	return pluginapi.Pulse{Limit: int(p.GetLimit()), Wait: p.GetWait().AsDuration(), Reason: p.GetReason(), Done: int(p.GetDone()), Total: int(p.GetTotal())}
}
