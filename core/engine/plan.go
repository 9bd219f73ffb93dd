package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/diag"
	"github.com/stetl/stetl/core/pluginapi"
)

// Plan is a saved dry run: what each account was about to become, and the state
// of source and target that this rests on. Its JSON form has the schema in
// docs/plan.schema.json and holds ids and digests, no values of users.
type Plan struct {
	Format int `json:"format"`
	// Made says when, from which app and for which target.
	Made   time.Time `json:"made"`
	App    string    `json:"app"`
	Target string    `json:"target"`
	// Settings digests what, beside an account itself, decides what it becomes.
	Settings []byte `json:"settings"`
	// Key keys the digests where there was no journal yet, whose key they would
	// have: the journal that executes the plan is made with it.
	Key []byte `json:"key,omitempty"`
	// Part says how the accounts were chosen where the plan is about a part: whoever is
	// not in Users is none of its business then, and does not come after it.
	Part string `json:"part,omitempty"`
	// Users holds every account that the plan is about, by source id.
	Users map[string]Planned `json:"users"`
	// Gone says what was to become of accounts whose people have gone from the source, by
	// source id: updated is switched off.
	Gone map[string]pluginapi.Action `json:"gone,omitempty"`
}

// Planned is what a plan holds of one account.
type Planned struct {
	Action pluginapi.Action `json:"action"`
	Code   diag.Code        `json:"code,omitempty"`
	// Source digests the user as it was mapped, State is what was found in the
	// target.
	Source []byte `json:"source,omitempty"`
	State  []byte `json:"state,omitempty"`
}

// planFormat is the version of the JSON form.
const planFormat = 1

// NewPlan returns an empty plan.
func NewPlan(app, targetName string, settings, key []byte) *Plan {
	return &Plan{
		Format: planFormat, Made: time.Now().UTC().Truncate(time.Second), App: app, Target: targetName,
		Settings: settings, Key: key, Users: map[string]Planned{},
	}
}

// Fits says whether the plan was made for this app and with these settings.
func (p *Plan) Fits(app string, settings []byte) error {
	switch {
	case p.App != app:
		return fmt.Errorf("the plan is about app %s, not %s", p.App, app)
	case !bytes.Equal(p.Settings, settings):
		return fmt.Errorf("the settings have changed since the plan was made for %s: plan again", p.Target)
	}
	return nil
}

// ReadPlan reads a saved plan.
func ReadPlan(r io.Reader) (*Plan, error) {
	var p Plan
	dec := json.NewDecoder(r)
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("read the plan: %w", err)
	}
	if p.Format != planFormat {
		return nil, fmt.Errorf("the plan has format %d, this program writes and reads %d: make it again", p.Format, planFormat)
	}
	return &p, nil
}

// Write writes the plan as JSON.
func (p *Plan) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(p)
}

// Add takes in one outcome of a dry run; u is the user it is about.
func (p *Plan) Add(c pluginapi.Change, digest []byte) {
	p.Users[c.SourceID] = Planned{Action: c.Action, Code: c.Code, Source: digest, State: c.State}
}

// refuses compares an account with what was planned for it: nil when it may be
// sent, and then with the planned state as its condition.
func (p *Plan) refuses(u *pluginapi.User, key []byte) *pluginapi.Change {
	planned, ok := p.Users[u.SourceID]
	action, code, detail := planned.Action, planned.Code, "as planned"
	switch {
	case !ok:
		action, code, detail = pluginapi.Skipped, diag.PlanNotPlanned, "the account came after the plan was made"
	case !bytes.Equal(planned.Source, u.Digest(key)):
		action, code, detail = pluginapi.Rejected, diag.PlanSourceMoved, "the account has changed in the source since the plan was made"
	case planned.Action == pluginapi.Created || planned.Action == pluginapi.Updated || planned.Action == pluginapi.InDoubt:
		u.Expect = planned.State
		return nil
	}
	c := change(u, action, code, detail)
	return &c
}

// part is who a plan that was made about a part is about; nil when it is about all.
func (p *Plan) part() *Part {
	if p.Part == "" {
		return nil
	}
	return &Part{Flag: p.Part, has: func(u *canonical.User) bool {
		_, ok := p.Users[u.InternalID]
		return ok
	}}
}
