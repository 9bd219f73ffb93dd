package auth0

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

type role struct {
	id, name, description string
	users, permissions    map[string]bool
}

type organization struct {
	id, name    string
	metadata    map[string]string
	connections map[string]bool
	members     map[string]map[string]bool // user to role ids
}

func (s places) rolesOf(id string) (out []string) {
	for _, r := range s.roles {
		if r.users[id] {
			out = append(out, r.name)
		}
	}
	slices.Sort(out)
	return out
}

func (s places) organizationsOf(id string) map[string][]string {
	out := map[string][]string{}
	for _, o := range s.orgs {
		roles, ok := o.members[id]
		if !ok {
			continue
		}
		names := []string{}
		for r := range roles {
			names = append(names, s.roles[r].name)
		}
		slices.Sort(names)
		out[o.name] = names
	}
	return out
}

func (s places) memberRoutes(api router) {
	api("GET /roles", "read:roles", func(w http.ResponseWriter, r *http.Request) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.roles)) {
			list = append(list, map[string]any{"id": id, "name": s.roles[id].name, "description": s.roles[id].description})
		}
		page(w, r, "roles", list)
	})
	s.roleRoutes(api)
	api("POST /roles", "create:roles", func(w http.ResponseWriter, r *http.Request) {
		var b struct {
			Name        string `json:"name"`
			Description string `json:"description"`
		}
		if !decode(w, r, &b) {
			return
		}
		for _, other := range s.roles {
			if other.name == b.Name {
				refuse(w, 409, "role_conflict", "A role with the same name already exists.")
				return
			}
		}
		id := newID("rol_")
		s.roles[id] = &role{id, b.Name, b.Description, map[string]bool{}, map[string]bool{}}
		reply(w, 200, map[string]any{"id": id, "name": b.Name})
	})
	api("POST /roles/{id}/users", "update:roles|create:role_members", s.assign)
	if s.options.ForgetsPlaces {
		s.organizationRoutes(api)
		return
	}
	api("GET /users/{id}/roles", "read:users read:roles|read:users read:role_members", people(s).withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.roles)) {
			if s.roles[id].users[u.ID] {
				list = append(list, map[string]any{"id": id, "name": s.roles[id].name})
			}
		}
		page(w, r, "roles", list)
	}))
	api("DELETE /users/{id}/roles", "update:users|delete:role_members", people(s).withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		var b struct {
			Roles []string `json:"roles"`
		}
		if decode(w, r, &b) {
			for _, id := range b.Roles {
				if s.roles[id] != nil {
					delete(s.roles[id].users, u.ID)
				}
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	api("GET /users/{id}/organizations", "read:organizations", people(s).withUser(func(w http.ResponseWriter, r *http.Request, u *User) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.orgs)) {
			if _, ok := s.orgs[id].members[u.ID]; ok {
				list = append(list, map[string]any{"id": id, "name": s.orgs[id].name, "metadata": s.orgs[id].metadata})
			}
		}
		page(w, r, "organizations", list)
	}))
	s.organizationRoutes(api)
}

// PutRole adds a role, as somebody else would have.
func (s *Server) PutRole(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := newID("rol_")
	s.roles[id] = &role{id, name, "", map[string]bool{}, map[string]bool{}}
}

// ChangeRole edits who has a role and what it permits, behind everybody's back. A permission
// is NAME@API.
func (s *Server) ChangeRole(name string, change func(users, permissions map[string]bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.roles {
		if r.name == name {
			change(r.users, r.permissions)
		}
	}
}

// Roles lists the roles by name.
func (s *Server) Roles() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.roles {
		names = append(names, r.name)
	}
	slices.Sort(names)
	return names
}

// Organizations lists the organizations by name.
func (s *Server) Organizations() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.orgs {
		names = append(names, o.name)
	}
	slices.Sort(names)
	return names
}

