package sqltarget

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
	"github.com/stetl/stetl/core/sdk/httpx"
)

// Login implements [sdk.Authenticator]: a database cannot be asked whether a password is
// right, so the application is, as a person would.
func (t *live) Login(ctx context.Context, l sdk.Login) (bool, error) {
	unavailable := func(detail, hint string) (bool, error) {
		return false, &sdk.Failure{Code: sdk.CodeLoginUnavailable, Detail: detail, Hint: hint}
	}
	if t.config.SignIn.URL == "" {
		return unavailable("no address for test sign-ins is configured", "set sign_in.url")
	}
	p, err := t.open(ctx)
	if err != nil {
		return false, err
	}
	email := p.email(ctx, l)
	body, err := fill(t.config.SignIn.Body, map[string]string{"{id}": l.TargetID, "{username}": l.Username, "{email}": email, "{password}": l.Password.Reveal()})
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(httpx.Retryable(ctx), http.MethodPost, t.config.SignIn.URL, bytes.NewReader(body))
	if err != nil {
		return unavailable("the address cannot be used", "correct sign_in.url")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := httpx.NewClient(httpx.Options{UserAgent: t.env.UserAgent, Pulse: t.env.Pulse, Log: t.env.Log}).Do(req)
	if err != nil {
		return unavailable(httpx.Redact(err).Error(), "check sign_in.url")
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	_ = resp.Body.Close()
	refused := t.config.SignIn.Refused
	if len(refused) == 0 {
		refused = []int{http.StatusUnauthorized}
	}
	switch {
	case resp.StatusCode < http.StatusMultipleChoices:
		return true, nil
	case slices.Contains(refused, resp.StatusCode):
		return false, nil
	}
	return unavailable(fmt.Sprintf("the application answers with the status %d", resp.StatusCode), "see its log; sign_in.refused lists the statuses that say that a password is wrong")
}

// fill puts values into JSON text, as texts of JSON.
func fill(body string, values map[string]string) ([]byte, error) {
	if body == "" {
		body = `{"email":"{email}","password":"{password}"}`
	}
	var pairs []string
	for _, name := range sortedKeys(values) {
		quoted, err := json.Marshal(values[name])
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, name, string(quoted[1:len(quoted)-1]))
	}
	return []byte(strings.NewReplacer(pairs...).Replace(body)), nil
}

// email is the address that the account has in the database.
func (p *place) email(ctx context.Context, l sdk.Login) string {
	accounts := p.model.accounts()
	at := slices.IndexFunc(accounts.columns, func(c *column) bool {
		return slices.Contains(c.source.uses, "email") && c.name != accounts.account.name
	})
	if at < 0 {
		return l.Username
	}
	// Of several that use it, the one that has no other source is the address.
	for i, c := range accounts.columns {
		if len(c.source.uses) == 1 && c.source.uses[0] == "email" {
			at = i
		}
	}
	tx, err := p.server.begin(ctx, reading)
	if err != nil {
		return l.Username // the application says what it thinks of it
	}
	defer tx.close(ctx)
	key := accounts.account.held
	email, query := accounts.columns[at], "SELECT %s FROM "+p.catalogue.of(accounts).name+" WHERE "+p.server.quote(accounts.account.name)+" = "+p.server.param(1, key)
	found := l.Username
	_ = tx.each(ctx, fmt.Sprintf(query, email.held.show(p.server.quote(email.name))), []any{key.written(value{text: l.TargetID})}, func(texts []*string) error {
		if texts[0] != nil {
			found = *texts[0]
		}
		return nil
	})
	return found
}
