package mapping

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/stetl/stetl/core/canonical"
	"github.com/stetl/stetl/core/pluginapi"
)

// Example is an account and what should become of it.
type Example struct {
	Name string `json:"name"`
	// Account has the shape of an exported account; what is absent is absent.
	Account json.RawMessage `json:"account"`
	// Want holds the fields that are compared, by the names rules use, beside
	// "outcome" (skipped or rejected) and "code" for accounts that are excluded.
	Want map[string]json.RawMessage `json:"want"`
}

// Difference is a field that is not as an example wants it.
type Difference struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Got   string `json:"got"`
}

// Try maps the example's account and compares.
func (r *Rules) Try(e Example, caps pluginapi.Capabilities) ([]Difference, error) {
	u, err := account(e.Account)
	if err != nil {
		return nil, err
	}
	out, _, excluded := r.Map(u, caps)
	got := fieldsOf(&out)
	if excluded != nil {
		got = map[string]any{"outcome": string(excluded.Action), "code": string(excluded.Code), "detail": excluded.Detail}
	}
	var found []Difference
	for _, name := range slices.Sorted(maps.Keys(e.Want)) {
		want, err := decode(e.Want[name])
		if err != nil {
			return nil, fmt.Errorf("want.%s: %w", name, err)
		}
		have, ok := got[name]
		if !ok && excluded == nil {
			have = (&view{account: u, user: &out}).path(split(name))
		}
		if a, b := shown(want), shown(have); a != b {
			found = append(found, Difference{name, a, b})
		}
	}
	if _, expected := e.Want["outcome"]; excluded != nil && !expected {
		found = append(found, Difference{"outcome", `"loaded"`, shown(string(excluded.Action) + ": " + excluded.Detail)})
	}
	return found, nil
}

func split(name string) []string {
	var parts []string
	for part := range bytes.SplitSeq([]byte(name), []byte(".")) {
		parts = append(parts, string(part))
	}
	return parts
}

// fieldsOf are the fields of a user that examples compare and explanations show.
func fieldsOf(u *pluginapi.User) map[string]any {
	v := &view{account: &canonical.User{}, user: u}
	out := map[string]any{"outcome": "loaded"}
	for _, f := range fields {
		out[f.name] = v.path([]string{f.name})
	}
	out["class"] = string(u.Class)
	return out
}

func shown(v any) string {
	if s, ok := v.([]string); ok {
		sort.Strings(s)
		if len(s) == 0 {
			v = nil
		}
	}
	if empty(v) {
		return "null"
	}
	raw, err := json.Marshal(v) // sorts the keys of maps
	if err != nil {
		return "?"
	}
	if string(raw) == "{}" || string(raw) == "[]" {
		return "null"
	}
	return string(raw)
}

// account reads the shape of an exported account.
func account(raw json.RawMessage) (*canonical.User, error) {
	var in struct {
		App        string `json:"appId"`
		InternalID string `json:"internalId"`
		ID         string `json:"visibleId"`
		TimeJoined *int64 `json:"timeJoinedMs"`
		LastActive *int64 `json:"lastActiveMs"`
		Logins     []struct {
			Recipe     canonical.Recipe `json:"recipe"`
			ID         string           `json:"recipeUserId"`
			Email      *string          `json:"email"`
			Verified   *bool            `json:"verified"`
			Phone      *string          `json:"phone"`
			ThirdParty *struct {
				ID     string `json:"id"`
				UserID string `json:"userId"`
			} `json:"thirdParty"`
			Tenants      []string `json:"tenants"`
			PasswordHash string   `json:"passwordHash"`
		} `json:"loginMethods"`
		Metadata json.RawMessage     `json:"metadata"`
		Roles    map[string][]string `json:"roles"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("the account of the example does not have the form of an exported one: %w", err)
	}
	u := &canonical.User{App: in.App, InternalID: in.InternalID, ID: in.ID, Roles: in.Roles}
	if u.App == "" {
		u.App = "public"
	}
	if u.InternalID == "" {
		u.InternalID = "example"
	}
	if u.ID == "" {
		u.ID = u.InternalID
	}
	if len(in.Metadata) > 0 && string(in.Metadata) != "null" {
		u.Metadata = in.Metadata
	}
	if in.TimeJoined != nil {
		u.TimeJoined = time.UnixMilli(*in.TimeJoined).UTC()
	}
	if in.LastActive != nil {
		u.LastActive = time.UnixMilli(*in.LastActive).UTC()
	}
	for _, l := range in.Logins {
		login := canonical.Login{Recipe: l.Recipe, ID: l.ID, VisibleID: l.ID, Email: l.Email, Phone: l.Phone, Verified: l.Verified, Tenants: l.Tenants}
		if login.ID == "" {
			login.ID = u.InternalID
		}
		if l.ThirdParty != nil {
			login.Identity = &canonical.Identity{Provider: l.ThirdParty.ID, Subject: l.ThirdParty.UserID}
		}
		if l.PasswordHash != "" {
			login.Password = canonical.ParsePasswordHash(l.PasswordHash)
		}
		u.Logins = append(u.Logins, login)
	}
	return u, nil
}