func (s places) roleRoutes(api router) {
	with := func(f func(http.ResponseWriter, *http.Request, *role)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if one := s.roles[r.PathValue("id")]; one != nil {
				f(w, r, one)
				return
			}
			refuse(w, 404, "inexistent_role", "The role does not exist.")
		}
	}
	api("GET /roles/{id}/users", "read:users read:roles|read:users read:role_members", with(func(w http.ResponseWriter, r *http.Request, one *role) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(one.users)) {
			list = append(list, map[string]any{"user_id": id})
		}
		page(w, r, "users", list)
	}))
	api("GET /roles/{id}/permissions", "read:roles", with(func(w http.ResponseWriter, r *http.Request, one *role) {
		list := []map[string]any{}
		for name := range one.permissions {
			permission, server, _ := strings.Cut(name, "@")
			list = append(list, map[string]any{"permission_name": permission, "resource_server_identifier": server})
		}
		page(w, r, "permissions", list)
	}))
	change := func(w http.ResponseWriter, r *http.Request, status int, do func(key string)) {
		var b struct {
			Permissions []struct {
				API  string `json:"resource_server_identifier"`
				Name string `json:"permission_name"`
			} `json:"permissions"`
		}
		if !decode(w, r, &b) {
			return
		}
		for _, p := range b.Permissions {
			if !slices.Contains(s.options.APIs[p.API], p.Name) {
				refuse(w, 404, "", "One or more of the permissions do not exist.")
				return
			}
		}
		for _, p := range b.Permissions {
			do(p.Name + "@" + p.API)
		}
		w.WriteHeader(status)
	}
	api("POST /roles/{id}/permissions", "update:roles", with(func(w http.ResponseWriter, r *http.Request, one *role) {
		change(w, r, http.StatusCreated, func(key string) { one.permissions[key] = true })
	}))
	api("DELETE /roles/{id}/permissions", "update:roles", with(func(w http.ResponseWriter, r *http.Request, one *role) {
		change(w, r, http.StatusNoContent, func(key string) { delete(one.permissions, key) })
	}))
	api("PATCH /roles/{id}", "update:roles", with(func(w http.ResponseWriter, r *http.Request, one *role) {
		var b struct {
			Description string `json:"description"`
		}
		if decode(w, r, &b) {
			one.description = b.Description
			reply(w, 200, map[string]any{"id": one.id, "name": one.name, "description": one.description})
		}
	}))
	api("GET /resource-servers/{id}", "read:resource_servers", func(w http.ResponseWriter, r *http.Request) {
		names, there := s.options.APIs[r.PathValue("id")]
		if !there {
			refuse(w, 404, "inexistent_resource_server", "The API does not exist.")
			return
		}
		scopes := []map[string]string{}
		for _, name := range names {
			scopes = append(scopes, map[string]string{"value": name, "description": name})
		}
		reply(w, 200, map[string]any{"identifier": r.PathValue("id"), "scopes": scopes})
	})
	api("DELETE /roles/{id}", "delete:roles", with(func(w http.ResponseWriter, _ *http.Request, one *role) {
		delete(s.roles, one.id)
		w.WriteHeader(http.StatusNoContent)
	}))
}

func (s places) assign(w http.ResponseWriter, r *http.Request) {
	var b struct {
		Users []string `json:"users"`
	}
	if !decode(w, r, &b) {
		return
	}
	to := s.roles[r.PathValue("id")]
	if to == nil {
		refuse(w, 404, "inexistent_role", "The role does not exist.")
		return
	}
	if len(b.Users) > 50 {
		refuse(w, 400, "invalid_body", "Payload validation error: 'Array is too long, maximum 50'")
		return
	}
	for _, id := range b.Users {
		if s.users[id] == nil {
			refuse(w, 404, "inexistent_user", "One or more of the users do not exist.")
			return
		}
	}
	for _, id := range b.Users {
		to.users[id] = true
	}
	reply(w, 200, map[string]any{})
}

var organizationName = regexp.MustCompile(`^[a-z0-9_-]{1,50}$`)

