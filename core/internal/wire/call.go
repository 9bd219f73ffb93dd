package wire

import (
	"errors"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginpb"
	"github.com/stetl/stetl/core/target"
)

// EncodeAccounts never fails.
func EncodeAccounts(all []target.Account) []*pluginpb.Account {
	out := make([]*pluginpb.Account, len(all))
	for i, a := range all {
		out[i] = &pluginpb.Account{SourceId: clean(a.SourceID), TargetId: clean(a.TargetID), State: a.State, Before: a.Before}
	}
	return out
}

// DecodeAccounts never fails.
func DecodeAccounts(all []*pluginpb.Account) []target.Account {
	out := make([]target.Account, len(all))
	for i, p := range all {
		out[i] = target.Account{SourceID: p.GetSourceId(), TargetID: p.GetTargetId(), State: p.GetState(), Before: p.Before}
	}
	return out
}

// EncodeFailure turns what a call about one user returned into a message; nil
// for nil. Code stands for errors that bring none.
func EncodeFailure(err error, code diag.Code) *pluginpb.Failure {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*target.Failure](err)
	if !ok {
		f = &target.Failure{Code: code, Detail: err.Error()}
	}
	return &pluginpb.Failure{Code: clean(string(f.Code)), Detail: clean(f.Detail), Hint: clean(f.Hint)}
}

// DecodeFailure returns a [*target.Failure], or nil for nil.
func DecodeFailure(p *pluginpb.Failure) error {
	if p == nil {
		return nil
	}
	return &target.Failure{Code: diag.Code(p.GetCode()), Detail: p.GetDetail(), Hint: p.GetHint()}
}

// EncodePulse never fails.
func EncodePulse(p target.Pulse) *pluginpb.Pulse {
	return &pluginpb.Pulse{Limit: int64(p.Limit), Wait: durationpb.New(p.Wait), Reason: clean(p.Reason)}
}

// DecodePulse never fails.
func DecodePulse(p *pluginpb.Pulse) target.Pulse {
	return target.Pulse{Limit: int(p.GetLimit()), Wait: p.GetWait().AsDuration(), Reason: p.GetReason()}
}
