package auth0

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// bridgeDesk is what a token exchange needs: Actions, profiles, and what applications may.
type bridgeDesk struct{ *Server }

// Action is one of the tenant's.
type Action struct {
	ID       string              `json:"id"`
	Name     string              `json:"name"`
	Triggers []map[string]string `json:"supported_triggers"`
	Code     string              `json:"code"`
	Status   string              `json:"status"`
	Deployed bool                `json:"all_changes_deployed"`
	// Secrets are never shown.
	Secrets map[string]string `json:"-"`
}

// Profile is a token exchange profile.
type Profile struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Kind     string `json:"subject_token_type"`
	ActionID string `json:"action_id"`
	Type     string `json:"type"`
}

// TokenExchange is what the tenant has for it.
type TokenExchange struct {
	Actions  []*Action
	Profiles []Profile
	// Types are the kinds of profiles that each application may use.
	Types map[string][]string
}

// Exchanges returns a copy of what a tenant has for token exchanges.
func Exchanges(s *Server) TokenExchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := TokenExchange{Profiles: slices.Clone(s.exchanges.Profiles), Types: map[string][]string{}}
	for _, a := range s.exchanges.Actions {
		one := *a
		out.Actions = append(out.Actions, &one)
	}
	for client, types := range s.exchanges.Types {
		out.Types[client] = slices.Clone(types)
	}
	return out
}

func (s bridgeDesk) actionRoutes(api func(pattern, scopes string, f func(http.ResponseWriter, *http.Request))) {
	api("GET /actions/actions", "read:actions", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		found := []*Action{}
		for _, a := range s.exchanges.Actions {
			if strings.Contains(a.Name, q.Get("actionName")) && (q.Get("triggerId") == "" || a.Triggers[0]["id"] == q.Get("triggerId")) {
				found = append(found, a)
			}
		}
		reply(w, 200, map[string]any{"actions": found, "total": len(found), "page": 0, "per_page": 20})
	})
	api("POST /actions/actions", "create:actions", s.createAction)
	api("GET /actions/actions/{id}", "read:actions", func(w http.ResponseWriter, r *http.Request) {
		a := s.action(w, r)
		if a == nil {
			return
		}
		if at := slices.Index(building, a.Status); at >= 0 && at+1 < len(building) { // it goes on as it is watched
			a.Status = building[at+1]
		}
		reply(w, 200, a)
	})
	api("POST /actions/actions/{id}/deploy", "create:actions", func(w http.ResponseWriter, r *http.Request) {
		var body struct{}
		a := s.action(w, r)
		if a == nil || !decode(w, r, &body) {
			return
		}
		if a.Status != "built" {
			refuse(w, 400, "", "A draft must be in the 'built' state before it can be deployed")
			return
		}
		a.Deployed = true
		reply(w, 200, map[string]any{"id": newID("ver_"), "deployed": true, "status": "built"})
	})
	api("GET /token-exchange-profiles", "read:token_exchange_profiles", func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if next := r.URL.Query().Get("from"); next != "" {
			from = slices.IndexFunc(s.exchanges.Profiles, func(p Profile) bool { return p.ID == next })
		}
		if r.URL.Query().Get("take") == "" || from < 0 {
			refuse(w, 400, "invalid_query_string", "take and from are not as they should be")
			return
		}
		to := min(len(s.exchanges.Profiles), from+2) // short pages, so that they are followed
		body := map[string]any{"token_exchange_profiles": s.exchanges.Profiles[from:to]}
		if to < len(s.exchanges.Profiles) {
			body["next"] = s.exchanges.Profiles[to].ID
		}
		reply(w, 200, body)
	})
	api("POST /token-exchange-profiles", "create:token_exchange_profiles", s.createProfile)
	api("GET /clients/{id}", "read:clients", func(w http.ResponseWriter, r *http.Request) {
		reply(w, 200, s.client(r.PathValue("id")))
	})
	api("PATCH /clients/{id}", "update:clients", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Exchange struct {
				Types []string `json:"allow_any_profile_of_type"`
			} `json:"token_exchange"`
		}
		if !decode(w, r, &body) {
			return
		}
		s.exchanges.Types[r.PathValue("id")] = body.Exchange.Types
		reply(w, 200, s.client(r.PathValue("id")))
	})
}

// building is what an Action goes through before it can be deployed.
var building = []string{"pending", "building", "built"}

func (s bridgeDesk) client(id string) map[string]any {
	if types := s.exchanges.Types[id]; len(types) > 0 {
		return map[string]any{"token_exchange": map[string]any{"allow_any_profile_of_type": types}}
	}
	return map[string]any{}
}

func (s bridgeDesk) action(w http.ResponseWriter, r *http.Request) *Action {
	at := slices.IndexFunc(s.exchanges.Actions, func(a *Action) bool { return a.ID == r.PathValue("id") })
	if at < 0 {
		refuse(w, 404, "", "That action does not exist.")
		return nil
	}
	return s.exchanges.Actions[at]
}

func (s bridgeDesk) createAction(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Name         string              `json:"name"`
		Runtime      string              `json:"runtime"`
		Triggers     []map[string]string `json:"supported_triggers"`
		Code         string              `json:"code"`
		Dependencies []map[string]string `json:"dependencies"`
		Secrets      []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"secrets"`
	}
	if !decode(w, r, &body) {
		return
	}
	if body.Name == "" || len(body.Triggers) != 1 {
		refuse(w, 400, "invalid_body", "Payload validation error: an action has a name and one trigger")
		return
	}
	if slices.ContainsFunc(s.exchanges.Actions, func(a *Action) bool { return a.Name == body.Name }) {
		refuse(w, 409, "", "An action with that name already exists")
		return
	}
	a := &Action{ID: newID(""), Name: body.Name, Triggers: body.Triggers, Code: body.Code, Status: building[0], Secrets: map[string]string{}}
	for _, secret := range body.Secrets {
		a.Secrets[secret.Name] = secret.Value
	}
	s.exchanges.Actions = append(s.exchanges.Actions, a)
	reply(w, 201, a)
}

func (s bridgeDesk) createProfile(w http.ResponseWriter, r *http.Request) {
	var p Profile
	if !decode(w, r, &p) {
		return
	}
	u, err := url.Parse(p.Kind)
	action := slices.IndexFunc(s.exchanges.Actions, func(a *Action) bool { return a.ID == p.ActionID })
	switch {
	case err != nil || u.Scheme == "" || p.Name == "" || p.ID != "" || p.Type != "custom_authentication":
		refuse(w, 400, "invalid_body", "Payload validation error: a profile has a name, a type and a subject_token_type that is a URI")
		return
	case slices.ContainsFunc(s.exchanges.Profiles, func(o Profile) bool { return o.Kind == p.Kind || o.Name == p.Name }):
		refuse(w, 409, "", "A token exchange profile with that name or subject_token_type exists")
		return
	case action < 0 || !s.exchanges.Actions[action].Deployed || s.exchanges.Actions[action].Triggers[0]["id"] != "custom-token-exchange":
		refuse(w, 400, "", "The action does not exist, is not deployed, or has another trigger")
		return
	}
	p.ID = newID("tep_")
	s.exchanges.Profiles = append(s.exchanges.Profiles, p)
	reply(w, 201, p)
}
