package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// statusError is a refusal by the server.
type statusError struct {
	method, path string
	status       int
	kind         string // scimType
	detail       string
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("%s %s answers %d", e.method, e.path, e.status)
	if e.kind != "" {
		s += " " + e.kind
	}
	if e.detail != "" {
		s += ": " + e.detail
	}
	return s
}

// status of a refusal, 0 for any other error.
func status(err error) int {
	if e, ok := errors.AsType[*statusError](err); ok {
		return e.status
	}
	return 0
}

// refused reports whether the server does not want this request, now or later.
func refused(err error) bool {
	s := status(err)
	return s >= 400 && s < 500 && !busy(s) && s != http.StatusTooManyRequests && s != http.StatusUnauthorized && s != http.StatusForbidden
}

// unable reports whether the server lacks what was asked for.
func unable(err error) bool {
	s := status(err)
	return s == http.StatusMethodNotAllowed || s == http.StatusNotImplemented || s == http.StatusNotFound
}

var duplicateWords = regexp.MustCompile(`(?i)uniqueness|duplicate|already (exists|in use|taken|registered)|must be unique|not unique|conflict`)

// taken reports whether the server says that such an account exists.
func (e *statusError) taken() bool {
	return e.status == http.StatusConflict || strings.EqualFold(e.kind, "uniqueness")
}

// perhapsTaken is taken, or words that may mean it: some servers answer 400 or 500. Only
// an account that is there makes a conflict of them.
func (e *statusError) perhapsTaken() bool {
	return e.taken() || (e.status == http.StatusBadRequest || e.status == http.StatusInternalServerError) && duplicateWords.MatchString(e.detail)
}

var seatWords = regexp.MustCompile(`(?i)\b(seats?|licen[sc]es?|subscription|(user|account|plan) (limit|quota))\b`)

// noSeats reports whether the provider refuses accounts because its plan has room for no
// more of them.
func (e *statusError) noSeats() bool {
	switch e.status {
	case http.StatusPaymentRequired:
		return true
	case http.StatusBadRequest, http.StatusForbidden, http.StatusConflict, http.StatusUnprocessableEntity:
		return seatWords.MatchString(e.detail)
	}
	return false
}

func noSeats(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.noSeats()
}

var sizeWords = regexp.MustCompile(`(?i)too ?(many|large)|max(imum|_?operations|_?payload)?\b.*(operation|payload|size|bulk)|exceed`)

// tooBig reports whether a Bulk request was refused for its size.
func (e *statusError) tooBig() bool {
	switch {
	case e.status == http.StatusRequestEntityTooLarge:
		return true
	case e.status != http.StatusBadRequest:
		return false
	}
	switch strings.ToLower(e.kind) {
	case "toomany", "toolarge", "unparseablerequest":
		return true
	}
	return sizeWords.MatchString(e.detail)
}

var titlePattern = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

const maxDetail = 300

// cutMark ends words that were cut.
const cutMark = "…"

// problem makes an error of an answer that is none of the 2xx. Servers have many
// shapes for it.
func (t *transport) problem(r request, a *answer) *statusError {
	e := &statusError{method: r.method, path: r.path, status: a.status}
	e.kind, e.detail = explainBody(a.body)
	if a.status >= 300 && a.status < 400 {
		e.detail = "a redirect to another address, which is not followed"
	}
	e.detail = clip(t.scrubber.Text(e.detail))
	return e
}

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) <= maxDetail {
		return s
	}
	s = s[:maxDetail]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + cutMark
}

// explainBody reads an error of SCIM 2.0, 1.1 or none of them.
func explainBody(body []byte) (kind, detail string) {
	r, err := decode(body)
	if err != nil {
		if m := titlePattern.FindSubmatch(body); m != nil {
			return "", "a web page: " + html.UnescapeString(string(m[1]))
		}
		return "", ""
	}
	kind = r.text("scimType")
	for _, name := range []string{"detail", "error_description", "message", "error", "title"} {
		if detail = r.text(name); detail != "" {
			return kind, detail
		}
	}
	for _, e := range elements(r.get("Errors")) {
		if o, ok := objectOf(e); ok {
			return kind, o.text("description")
		}
	}
	return kind, ""
}

// call sends a request and makes an error of what is not 2xx.
func (t *transport) call(ctx context.Context, r request) (*answer, error) {
	a, err := t.do(ctx, r)
	if err != nil {
		return nil, err
	}
	if a.status < 200 || a.status > 299 {
		return a, t.problem(r, a)
	}
	return a, nil
}

// write is call for whoever needs no answer. Deleting what is gone is done.
func (t *transport) write(ctx context.Context, r request) error {
	_, err := t.call(ctx, r)
	if r.method == http.MethodDelete && (status(err) == http.StatusNotFound || status(err) == http.StatusGone) {
		return nil
	}
	return err
}

// errNotJSON says that something answers which does not speak SCIM.
var errNotJSON = errors.New("the answer is not JSON")

