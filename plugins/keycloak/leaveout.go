package keycloak

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stetl/stetl/core/sdk"
)

// leaveOut takes from an account the values that the database cannot hold, which would
// take the whole batch along, and those that the realm's user profile refuses. Each is
// named as a loss.
func leaveOut(r *representation, profile *userProfile) {
	o := &omission{r, profile}
	o.names()
	o.attributes()
	o.memberships()
	if why := o.refused(fieldUsername, r.Username); why != "" {
		// Nobody can be without one.
		r.notes = append(r.notes, "the realm's user profile refuses the user name: "+why+"; the person has to choose another one, and until then the server refuses changes of the account")
	}
}

type omission struct {
	*representation
	profile *userProfile
}

func (o *omission) lose(feature sdk.Feature, attribute, detail string) {
	o.losses = append(o.losses, sdk.PartLoss{Feature: feature, Code: sdk.CodePartRefused, Attribute: attribute, Detail: detail})
}

// refused says why a value cannot be carried, empty when it can.
func (o *omission) refused(field string, values ...string) string {
	if o.profile == nil {
		return ""
	}
	if why := o.profile.refuses(field, values); why != "" {
		return "the realm's user profile refuses the " + fieldWords(field) + ": " + why
	}
	return ""
}

func fieldWords(field string) string {
	switch field {
	case fieldUsername:
		return "user name"
	case fieldEmail:
		return "e-mail address"
	case fieldGivenName:
		return "given name"
	case fieldFamilyName:
		return "family name"
	}
	return "attribute " + field
}

// tooLong says so of a value that the database has no room for.
func tooLong(what, value string) string {
	if n := length(value); n > maxField {
		return fmt.Sprintf("%s has %d characters; Keycloak allows %d", what, n, maxField)
	}
	return ""
}

func (o *omission) names() {
	for _, f := range []struct {
		field   string
		feature sdk.Feature
		value   *string
	}{
		{fieldEmail, sdk.PartEmail, &o.Email}, {fieldGivenName, sdk.CarriesNames, &o.FirstName}, {fieldFamilyName, sdk.CarriesNames, &o.LastName},
	} {
		why := tooLong("the "+fieldWords(f.field), *f.value)
		if why == "" {
			why = o.refused(f.field, *f.value)
		}
		if why == "" {
			continue
		}
		*f.value = ""
		if f.field == fieldEmail {
			o.EmailVerified = false
		}
		o.lose(f.feature, f.field, why)
	}
}

func (o *omission) attributes() {
	for _, name := range slices.Sorted(maps.Keys(o.Attributes)) {
		why := tooLong("the name of the attribute", name)
		if why == "" {
			why = o.refused(name, o.Attributes[name]...)
		}
		if why != "" {
			delete(o.Attributes, name)
			o.lose(featureOf(prefixAttribute+name), cut(name, maxField), why)
			continue
		}
		if slices.ContainsFunc(o.Attributes[name], func(v string) bool { return length(v) > maxProfileValue }) {
			o.notes = append(o.notes, fmt.Sprintf("attribute %s is longer than %d characters; where users may edit it (unmanagedAttributePolicy ENABLED) the next sign-in asks to shorten it", name, maxProfileValue))
		}
	}
}

func (o *omission) memberships() {
	drop := func(list []string, what string, feature sdk.Feature) []string {
		return slices.DeleteFunc(list, func(name string) bool {
			why := tooLong(what, name)
			if why != "" {
				o.lose(feature, cut(name, maxField), why)
			}
			return why != ""
		})
	}
	o.RealmRoles = drop(o.RealmRoles, "the name of the role", sdk.CarriesRoles)
	o.organizations = drop(o.organizations, "the id of the tenant", sdk.CarriesTenants)
	prefix := length(tenantGroup(""))
	o.Groups = slices.DeleteFunc(o.Groups, func(path string) bool {
		id := path[min(len(path), prefix):]
		why := tooLong("the id of the tenant", id)
		if why != "" {
			o.lose(sdk.CarriesTenants, cut(id, maxField), why)
		}
		return why != ""
	})
	o.FederatedIdentities = slices.DeleteFunc(o.FederatedIdentities, func(f federatedIdentity) bool {
		why := tooLong("the alias of the identity provider", f.IdentityProvider)
		if why == "" {
			why = tooLong("the user id at "+f.IdentityProvider, f.UserID)
		}
		if why != "" {
			o.lose(sdk.CarriesIdentities, cut(f.IdentityProvider, maxField), why)
		}
		return why != ""
	})
	for i, f := range o.FederatedIdentities {
		o.FederatedIdentities[i].UserName = cut(f.UserName, maxField) // it is shown to administrators, no more
	}
}