func (s places) organizationRoutes(api router) {
	with := func(f func(http.ResponseWriter, *http.Request, *organization)) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			o := s.orgs[r.PathValue("id")]
			if o == nil {
				refuse(w, 404, "inexistent_organization", "No organization found by that id")
				return
			}
			f(w, r, o)
		}
	}
	api("GET /organizations", "read:organizations", func(w http.ResponseWriter, r *http.Request) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(s.orgs)) {
			list = append(list, map[string]any{"id": id, "name": s.orgs[id].name, "metadata": s.orgs[id].metadata})
		}
		page(w, r, "organizations", list)
	})
	api("POST /organizations", "create:organizations", func(w http.ResponseWriter, r *http.Request) {
		var b struct {
			Name        string            `json:"name"`
			DisplayName string            `json:"display_name"`
			Metadata    map[string]string `json:"metadata"`
			Connections []map[string]any  `json:"enabled_connections"`
		}
		if !decode(w, r, &b) {
			return
		}
		if !organizationName.MatchString(b.Name) {
			refuse(w, 400, "invalid_body", "Payload validation error: 'String does not match pattern'")
			return
		}
		for _, other := range s.orgs {
			if other.name == b.Name {
				refuse(w, 409, "organization_conflict", "An organization with this name already exists.")
				return
			}
		}
		o := &organization{newID("org_"), b.Name, b.Metadata, map[string]bool{}, map[string]map[string]bool{}}
		s.orgs[o.id] = o
		reply(w, 201, map[string]any{"id": o.id, "name": o.name})
	})
	api("POST /organizations/{id}/enabled_connections", "create:organization_connections", with(func(w http.ResponseWriter, r *http.Request, o *organization) {
		var b struct {
			ConnectionID string `json:"connection_id"`
			Assign       bool   `json:"assign_membership_on_login"`
		}
		if !decode(w, r, &b) {
			return
		}
		if o.connections[b.ConnectionID] {
			refuse(w, s.options.EnabledAlready, "", "The connection is enabled already")
			return
		}
		o.connections[b.ConnectionID] = true
		reply(w, 201, map[string]any{"connection_id": b.ConnectionID})
	}))
	// One pattern, since the name of an organization stands where its id would.
	api("GET /organizations/{id}/{list}", "read:organizations|read:organization_members|read:organization_connections", s.organizationLists)
	api("DELETE /organizations/{id}", "delete:organizations", with(func(w http.ResponseWriter, _ *http.Request, o *organization) {
		delete(s.orgs, o.id)
		w.WriteHeader(http.StatusNoContent)
	}))
	api("DELETE /organizations/{id}/members", "delete:organization_members", with(func(w http.ResponseWriter, r *http.Request, o *organization) {
		var b struct {
			Members []string `json:"members"`
		}
		if decode(w, r, &b) {
			for _, id := range b.Members {
				delete(o.members, id)
			}
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	api("POST /organizations/{id}/members", "create:organization_members", with(s.addMembers))
	api("GET /organizations/{id}/members/{user}/roles", "read:organization_member_roles", with(func(w http.ResponseWriter, r *http.Request, o *organization) {
		list := []map[string]any{}
		for _, id := range slices.Sorted(maps.Keys(o.members[r.PathValue("user")])) {
			list = append(list, map[string]any{"id": id, "name": s.roles[id].name})
		}
		page(w, r, "roles", list)
	}))
	api("DELETE /organizations/{id}/members/{user}/roles", "delete:organization_member_roles", with(func(w http.ResponseWriter, r *http.Request, o *organization) {
		var b struct {
			Roles []string `json:"roles"`
		}
		if !decode(w, r, &b) {
			return
		}
		for _, id := range b.Roles {
			delete(o.members[r.PathValue("user")], id)
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	api("POST /organizations/{id}/members/{user}/roles", "create:organization_member_roles", with(func(w http.ResponseWriter, r *http.Request, o *organization) {
		var b struct {
			Roles []string `json:"roles"`
		}
		if !decode(w, r, &b) {
			return
		}
		has := o.members[r.PathValue("user")]
		for _, id := range b.Roles {
			if has == nil || s.roles[id] == nil {
				refuse(w, 404, "", "No such member or role")
				return
			}
		}
		for _, id := range b.Roles {
			has[id] = true
		}
		w.WriteHeader(http.StatusNoContent)
	}))
}

func (s places) organizationLists(w http.ResponseWriter, r *http.Request) {
	id, list := r.PathValue("id"), r.PathValue("list")
	scope := map[string]string{"members": "read:organization_members", "enabled_connections": "read:organization_connections"}[list]
	if id == "name" {
		scope = "read:organizations"
	}
	if scope != "" && !gate(s).scoped(w, scope) {
		return
	}
	if id == "name" {
		for _, o := range s.orgs {
			if o.name == list && !s.options.ForgetsPlaces {
				reply(w, 200, map[string]any{"id": o.id, "name": o.name, "metadata": o.metadata})
				return
			}
		}
		refuse(w, 404, "inexistent_organization", "No organization found by that name")
		return
	}
	o := s.orgs[id]
	out := []map[string]any{}
	switch {
	case o == nil || scope == "":
		refuse(w, 404, "inexistent_organization", "No organization found by that id")
		return
	case list == "members":
		inside := strings.Contains(r.URL.Query().Get("fields"), "roles")
		if inside && !gate(s).scoped(w, "read:organization_member_roles") {
			return
		}
		for _, id := range slices.Sorted(maps.Keys(o.members)) {
			one := map[string]any{"user_id": id}
			if inside {
				roles := []map[string]any{}
				for _, role := range slices.Sorted(maps.Keys(o.members[id])) {
					roles = append(roles, map[string]any{"id": role, "name": s.roles[role].name})
				}
				one["roles"] = roles
			}
			out = append(out, one)
		}
	default:
		for _, id := range slices.Sorted(maps.Keys(o.connections)) {
			out = append(out, map[string]any{"connection_id": id})
		}
	}
	page(w, r, list, out)
}

func (s places) addMembers(w http.ResponseWriter, r *http.Request, o *organization) {
	var b struct {
		Members []string `json:"members"`
	}
	if !decode(w, r, &b) {
		return
	}
	if len(b.Members) == 0 || len(b.Members) > 10 {
		refuse(w, 400, "invalid_body", "Payload validation error: 'Array is too long, maximum 10'")
		return
	}
	for _, id := range b.Members {
		if s.users[id] == nil {
			refuse(w, 404, "inexistent_user", "One or more of the users do not exist.")
			return
		}
	}
	for _, id := range b.Members {
		if o.members[id] == nil {
			o.members[id] = map[string]bool{}
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// page answers a list as its query asks: bare, with totals, or with the checkpoint from
// which it goes on. Pages end after a thousand.
func page(w http.ResponseWriter, r *http.Request, name string, list []map[string]any) {
	q := r.URL.Query()
	if q.Has("take") {
		take, _ := strconv.Atoi(q.Get("take"))
		at, _ := strconv.Atoi(strings.TrimPrefix(q.Get("from"), "checkpoint-"))
		end := min(at+min(max(take, 1), 100), len(list))
		body := map[string]any{name: list[min(at, end):end]}
		if end < len(list) {
			body["next"] = fmt.Sprintf("checkpoint-%d", end)
		}
		reply(w, 200, body)
		return
	}
	number, _ := strconv.Atoi(q.Get("page"))
	per, err := strconv.Atoi(q.Get("per_page"))
	if err != nil || per < 1 || per > 100 {
		per = 50
	}
	if (number+1)*per > 1000 {
		refuse(w, 400, "invalid_paging", "You can only page through the first 1000 records.")
		return
	}
	total := len(list)
	list = list[min(number*per, total):min((number+1)*per, total)]
	if q.Get("include_totals") != "true" {
		reply(w, 200, list)
		return
	}
	reply(w, 200, map[string]any{name: list, "start": number * per, "limit": per, "length": len(list), "total": total})
}
