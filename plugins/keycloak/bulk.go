package keycloak

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/stetl/stetl/core/sdk/httpx"
)

// The endpoints of our provider, below /admin/realms/REALM/stetl: what partialImport
// and the account's own endpoints do, for many at a time and each for itself. A
// server need not have them.

// maxAddress is how long a list of ids may be in an address; servers take 4096.
const maxAddress = 3000

// bulkVersion is the one of the endpoints that is spoken here.
const bulkVersion = 1

// hasBulk reports whether the server has the endpoints and lets the client use them.
func (a *api) hasBulk(ctx context.Context) (bool, error) {
	var about struct {
		Version int `json:"version"`
	}
	err := a.read(ctx, a.realmPath("stetl"), nil, &about)
	if status(err) == http.StatusNotFound || status(err) == http.StatusForbidden {
		return false, nil
	}
	return about.Version == bulkVersion, err
}

// bulkResult is what the server says of one user: 201 created, 200 the id, the name
// or the address is in use, anything else refused.
type bulkResult struct {
	Status int    `json:"status"`
	Error  string `json:"error"`
}

// loadUsers creates each user that is not there, and answers for each, in order.
// Sending again is safe.
func (a *api) loadUsers(ctx context.Context, users []json.RawMessage) ([]bulkResult, error) {
	body, err := json.Marshal(users)
	if err != nil {
		return nil, fmt.Errorf("encode %d users: %w", len(users), err)
	}
	var results []bulkResult
	err = a.call(httpx.Paced(httpx.Retryable(ctx)), http.MethodPost, a.loadPath(), nil, body, &results)
	if err == nil && len(results) != len(users) {
		return nil, fmt.Errorf("the server answered for %d users of %d", len(results), len(users))
	}
	return results, err
}

func (a *api) loadPath() string { return a.realmPath("stetl", "users") }

// accountsByID reads accounts with all that a load sets, without organizations and
// without those that are not there.
func (a *api) accountsByID(ctx context.Context, ids []string) (map[string]*detail, error) {
	found := make(map[string]*detail, len(ids))
	for len(ids) > 0 {
		size, n := 0, 0
		for n < len(ids) && (n == 0 || size+len(url.QueryEscape(ids[n])) < maxAddress) {
			size += len("&id=") + len(url.QueryEscape(ids[n]))
			n++
		}
		part := ids[:n]
		ids = ids[n:]
		var page []struct {
			account
			Credentials []heldCredential `json:"credentials"`
			Roles       []role           `json:"roles"`
			Groups      []group          `json:"groups"`
			Links       []link           `json:"links"`
		}
		err := a.read(ctx, a.realmPath("stetl", "accounts"), url.Values{"id": part}, &page)
		if err != nil {
			return nil, fmt.Errorf("read %d accounts: %w", len(part), err)
		}
		for _, p := range page {
			found[p.ID] = &detail{
				account: p.account, Credentials: p.Credentials,
				Roles: p.Roles, Groups: p.Groups, Links: p.Links,
			}
		}
	}
	return found, nil
}
