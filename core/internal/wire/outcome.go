package wire

import (
	"fmt"
	"strings"

	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
	"github.com/stetl/stetl/core/pluginpb"
)

var actions = map[pluginapi.Action]pluginpb.Action{
	pluginapi.Created:   pluginpb.Action_ACTION_CREATED,
	pluginapi.Updated:   pluginpb.Action_ACTION_UPDATED,
	pluginapi.Unchanged: pluginpb.Action_ACTION_UNCHANGED,
	pluginapi.Skipped:   pluginpb.Action_ACTION_SKIPPED,
	pluginapi.Rejected:  pluginpb.Action_ACTION_REJECTED,
	pluginapi.InDoubt:   pluginpb.Action_ACTION_IN_DOUBT,
	pluginapi.Deleted:   pluginpb.Action_ACTION_DELETED,
}

// KnownAction reports whether a can be sent.
func KnownAction(a pluginapi.Action) bool {
	_, ok := actions[a]
	return ok
}

// EncodeOutcome never fails: text that is not UTF-8 is a target's answer and is
// repaired rather than lost.
func EncodeOutcome(o *pluginapi.Outcome) *pluginpb.Outcome {
	p := &pluginpb.Outcome{
		SourceId: clean(o.SourceID),
		Action:   actions[o.Action],
		TargetId: clean(o.TargetID),
		Code:     clean(string(o.Code)),
		Detail:   clean(o.Detail),
		Hint:     clean(o.Hint),
		Changed:  cleanAll(o.Changed),
		State:    o.State,
		Before:   o.Before,
		Holder:   clean(o.Holder),
	}
	for _, l := range o.Losses {
		p.Losses = append(p.Losses, &pluginpb.PartLoss{
			Feature: clean(string(l.Feature)), Code: clean(string(l.Code)), Attribute: clean(l.Attribute), Detail: clean(l.Detail),
		})
	}
	return p
}

// DecodeOutcome fails on an action that this version does not know. The outcome
// still says whose it is.
func DecodeOutcome(p *pluginpb.Outcome) (pluginapi.Outcome, error) {
	action, ok := decode(actions, p.GetAction())
	if !ok {
		return pluginapi.Outcome{SourceID: p.GetSourceId()}, fmt.Errorf("user %s: unknown action %d", p.GetSourceId(), p.GetAction())
	}
	o := pluginapi.Outcome{
		SourceID: p.GetSourceId(),
		Action:   action,
		TargetID: p.GetTargetId(),
		Code:     diag.Code(p.GetCode()),
		Detail:   p.GetDetail(),
		Hint:     p.GetHint(),
		Changed:  p.GetChanged(),
		State:    p.GetState(),
		Before:   p.GetBefore(),
		Holder:   p.GetHolder(),
	}
	for _, l := range p.GetLosses() {
		o.Losses = append(o.Losses, pluginapi.PartLoss{
			Feature: pluginapi.Feature(l.GetFeature()), Code: diag.Code(l.GetCode()), Attribute: l.GetAttribute(), Detail: l.GetDetail(),
		})
	}
	return o, nil
}

// EncodeChange never fails, as [EncodeOutcome].
func EncodeChange(c *pluginapi.Change) *pluginpb.Change {
	p := &pluginpb.Change{Outcome: EncodeOutcome(&c.Outcome)}
	for _, f := range c.Fields {
		p.Fields = append(p.Fields, &pluginpb.FieldChange{Field: clean(f.Field), Old: clean(f.Old), New: clean(f.New), Drift: f.Drift})
	}
	return p
}

// DecodeChange fails as [DecodeOutcome] does.
func DecodeChange(p *pluginpb.Change) (pluginapi.Change, error) {
	o, err := DecodeOutcome(p.GetOutcome())
	c := pluginapi.Change{Outcome: o}
	for _, f := range p.GetFields() {
		c.Fields = append(c.Fields, pluginapi.FieldChange{Field: f.GetField(), Old: f.GetOld(), New: f.GetNew(), Drift: f.GetDrift()})
	}
	return c, err
}

func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func cleanAll[S ~string](all []S) []string {
	if len(all) == 0 {
		return nil
	}
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = clean(string(s))
	}
	return out
}
