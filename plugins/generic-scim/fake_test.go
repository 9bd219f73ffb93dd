package scim

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// profile is how a server deviates from a well-behaved one. The zero value is
// strict: it wants every header and refuses what it does not know.
type profile struct {
	// discovery
	noDiscovery, pluralConfig, bareLists, lowerKeys, noGroups bool
	prefix                                                    string // of endpoints
	claimsNoFilter, silentAboutUser, extension                bool
	// reading
	ignoreFilter, emptyFilter, noFilter, caseFilter, noKeyFilter, ignoreKeyFilter bool
	refuseAttributes, refuseCount                                                 bool
	filterByPost, sensitive                                                       bool
	repeatPage, ignoreStart, noPages, noTotal, cursor, bigItems                   bool
	pageCap, lag, startCap                                                        int
	idPrefix                                                                      string
	// POST
	noBody, accepted202, noLocation, relativeLocation, emptyConflict  bool
	conflict400, conflict500, hideExisting                            bool
	drop                                                              []string
	refuseUnknown, reformatPhone, stringBooleans, oneEmail, lastEmail bool
	addAttributes, noKeys, adoptOnPost, echo, with200, otherHost      bool
	linkOnPost                                                        bool
	phantom                                                           int
	// Bulk
	bulk                                               bool
	maxOps, hardOps, maxBytes, stopAfter, shortBy      int
	tooManyAs400, reorder, bulkStatus400, bulk501      bool
	quota                                              int // operations of a request that are not throttled
	listSkipped, bulkLate                              bool
	numberStatus, objectStatus, lineStatus, textAnswer bool
	lowerOperations, noBulkIDOnError                   bool
	// both
	hangUp, throttle, throttleNoHint, unavailable, late503 int // so many times
	plainOnly, plainSilently, dateHint                     bool
	redirectWrites                                         string
	// PATCH and PUT
	noPatch, noPaths, patchBody, putNeedsID, etags bool
	idInMeta                                       bool
	deafToPaths, deaf                              bool          // PATCH succeeds without effect
	racing                                         int           // so many updates come second
	namesRequired, twice                           bool          // twice: names are not unique
	late                                           time.Duration // until an account is seen
	// groups
	chunk                                   int
	hideMembers, noMemberPath               bool
	membersOnRequest, strictGroups          bool
	listOnly, keepsMembers, putKeepsMembers bool // removal: 501 but for the list form; success and no removal
	lostGroups                              int  // so many answers to a new group are lost
	stuckGroups                             int  // what a change of a group is answered with
	// words for everybody after so many accounts
	seats    int
	seatSays failure
	hashes   bool // takes passwords
}

// fake is a SCIM server.
type fake struct {
	profile
	t    testing.TB
	url  string
	mu   sync.Mutex
	next int
	// users and groups by id, order by creation.
	users, groups map[string]resource
	order         []string
	hidden        map[string]int // reads until an account is seen
	made          map[string]time.Time
	writes        []string // mutating requests, as METHOD path
	requests      int
	ops           []int // operations per Bulk request
	passwords     map[string]string
	vanishes      string               // goes after its next PATCH
	created       map[string]time.Time // what meta.created says
}

const fakeToken = "fake-token-of-the-test"

func newFake(t testing.TB, p profile) *fake {
	f := &fake{profile: p, t: t, users: map[string]resource{}, groups: map[string]resource{}, hidden: map[string]int{}, made: map[string]time.Time{}, passwords: map[string]string{}}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.url = s.URL + "/scim/v2"
	return f
}

