package keycloak

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// organization is one as far as a load uses it.
type organization struct {
	ID         string              `json:"id"`
	Name       string              `json:"name"`
	Attributes map[string][]string `json:"attributes,omitempty"`
}

// ours reports whether a load has created it, and so may take members away.
func (o organization) ours() bool { return slices.Equal(o.Attributes[madeBy], madeByUs[madeBy]) }

// organizations lists the realm's, with attributes.
func (a *api) organizations(ctx context.Context) ([]organization, error) {
	var all []organization
	for {
		var page []organization
		err := a.read(ctx, a.realmPath("organizations"), url.Values{
			"first": {fmt.Sprint(len(all))}, "max": {fmt.Sprint(memberPage)}, "briefRepresentation": {"false"},
		}, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < memberPage {
			break
		}
	}
	for i := range all {
		if len(all[i].Attributes) > 0 {
			continue
		}
		// 26.0 shows attributes to those only who ask for one organization.
		err := a.read(ctx, a.realmPath("organizations", all[i].ID), nil, &all[i])
		if err != nil && status(err) != http.StatusNotFound {
			return nil, err
		}
	}
	return all, nil
}
