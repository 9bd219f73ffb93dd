package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// bulkOperation is one operation of a Bulk request.
type bulkOperation struct {
	Method string          `json:"method"`
	Path   string          `json:"path"`
	BulkID string          `json:"bulkId,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

type bulkRequest struct {
	Schemas      []string        `json:"schemas"`
	FailOnErrors int             `json:"failOnErrors,omitempty"`
	Operations   []bulkOperation `json:"Operations"`
}

// leastBulk is the number of users below which Bulk is not worth it.
const leastBulk = 3

// fitting is how many of the deliveries fit into one request.
func (s sender) fitting(all []*delivery, size int) int {
	room := s.facts.maxBytes * 9 / 10
	used := 200
	for i, d := range all {
		used += len(d.body) + 100
		if i > 0 && (i >= size || (room > 0 && used > room)) {
			return i
		}
	}
	return len(all)
}

// sendBulk creates accounts with one request, or with several where that is too
// large for the server. again marks users that were sent before.
func (s sender) sendBulk(ctx context.Context, part []*delivery, again bool) error {
	if len(part) < leastBulk || !s.pace.bulk() {
		took := s.pace.start()
		g, ctx := errgroup.WithContext(ctx)
		for _, d := range part {
			g.Go(func() error { return s.post(ctx, d) })
		}
		err := g.Wait()
		if err == nil {
			took(len(part))
		}
		return err
	}
	// References between operations are not used: some servers store them as text.
	// bulkIds are of one width and plain, since some servers search for them.
	body := bulkRequest{Schemas: []string{messageBulk}}
	if again {
		body.FailOnErrors = len(part) + 1 // against a server that stops by itself
	}
	byID := make(map[string]*delivery, len(part))
	for i, d := range part {
		id := fmt.Sprintf("u%06d", i+1)
		byID[id] = d
		body.Operations = append(body.Operations, bulkOperation{Method: http.MethodPost, Path: s.facts.users, BulkID: id, Data: d.body})
	}
	raw, err := marshal(body)
	if err != nil {
		return err
	}
	r := request{method: http.MethodPost, path: "/Bulk", body: raw, weight: len(part), paced: true}
	took := s.pace.start()
	a, err := s.api.do(ctx, r)
	if lost(err) {
		s.pace.slower()
		s.inDoubt(part, err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("send %d users: %w", len(part), err)
	}
	// What looks like a reply is one, whatever the status.
	if results := bulkResults(a.body); results != nil {
		s.assign(results, byID, part)
		took(len(part))
		return nil
	}
	e := s.api.problem(r, a)
	for _, d := range part {
		e.detail = d.safe(e.detail)
	}
	switch {
	case e.status >= 200 && e.status <= 299:
		s.inDoubt(part, fmt.Errorf("the server answered %d without results", e.status))
		return nil
	case e.status < 400, e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return fmt.Errorf("send users in bulk: %w", e)
	case unable(e):
		s.pace.noBulk()
		return s.sendBulk(ctx, part, again)
	case e.tooBig():
		s.pace.smaller(len(part))
		half := len(part) / 2
		if err := s.sendBulk(ctx, part[:half], again); err != nil {
			return err
		}
		return s.sendBulk(ctx, part[half:], again)
	case e.status == http.StatusTooManyRequests:
		for _, d := range part {
			d.state, d.last = waiting, e
		}
		return nil
	}
	s.pace.failed()
	s.inDoubt(part, e)
	return nil
}

// inDoubt has users looked up that a request may have created.
func (s sender) inDoubt(part []*delivery, why error) {
	for _, d := range part {
		d.state, d.doubt, d.last = unclear, true, why
	}
}

// bulkResults reads the operations of a reply; nil when it is none.
func bulkResults(body []byte) []resource {
	r, err := decode(body)
	if err != nil {
		return nil
	}
	list, ok := r.get("Operations").([]any)
	if !ok {
		return nil
	}
	out := []resource{}
	for _, e := range list {
		if o, isObject := objectOf(e); isObject {
			out = append(out, o)
		}
	}
	return out
}

// assign joins results to users by bulkId, never by their order. Whoever has no
// result is in doubt.
func (s sender) assign(results []resource, byID map[string]*delivery, part []*delivery) {
	answered := map[*delivery]bool{}
	for _, o := range results {
		d := byID[o.text("bulkId")]
		if d == nil {
			continue // an entry that names nobody says nothing about anybody
		}
		answered[d] = true
		response := responseOf(o)
		code := statusOf(o.get("status"))
		if code >= 200 && code <= 299 {
			if response == nil {
				response = resource{}
			}
			if response.id() == "" && o.id() != "" {
				response["id"] = o.get("id")
			}
			d.accept(response, o.text("location"), code, s.facts.users)
			continue
		}
		e := &statusError{method: http.MethodPost, path: s.facts.users, status: code}
		if response != nil {
			raw, _ := marshal(response) // of decoded JSON
			e.kind, e.detail = explainBody(raw)
			e.detail = clip(s.api.scrubber.Text(e.detail))
		}
		switch {
		case notHandled(e):
			d.state, d.last = waiting, e
		case code == 0:
			d.state, d.doubt, d.last = unclear, true, errors.New("the server gave a result without a status")
		default:
			d.refuse(e)
		}
	}
	for _, d := range part {
		if !answered[d] {
			d.state, d.doubt, d.last = unclear, true, errors.New("the server's reply does not mention the user")
		}
	}
}

// notHandled reports whether an operation was left out because of others.
func notHandled(e *statusError) bool {
	if e.status == http.StatusPreconditionFailed || e.status == http.StatusFailedDependency {
		return true
	}
	detail := strings.ToLower(e.detail)
	return strings.Contains(detail, "failonerrors") || strings.Contains(detail, "not handled") || strings.EqualFold(e.kind, "cancelled")
}

// responseOf is the response of an operation: an object, or text that holds one.
func responseOf(o resource) resource {
	switch v := o.get("response").(type) {
	case string:
		r, _ := decode([]byte(v)) // text that is no JSON says nothing
		return r
	default:
		r, _ := objectOf(v)
		return r
	}
}

// statusOf reads "201", 201, {"code": …} and "201 Created".
func statusOf(v any) int {
	if o, ok := objectOf(v); ok {
		v = o.get("code")
	}
	s := text(v)
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	n, _ := strconv.Atoi(s[:i]) // 0 is unknown
	return n
}
