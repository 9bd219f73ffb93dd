package keycloak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/stetl/stetl/core/sdk/httpx"
)

// The endpoints of our provider, below /admin/realms/REALM/stetl: what partialImport
// and the account's own endpoints do, for many at a time and each for itself. A
// server need not have them.

// bulkVersion is the one of the endpoints that is spoken here.
const bulkVersion = 1

// provided speaks with the endpoints of our provider.
type provided struct{ *api }

// endpoints are what the server has of them.
type endpoints struct {
	Version int `json:"version"`
	// Compares: it says of credentials whether they are the ones that are meant.
	Compares bool `json:"compares"`
	// Elsewhere: it says of ids whether other realms have them.
	Elsewhere bool `json:"elsewhere"`
	// Finds: it says who has names and addresses. Looks: it says what was done to
	// accounts, to whoever asks by GET, and deletes those that are as they were seen.
	Finds bool `json:"finds"`
	Looks bool `json:"looks"`
	// Matches: it says which accounts are exactly as expected.
	Matches bool `json:"matches"`
}

// old says that the server has a jar that is older than this program.
func (e endpoints) old() bool {
	return e.Version > 0 && (!e.Compares || !e.Finds || !e.Looks || !e.Elsewhere || !e.Matches)
}

// endpoints asks what the server has and lets the client use: nothing has version 0.
func (a provided) endpoints(ctx context.Context) (about endpoints, err error) {
	err = a.read(ctx, a.realmPath("stetl"), nil, &about)
	if s := status(err); s == http.StatusNotFound || s == http.StatusForbidden {
		return endpoints{}, nil
	}
	if about.Version != bulkVersion {
		about = endpoints{}
	}
	return about, err
}

// ask sends entries, so many at a time, to an endpoint that changes nothing.
func ask[E, A any](ctx context.Context, a provided, endpoint string, entries []E, each func(part []E, answer A) error) error {
	for part := range slices.Chunk(entries, bulkBatch) {
		body, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("encode %d questions: %w", len(part), err)
		}
		var answer A
		if err := a.call(httpx.Retryable(ctx), http.MethodPost, a.realmPath("stetl", endpoint), nil, body, &answer); err != nil {
			return fmt.Errorf("ask the provider about %d accounts (%s): %w", len(part), endpoint, err)
		}
		if err := each(part, answer); err != nil {
			return err
		}
	}
	return nil
}

// identifiersOf names what somebody else may have.
type identifiersOf struct {
	ID       string `json:"id,omitempty"`
	Username string `json:"username,omitempty"`
	Email    string `json:"email,omitempty"`
}

// holders says for each question which accounts of the realm have what it names, by id.
func (a provided) holders(ctx context.Context, all []identifiersOf) (found []identifiersOf, err error) {
	err = ask(ctx, a, "holders", all, func(part, answer []identifiersOf) error {
		if len(answer) != len(part) {
			return fmt.Errorf("the server answered %d questions of %d", len(answer), len(part))
		}
		found = append(found, answer...)
		return nil
	})
	return found, err
}

// expectation is an account that should be exactly as expected: the beginning of the digest
// of a [detail], and the id.
func expectation(d *detail, defaultRole string) string {
	return d.digest(defaultRole)[:32] + "." + d.ID
}

// matching says which accounts are exactly as expected. It is asked by GET, as elsewhere is.
func (a provided) matching(ctx context.Context, all []string) (map[string]bool, error) {
	equal := make(map[string]bool, len(all))
	return equal, a.among(ctx, "matching", "of", all, func(id string) { equal[id] = true })
}

// seenState is what was done to an account since it was loaded, as far as it is not read
// with it. Digest is of all that it is.
type seenState struct {
	Digest   string   `json:"digest"`
	Marked   bool     `json:"marked"`
	Clients  []string `json:"clients"`  // of which it has roles
	Consents []string `json:"consents"` // clients that the person has let in
	Others   []string `json:"others"`   // what else hangs on it
	Sessions int      `json:"sessions"`
	// NotBefore is when somebody was logged out everywhere.
	NotBefore int64 `json:"notBefore"`
}

// seenStates looks at accounts, without those that are not there. It is asked by GET, as
// elsewhere is.
func (a provided) seenStates(ctx context.Context, ids []string) (map[string]seenState, error) {
	found := make(map[string]seenState, len(ids))
	return found, query(ctx, a, "states", "id", ids, func(answer map[string]seenState) { maps.Copy(found, answer) })
}