type failure struct {
	status       int
	kind, detail string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	body, _ := io.ReadAll(r.Body)
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/scim/v2")
	mutating := r.Method != http.MethodGet && !strings.HasSuffix(path, "/.search")
	if mutating {
		f.writes = append(f.writes, r.Method+" "+path)
	}
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/scim+json")
		w.Header().Set("ETag", `W/"of-the-framework"`) // which is no version
		w.WriteHeader(status)
		if v != nil {
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	refuse := func(e failure) {
		answer(e.status, map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:Error"}, "status": strconv.Itoa(e.status), "scimType": e.kind, "detail": e.detail})
	}
	count := func(n *int) bool {
		if *n > 0 && mutating {
			*n--
			return true
		}
		return false
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+fakeToken:
		refuse(failure{401, "", "who are you"})
		return
	case !strings.HasPrefix(r.Header.Get("User-Agent"), "stetl"):
		refuse(failure{403, "", "no user agent"})
		return
	case strings.Contains(path, "//") || (len(path) > 1 && strings.HasSuffix(path, "/")):
		refuse(failure{404, "", "no such path"})
		return
	case mutating && r.Method != http.MethodDelete && r.Header.Get("Content-Type") != "application/scim+json" && !f.plainOnly && !f.plainSilently,
		mutating && r.Method != http.MethodDelete && r.Header.Get("Content-Type") != "application/json" && f.plainOnly:
		refuse(failure{415, "", "media type"})
		return
	case !f.etags && r.Header.Get("If-Match") != "":
		refuse(failure{412, "", "no such condition"})
		return
	case mutating && f.redirectWrites != "":
		http.Redirect(w, r, f.redirectWrites+path, http.StatusTemporaryRedirect)
		return
	case count(&f.throttle):
		w.Header().Set("Retry-After", "1")
		if f.dateHint {
			w.Header().Set("Retry-After", time.Now().Add(time.Second).UTC().Format(http.TimeFormat))
		}
		refuse(failure{429, "", "slow down"})
		return
	case count(&f.throttleNoHint):
		refuse(failure{429, "", ""})
		return
	case count(&f.unavailable):
		w.Header().Set("Retry-After", "1")
		refuse(failure{503, "", "busy"})
		return
	}
	if f.plainSilently && r.Header.Get("Content-Type") != "application/json" {
		body = []byte("{}")
	}
	if strings.Contains(string(body), `"password"`) && !f.hashes {
		f.t.Errorf("%s %s carries a password", r.Method, path)
	}
	status, v, header := f.handle(r, path, body)
	if path == "/Groups" && status == 201 && f.lostGroups > 0 {
		f.lostGroups--
		panic(http.ErrAbortHandler) // after it was done
	}
	if mutating && r.Method == http.MethodPost && f.hangUp > 0 {
		f.hangUp--
		panic(http.ErrAbortHandler) // after it was done
	}
	if count(&f.late503) {
		status, v = 503, nil
	}
	for name, value := range header {
		w.Header().Set(name, value)
	}
	if e, ok := v.(failure); ok {
		if e.detail == "-" {
			answer(e.status, nil)
			return
		}
		refuse(e)
		return
	}
	answer(status, v)
}

func (f *fake) handle(r *http.Request, path string, body []byte) (int, any, map[string]string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	notFound := failure{404, "", "no such thing"}
	switch parts[0] {
	case "ServiceProviderConfig", "ServiceProviderConfigs":
		if f.noDiscovery || f.pluralConfig != (parts[0] == "ServiceProviderConfigs") {
			return 404, notFound, nil
		}
		return 200, f.config(), nil
	case "ResourceTypes", "Schemas":
		if f.noDiscovery {
			return 404, notFound, nil
		}
		list := f.types()
		if parts[0] == "Schemas" {
			list = f.schemas()
		}
		if f.bareLists {
			return 200, list, nil
		}
		return 200, f.keys(resource{"totalResults": len(list), "Resources": list}), nil
	case "Bulk":
		return f.bulkRequest(body)
	case "Users", "Groups":
	default:
		return 404, notFound, nil
	}
	store, users := f.users, true
	if parts[0] == "Groups" {
		store, users = f.groups, false
		if f.noGroups {
			return 404, notFound, nil
		}
	}
	if len(parts) == 2 && parts[1] == ".search" {
		in, err := decode(body)
		if !f.filterByPost {
			return 404, notFound, nil
		}
		if err != nil || !slices.Contains(elements(in["schemas"]), any(messageSearch)) {
			return 400, failure{400, "invalidSyntax", "not a search"}, nil
		}
		return f.list(url.Values{"filter": {in.text("filter")}}, users)
	}
	if len(parts) == 1 && r.Method == http.MethodGet && f.filterByPost && r.URL.Query().Has("filter") {
		if f.sensitive {
			return 403, failure{403, "sensitive", "not in an address"}, nil
		}
		return 400, failure{400, "invalidFilter", "not in an address"}, nil
	}
	if len(parts) == 1 {
		if r.Method == http.MethodPost {
			return f.create(users, body)
		}
		return f.list(r.URL.Query(), users)
	}
	id := parts[1]
	held := store[id]
	if held == nil {
		return 404, notFound, nil
	}
	switch r.Method {
	case http.MethodGet:
		if f.unseen(id) {
			return 404, notFound, nil
		}
		out := f.show(held)
		if f.membersOnRequest && r.URL.Query().Get("attributes") != "members" {
			delete(out, "members")
		}
		return 200, out, nil
	case http.MethodDelete:
		delete(store, id)
		f.order = slices.DeleteFunc(f.order, func(o string) bool { return o == id })
		for _, g := range f.groups {
			f.setMembers(g, nil, []string{id})
		}
		return 204, nil, nil
	case http.MethodPut:
		if f.stuckGroups > 0 && !users {
			return f.stuckGroups, failure{f.stuckGroups, "", "not now"}, nil
		}
		in, err := decode(body)
		if err != nil || (f.putNeedsID && in.id() != id) {
			return 400, failure{400, "invalidSyntax", "id"}, nil
		}
		in["id"] = id
		if f.putKeepsMembers && !users {
			in["members"] = held["members"]
		}
		f.keepPassword(in)
		store[id] = in
		return 200, f.show(in), nil
	case http.MethodPatch:
		if f.stuckGroups > 0 && !users {
			return f.stuckGroups, failure{f.stuckGroups, "", "not now"}, nil
		}
		if f.noPatch {
			return 405, failure{405, "", "no PATCH"}, nil
		}
		if f.racing > 0 && users {
			f.racing--
			held["version"] = "raced-" + strconv.Itoa(f.racing)
		}
		if f.etags && users && r.Header.Get("If-Match") != f.version(held) {
			return 412, failure{412, "", "version"}, nil
		}
		status, answer, header := f.patch(held, body, users)
		if id == f.vanishes {
			delete(f.users, id)
		}
		return status, answer, header
	}
	return 405, failure{405, "", "method"}, nil
}

func (f *fake) version(r resource) string { return `W/"` + r.text("version") + `"` }

func (f *fake) config() resource {
	on := func(v bool) resource { return resource{"supported": v} }
	bulk := on(f.bulk)
	bulk["maxOperations"], bulk["maxPayloadSize"] = f.maxOps, f.maxBytes
	return f.keys(resource{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   on(true), "bulk": bulk, "filter": resource{"supported": !f.claimsNoFilter, "maxResults": 200},
		"etag": on(f.etags), "sort": on(false), "pagination": resource{"cursor": f.cursor, "index": !f.cursor},
	})
}

func (f *fake) types() []resource {
	users := resource{"id": "User", "endpoint": f.prefix + "/Users", "schema": coreUser}
	if f.extension {
		users["schemaExtensions"] = []resource{{"schema": DefaultExtension, "required": false}}
	}
	list := []resource{users}
	if !f.noGroups {
		list = append(list, resource{"id": "Group", "endpoint": f.prefix + "/Groups", "schema": coreGroup})
	}
	return list
}

func (f *fake) schemas() []resource {
	if f.silentAboutUser {
		return []resource{{"id": coreGroup, "attributes": []any{resource{"name": "displayName"}}}}
	}
	var list []any
	for _, name := range []string{"userName", "name", "displayName", "active", "emails", "phoneNumbers", "title", "roles", "groups"} {
		list = append(list, resource{"name": name, "type": "string", "required": name == "userName"})
	}
	return []resource{{"id": coreUser, "attributes": list}}
}

// keys writes names as the profile has them.
func (f *fake) keys(r resource) resource {
	if !f.lowerKeys {
		return r
	}
	out := resource{}
	for k, v := range r {
		out[strings.ToLower(k)] = v
	}
	return out
}

func (f *fake) show(r resource) resource {
	out := maps.Clone(r)
	version := out.text("version")
	delete(out, "version")
	if f.etags {
		out["meta"] = resource{"resourceType": "User", "version": `W/"` + version + `"`}
	} else {
		out["meta"] = resource{"resourceType": "User", "location": f.url + "/Users/" + r.id()}
	}
	if f.idInMeta && out["userName"] != nil {
		delete(out, "id")
	}
	if created := f.created[r.id()]; !created.IsZero() {
		out["meta"].(resource)["created"] = created.UTC().Format(time.RFC3339)
	}
	if f.hideMembers {
		delete(out, "members")
	}
	if f.stringBooleans && out["active"] != nil {
		out["active"] = "True"
	}
	return f.keys(out)
}

var filterPattern = regexp.MustCompile(`^(\w+) eq (".*")$`)

func (f *fake) list(q url.Values, users bool) (int, any, map[string]string) {
	var all []resource
	if users {
		for _, id := range f.order {
			if f.unseen(id) {
				continue
			}
			if !f.hideExisting || !strings.HasPrefix(id, "there") {
				all = append(all, f.users[id])
			}
		}
	} else {
		for _, id := range slices.Sorted(maps.Keys(f.groups)) {
			all = append(all, f.groups[id])
		}
	}
	if text := q.Get("filter"); text != "" && !f.ignoreFilter {
		m := filterPattern.FindStringSubmatch(text)
		var value string
		if m == nil || f.noFilter || json.Unmarshal([]byte(m[2]), &value) != nil {
			return 400, failure{400, "invalidFilter", text}, nil
		}
		all = slices.DeleteFunc(all, func(r resource) bool {
			have := r.text(m[1])
			switch {
			case f.ignoreKeyFilter && m[1] == "externalId":
				return false
			case f.emptyFilter, m[1] == "externalId" && f.noKeyFilter:
				return true
			case m[1] == "userName" && !f.caseFilter:
				return !strings.EqualFold(have, value)
			}
			return have != value
		})
	}
	if (f.refuseAttributes && (q.Has("attributes") || q.Has("excludedAttributes"))) || (f.refuseCount && q.Has("count") && q.Get("count") != "1") {
		return 400, failure{400, "invalidValue", "parameter"}, nil
	}
	total := len(all)
	start, _ := strconv.Atoi(q.Get("startIndex"))
	if q.Has("cursor") {
		start, _ = strconv.Atoi(q.Get("cursor"))
		start++
	}
	start = max(start, 1)
	if f.startCap > 0 && start > f.startCap {
		return 400, resource{"Errors": []any{resource{"description": "use another query", "code": 400}}}, nil
	}
	size, err := strconv.Atoi(q.Get("count"))
	if err != nil {
		size = 100
	}
	if f.pageCap > 0 {
		size = min(size, f.pageCap)
	}
	switch {
	case f.noPages:
		start, size = 1, len(all)
	case f.ignoreStart:
		start = 1
	case f.repeatPage:
		start = (start/size)*size + 1
		if start > size {
			start -= size
		}
	}
	page := []resource{}
	for i := start - 1; i < len(all) && len(page) < size; i++ {
		page = append(page, f.show(all[i]))
	}
	out := resource{"totalResults": total, "startIndex": start, "itemsPerPage": len(page), "Resources": page}
	if f.noTotal {
		delete(out, "totalResults")
	}
	if f.bigItems {
		out["itemsPerPage"] = 9999
	}
	if f.cursor {
		if end := start - 1 + len(page); end < total {
			out["nextCursor"] = strconv.Itoa(end)
		}
	}
	return 200, f.keys(out), nil
}

// keepPassword takes the password out of an account, which shows none.
func (f *fake) keepPassword(u resource) {
	if p := u.text("password"); p != "" {
		f.passwords[u.id()] = p
		delete(u, "password")
	}
}

// unseen reports whether an account is not shown yet.
func (f *fake) unseen(id string) bool {
	if f.hidden[id] > 0 {
		f.hidden[id]--
		return true
	}
	return time.Since(f.made[id]) < f.late
}

func (f *fake) create(users bool, body []byte) (int, any, map[string]string) {
	in, err := decode(body)
	if err != nil {
		return 400, failure{400, "invalidSyntax", "JSON"}, nil
	}
	if !users {
		if in.text("displayName") == "" || (f.strictGroups && len(in) > 2) {
			return 400, failure{400, "invalidSyntax", "unknown attribute"}, nil
		}
		f.next++
		id := fmt.Sprintf("g%d", f.next)
		in["id"] = id
		f.groups[id] = in
		return 201, f.show(in), nil
	}
	sent := deepCopy(in)
	if f.seats != 0 && len(f.users) >= f.seats {
		return f.seatSays.status, f.seatSays, nil
	}
	id, e := f.insert(in)
	if e != nil {
		return e.status, *e, nil
	}
	header := map[string]string{"Location": f.url + "/Users/" + url.PathEscape(id)}
	if f.relativeLocation {
		header["Location"] = "Users/" + url.PathEscape(id)
	}
	if f.noLocation {
		header = nil
	}
	status := 201
	if f.otherHost {
		header["Location"] = "https://elsewhere.invalid/scim/v2/Users/" + url.PathEscape(id)
	}
	if f.with200 {
		status = 200
	}
	if f.echo { // whatever was kept of it
		sent["id"] = id
		return status, f.show(sent), header
	}
	if f.accepted202 {
		return 202, nil, nil
	}
	if f.noBody {
		return status, nil, header
	}
	return status, f.show(f.users[id]), header
}

func (f *fake) insert(in resource) (string, *failure) {
	name := in.text("userName")
	known := map[string]bool{"schemas": true, "externalid": true, "username": true, "name": true, "displayname": true, "active": true, "emails": true, "phonenumbers": true, "title": true, "roles": true}
	if f.extension {
		known[strings.ToLower(DefaultExtension)] = true
	}
	if _, ok := in["active"].(bool); !ok || name == "" || in["id"] != nil || !slices.Contains(elements(in["schemas"]), any(coreUser)) {
		return "", &failure{400, "invalidSyntax", "not a user"}
	}
	if strings.Contains(name, "refuse-me") {
		return "", &failure{400, "invalidValue", "we do not like " + name}
	}
	if f.refuseUnknown {
		for k := range in {
			if !known[strings.ToLower(k)] {
				return "", &failure{400, "invalidSyntax", "unknown attribute " + k}
			}
		}
	}
	if name, _ := objectOf(in["name"]); f.namesRequired && (name.text("givenName") == "" || name.text("familyName") == "") {
		return "", &failure{400, "invalidValue", "names are required"}
	}
	for name, kinds := range map[string][]string{"emails": {"work", "home", "other"}, "phoneNumbers": {"work", "home", "mobile", "fax", "pager", "other"}} {
		for _, e := range elements(in[name]) {
			if o, _ := objectOf(e); !slices.Contains(kinds, o.text("type")) {
				return "", &failure{400, "invalidValue", name + ".type"}
			}
		}
	}
	for id, u := range f.users {
		if strings.EqualFold(u.text("userName"), name) && !f.twice {
			if f.adoptOnPost {
				maps.Copy(u, in)
				return id, nil
			}
			if f.linkOnPost { // and says since when it is there
				u["externalId"] = in["externalId"]
				return id, nil
			}
			switch {
			case f.emptyConflict:
				return "", &failure{409, "", "-"}
			case f.conflict400:
				return "", &failure{400, "uniqueness", ""}
			case f.conflict500:
				return "", &failure{500, "", "duplicate key value violates unique constraint"}
			}
			return "", &failure{409, "uniqueness", "userName is taken"}
		}
	}
	for k := range in {
		if slices.ContainsFunc(f.drop, func(d string) bool { return strings.EqualFold(d, k) }) {
			delete(in, k)
		}
	}
	if f.noKeys {
		delete(in, "externalId")
	}
	if f.reformatPhone {
		for _, e := range elements(in["phoneNumbers"]) {
			o, _ := objectOf(e)
			o["value"] = "00" + strings.TrimPrefix(o.text("value"), "+")
		}
	}
	if list := elements(in["emails"]); f.oneEmail && len(list) > 1 {
		in["emails"] = list[:1]
	}
	if list := elements(in["emails"]); f.lastEmail && len(list) > 1 {
		in["emails"] = list[len(list)-1:]
	}
	if f.addAttributes {
		in["userType"], in["locale"] = "Employee", "en_US"
	}
	f.next++
	id := fmt.Sprintf("%sid-%d", f.idPrefix, f.next)
	if f.phantom > 0 {
		f.phantom--
		return id, nil
	}
	in["id"], in["version"] = id, "1"
	f.keepPassword(in)
	f.users[id] = in
	f.order = append(f.order, id)
	f.made[id] = time.Now()
	if f.lag > 0 {
		f.hidden[id] = f.lag
	}
	return id, nil
}
