//go:build unix

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
	"github.com/stetl/stetl/examples/rest/idp"
	"github.com/stetl/stetl/internal/testserver/testenv"
)

// remote is a target behind HTTP that can do no more than load.
type remote struct {
	url    string
	breaks string
	client *http.Client
}

func remotePlugin(breaks string) sdk.Plugin[struct {
	URL string `json:"url"`
}] {
	type config = struct {
		URL string `json:"url"`
	}
	return sdk.Plugin[config]{
		Name: "remote", Version: "1", Capabilities: sdk.Capabilities{MaxIDLength: 64},
		New: func(_ context.Context, c config, env sdk.Env) (sdk.Target, error) {
			r := &remote{url: c.URL, breaks: breaks, client: httpx.NewClient(httpx.Options{UserAgent: env.UserAgent})}
			if breaks == "throttled" {
				r.client = http.DefaultClient
			}
			return r, nil
		},
	}
}

func (r *remote) call(ctx context.Context, method, path string, in, out any) (int, error) {
	raw, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer token")
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 {
		err = json.NewDecoder(resp.Body).Decode(out)
	}
	return resp.StatusCode, err
}

func (r *remote) Load(ctx context.Context, users []sdk.User, out sdk.Outcomes) error {
	for _, u := range users {
		o := sdk.Outcome{SourceID: u.SourceID, Action: sdk.Created}
		var found []idp.User
		status, err := r.call(ctx, http.MethodGet, "/users?external_id="+url.QueryEscape(u.ID), nil, &found)
		switch {
		case err != nil:
			return err
		case status == http.StatusUnauthorized && r.breaks == "denied": // the mistake: to take every refusal for one of the user
			o.Action, o.Code = sdk.Rejected, "load.target_refused"
		case status == http.StatusTooManyRequests, status == http.StatusUnauthorized:
			return fmt.Errorf("the target answers with %d", status)
		case len(found) > 0 && r.updates() && u.Existing == sdk.Update:
			r.update(ctx, u, found[0], &o)
		case len(found) > 0 && (found[0].Email != u.Email || found[0].Disabled == u.Enabled):
			o.Action, o.Code, o.TargetID = sdk.Skipped, "load.exists_differs", found[0].ID
		case len(found) > 0:
			o.Action, o.TargetID = sdk.Unchanged, found[0].ID
		default:
			r.create(ctx, u, &o)
		}
		out.Report(o)
	}
	return nil
}

func (r *remote) create(ctx context.Context, u sdk.User, o *sdk.Outcome) {
	want := idp.User{ExternalID: u.ID, Username: u.Username, Email: u.Email, GivenName: u.GivenName, FamilyName: u.FamilyName, Disabled: !u.Enabled}
	var made idp.User
	status, err := r.call(ctx, http.MethodPost, "/users", want, &made)
	if err != nil && r.breaks == "cut-off" { // the mistake: to send it again and hope
		status, err = r.call(ctx, http.MethodPost, "/users", want, &made)
	}
	switch {
	case err != nil:
		o.Action, o.Code = sdk.InDoubt, "load.unknown_answer"
	case status >= 300:
		o.Action, o.Code, o.Detail = sdk.Rejected, "load.target_refused", fmt.Sprint(status)
	default:
		o.TargetID = made.ID
	}
}

// updates says that it can do more, for the rules about that.
func (r *remote) updates() bool { return r.breaks == "broken-off" || r.breaks == "only updates" }

// update changes an account in two steps: its names, and what else there is.
func (r *remote) update(ctx context.Context, u sdk.User, has idp.User, o *sdk.Outcome) {
	o.Action, o.TargetID = sdk.Unchanged, has.ID
	if r.breaks == "broken-off" && u.Prior.InDoubt && has.GivenName == u.GivenName {
		return // the mistake: the first step is there, so that the second must be, too
	}
	id := has.ID
	has.ID = "" // which nobody may send
	first := has
	first.GivenName, first.FamilyName = u.GivenName, u.FamilyName
	second := first
	second.Username, second.Email, second.Disabled = u.Username, u.Email, !u.Enabled
	for _, want := range []idp.User{first, second} {
		if want == has {
			continue
		}
		o.Action, o.Changed = sdk.Updated, []string{"names and address"}
		var now idp.User
		if status, err := r.call(ctx, http.MethodPut, "/users/"+id, want, &now); err != nil || status >= 300 {
			o.Action, o.Code, o.Changed = sdk.InDoubt, "load.unknown_answer", nil
			return
		}
		has = want
	}
}

func TestFrontKills(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "kills updates at every request")
	for breaks, want := range map[string]Status{"only updates": Passed, "broken-off": Failed} {
		t.Run(breaks, func(t *testing.T) {
			t.Parallel()
			front := NewFront(idp.New("token"))
			server := httptest.NewServer(front)
			defer server.Close()
			report, err := Run(t.Context(), Suite{Start: InProcess(remotePlugin(breaks), map[string]any{"url": server.URL}), Front: front, Only: []string{"broken-off"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range report.Results {
				if r.Rule == "broken-off" && r.Status != want {
					t.Errorf("%s %s: %q", r.Status, r.Reason, r.Problems)
				}
			}
		})
	}
}

func TestFront(t *testing.T) {
	t.Parallel()
	testenv.Slow(t, "tries every rule on disturbed plugins")
	for _, breaks := range []string{"", "throttled", "cut-off", "denied"} {
		t.Run("breaks "+breaks, func(t *testing.T) {
			t.Parallel()
			front := NewFront(idp.New("token"))
			server := httptest.NewServer(front)
			defer server.Close()
			report, err := Run(t.Context(), Suite{Start: InProcess(remotePlugin(breaks), map[string]any{"url": server.URL}), Front: front})
			if err != nil {
				t.Fatal(err)
			}
			if breaks != "" {
				wantFailed(t, report, breaks)
				return
			}
			for _, r := range report.Results {
				if r.Status == Failed {
					t.Errorf("%s: %q", r.Rule, r.Problems)
				}
			}
		})
	}
}