// doomed is an account that is to go, if it is as it was seen.
type doomed struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`
}

// deleteAccounts deletes accounts and answers for each, in order: 204 deleted, 404 not
// there, 412 changed since, 403 no load has made it, anything else refused. Sending again
// is safe.
func (a provided) deleteAccounts(ctx context.Context, all []doomed) (results []bulkResult, err error) {
	err = ask(ctx, a, "deletion", all, func(part []doomed, answer []bulkResult) error {
		if len(answer) != len(part) {
			return fmt.Errorf("the server answered for %d accounts of %d", len(answer), len(part))
		}
		results = append(results, answer...)
		return nil
	})
	return results, err
}

// question is about the credentials of one account, by id; "password" for that.
type question struct {
	ID          string          `json:"id"`
	Credentials map[string]mark `json:"credentials"`
}

// mark is a credential without its secret.
type mark struct {
	Data        string `json:"data"`
	Fingerprint string `json:"fingerprint"`
}

// compare says of credentials whether the accounts have them, by account and credential.
// What nobody can tell, since the server has exchanged a hash for one of its own, is not in
// the answer.
func (a provided) compare(ctx context.Context, all []question) (map[string]map[string]bool, error) {
	type reply struct {
		ID    string          `json:"id"`
		Equal map[string]bool `json:"equal"`
	}
	found := map[string]map[string]bool{}
	return found, ask(ctx, a, "comparison", all, func(_ []question, answers []reply) error {
		for _, x := range answers {
			found[x.ID] = x.Equal
		}
		return nil
	})
}

// longestQuery bounds the ids of one question, in characters: servers take some 4,000 for
// the whole address.
const longestQuery = 3000

// elsewhere says which ids accounts of other realms have. It is asked by GET, so that whoever
// watches a plan sees that nothing is written.
func (a provided) elsewhere(ctx context.Context, ids []string) (map[string]bool, error) {
	taken := map[string]bool{}
	return taken, a.among(ctx, "elsewhere", "id", ids, func(id string) { taken[id] = true })
}

// among asks which of many things something holds of.
func (a provided) among(ctx context.Context, endpoint, parameter string, things []string, yes func(id string)) error {
	return query(ctx, a, endpoint, parameter, things, func(answer []string) {
		for _, id := range answer {
			yes(id)
		}
	})
}

// query asks about many things, in the query of requests that are short enough for any
// server.
func query[A any](ctx context.Context, a provided, endpoint, parameter string, things []string, each func(answer A)) error {
	for len(things) > 0 {
		n, size := 0, 0
		for n < min(len(things), maxBatch) && (n == 0 || size < longestQuery) {
			size += len("&=") + len(parameter) + len(url.QueryEscape(things[n]))
			n++
		}
		part := things[:n]
		things = things[n:]
		var answer A
		if err := a.read(ctx, a.realmPath("stetl", endpoint), url.Values{parameter: part}, &answer); err != nil {
			return fmt.Errorf("ask the provider about %d accounts (%s): %w", len(part), endpoint, err)
		}
		each(answer)
	}
	return nil
}

// fingerprintOf is how the server is asked about a secret without being shown it.
func fingerprintOf(c credential) mark {
	var parts struct {
		Value string `json:"value"`
		Salt  string `json:"salt"`
	}
	_ = json.Unmarshal([]byte(c.SecretData), &parts) // it was made here
	sum := sha256.Sum256([]byte(parts.Value + "\n" + parts.Salt))
	return mark{c.CredentialData, hex.EncodeToString(sum[:])}
}

// bulkResult is what the server says of one user: 201 created, 200 the id, the name
// or the address is in use, anything else refused.
type bulkResult struct {
	Status int    `json:"status"`
	Error  string `json:"error"`
}

// loadUsers creates each user that is not there, and answers for each, in order.
// Sending again is safe.
func (a provided) loadUsers(ctx context.Context, users []json.RawMessage) ([]bulkResult, error) {
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

func (a provided) loadPath() string { return a.realmPath("stetl", "users") }

// accountsByID reads accounts with all that a load sets, without organizations and
// without those that are not there.
func (a provided) accountsByID(ctx context.Context, ids []string) (map[string]*detail, error) {
	type shown struct {
		account
		Credentials []heldCredential `json:"credentials"`
		Roles       []role           `json:"roles"`
		Groups      []group          `json:"groups"`
		Links       []link           `json:"links"`
	}
	found := make(map[string]*detail, len(ids))
	return found, query(ctx, a, "accounts", "id", ids, func(page []shown) {
		for _, p := range page {
			found[p.ID] = &detail{
				account: p.account, Credentials: p.Credentials,
				Roles: p.Roles, Groups: p.Groups, Links: p.Links,
			}
		}
	})
}
