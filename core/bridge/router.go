package bridge

import (
	"fmt"
	"net/http"
	"strings"
)

// route is what answers a path, by method.
type route map[string]http.HandlerFunc

// router finds what answers a path. The configuration chooses most paths, which may thus
// be taken twice.
type router struct {
	exact    map[string]route
	prefixes map[string]route
	tenants  []tenantRoute
	taken    string
}

// tenantRoute is what answers a path of SuperTokens' API at every tenant.
type tenantRoute struct {
	base, path string
	route
}

func newRouter() *router { return &router{exact: map[string]route{}, prefixes: map[string]route{}} }

func (t *router) add(path string, r route) {
	if t.exact[path] != nil {
		t.taken = path
	}
	t.exact[path] = r
}

// api adds a path of SuperTokens' API, and those that its SDKs use for other tenants:
// the name of the tenant stands before the part that the API has fixed.
func (t *router) api(path, fixed string, r route) {
	t.add(path, r)
	if base, ok := strings.CutSuffix(path, fixed); ok {
		t.tenants = append(t.tenants, tenantRoute{base + "/", fixed, r})
	}
}

// below adds what answers all paths that begin with a prefix.
func (t *router) below(prefix string, r route) { t.prefixes[prefix] = r }

func (t *router) err() error {
	if t.taken != "" {
		return fmt.Errorf("path %s is taken twice in the configuration of the bridge", t.taken)
	}
	return nil
}

// find returns what answers a path, and the path without the names that may be in it, for
// metrics.
func (t *router) find(path string) (found route, label string, ok bool) {
	if found, ok = t.exact[path]; ok {
		return found, path, true
	}
	for _, at := range t.tenants {
		rest, under := strings.CutPrefix(path, at.base)
		if tenant, fits := strings.CutSuffix(rest, at.path); under && fits && tenant != "" && !strings.Contains(tenant, "/") {
			return at.route, at.base + "{tenant}" + at.path, true
		}
	}
	for prefix, under := range t.prefixes {
		if strings.HasPrefix(path, prefix) {
			return under, prefix, true
		}
	}
	return nil, "", false
}