func (t *transport) read(ctx context.Context, path, query string) (resource, error) {
	a, err := t.call(ctx, request{method: http.MethodGet, path: path, query: query})
	if err != nil {
		return nil, err
	}
	r, err := decode(a.body)
	if err != nil {
		if _, detail := explainBody(a.body); detail != "" {
			return nil, fmt.Errorf("GET %s: %w but %s", path, errNotJSON, clip(detail))
		}
		return nil, fmt.Errorf("GET %s: %w", path, errNotJSON)
	}
	return r, nil
}

// one reads a user or group, nil when there is none.
func (t *transport) one(ctx context.Context, endpoint, id string) (resource, error) {
	path, err := pathOf(endpoint, id)
	if err != nil {
		return nil, err
	}
	r, err := t.read(ctx, path, "")
	if status(err) == http.StatusNotFound || status(err) == http.StatusGone {
		return nil, nil
	}
	if err == nil && r.id() == "" {
		r.set("id", id)
	}
	return r, err
}

// pathOf appends an id, which a server has chosen, to an endpoint.
func pathOf(endpoint, id string) (string, error) {
	if id == "" || id == "." || id == ".." {
		return "", fmt.Errorf("%q is no usable id", id)
	}
	return endpoint + "/" + url.PathEscape(id), nil
}

// page is one answer to a list request.
type page struct {
	resources []resource
	total     int // -1 when the server does not say
	next      string
}

func (t *transport) list(ctx context.Context, endpoint, query string) (page, error) {
	a, err := t.call(ctx, request{method: http.MethodGet, path: endpoint, query: query})
	if err != nil {
		return page{}, err
	}
	p, err := parsePage(a.body)
	if err != nil {
		return p, fmt.Errorf("GET %s: %w", endpoint, err)
	}
	return p, nil
}

// search lists what a filter finds: by GET, or by POST .search (RFC 7644, 3.4.3)
// where the server does not take the filter in an address, for what stands in it or
// for its length.
func (t *transport) search(ctx context.Context, endpoint, filter string) (page, error) {
	if t.posting.Load() {
		return t.postSearch(ctx, endpoint, filter)
	}
	p, err := t.list(ctx, endpoint, "filter="+escape(filter))
	e, ok := errors.AsType[*statusError](err)
	if !ok {
		return p, err
	}
	sensitive := e.status == http.StatusForbidden && strings.EqualFold(e.kind, "sensitive")
	if !sensitive && e.status != http.StatusRequestURITooLong && e.status != http.StatusRequestHeaderFieldsTooLarge {
		return p, err
	}
	found, postErr := t.postSearch(ctx, endpoint, filter)
	if postErr != nil {
		return p, err
	}
	t.posting.Store(sensitive) // other filters may be shorter
	return found, nil
}

func (t *transport) postSearch(ctx context.Context, endpoint, filter string) (page, error) {
	body, err := marshal(resource{"schemas": []string{messageSearch}, "filter": filter})
	if err != nil {
		return page{}, err
	}
	a, err := t.call(ctx, request{method: http.MethodPost, path: endpoint + "/.search", body: body, reads: true})
	if err != nil {
		return page{}, err
	}
	p, err := parsePage(a.body)
	if err != nil {
		return p, fmt.Errorf("POST %s/.search: %w", endpoint, err)
	}
	return p, nil
}

// parsePage reads a ListResponse, or a bare list.
func parsePage(body []byte) (page, error) {
	p := page{total: -1}
	var list []any
	r, err := decode(body)
	if err != nil {
		if json.Unmarshal(body, &list) != nil {
			return p, errNotJSON
		}
		p.total = len(list)
	} else {
		list = elements(r.get("Resources"))
		p.next = r.text("nextCursor")
		if n, err := strconv.Atoi(r.text("totalResults")); err == nil {
			p.total = n
		}
	}
	for _, e := range list {
		if o, ok := objectOf(e); ok {
			p.resources = append(p.resources, o)
		}
	}
	return p, nil
}

// filter renders attribute eq "value". A value is a JSON string.
func filter(attribute, value string) string {
	b, _ := marshal(value) // a string always encodes
	return attribute + " eq " + string(b)
}

// escape is for queries: a space is %20, for + stands for itself on some servers.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// idOf finds the id of a new resource in an answer to POST: its own, or the end of
// a location. Ids can hold slashes, so it is what follows the endpoint. No location
// is ever called.
func idOf(r resource, location, endpoint string) string {
	if id := r.id(); id != "" {
		return id
	}
	if location == "" {
		if meta, ok := objectOf(r.get("meta")); ok {
			location = meta.text("location")
		}
	}
	path := location
	if u, err := url.Parse(location); err == nil {
		path = u.EscapedPath()
	}
	name := strings.TrimPrefix(endpoint, "/") + "/"
	i := strings.LastIndex("/"+path, "/"+name)
	if i < 0 {
		return ""
	}
	id, err := url.PathUnescape(strings.TrimSuffix(("/" + path)[i+1+len(name):], "/"))
	if err != nil {
		return ""
	}
	return id
}
