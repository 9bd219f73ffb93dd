package keycloak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stetl/stetl/core/sdk"
)

// What a role allows at the source stands in an attribute of the role that a load has made.
// Beside it stands a digest of what was written, so that a change by somebody else is seen.
const (
	attributeAllows = "permissions"
	attributeProof  = "createdWithPermissions"
)

// roleAttributes are those of a role that a load makes.
func roleAttributes(allows []string) map[string][]string {
	out := maps.Clone(madeByUs)
	if len(allows) > 0 {
		out[attributeAllows], out[attributeProof] = allows, []string{proofOf(allows)}
	}
	return out
}

// proofOf is the same in whichever order a server gives the values of an attribute.
func proofOf(allows []string) string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(allows)), "\x00")))
	return hex.EncodeToString(sum[:])
}

// wholeRole is a role with its attributes.
type wholeRole struct {
	ID          string              `json:"id"`
	Name        string              `json:"name"`
	Description string              `json:"description,omitempty"`
	Composite   bool                `json:"composite"`
	Attributes  map[string][]string `json:"attributes"`
}

// ours reports whether a load has made the role.
func (r *wholeRole) ours() bool {
	return slices.Equal(r.Attributes[madeBy], madeByUs[madeBy])
}

// untouched reports whether what the role allows is what a load has left there.
func (r *wholeRole) untouched() bool {
	allows, proof := r.Attributes[attributeAllows], r.Attributes[attributeProof]
	if len(allows) == 0 {
		return len(proof) == 0
	}
	return slices.Equal(proof, []string{proofOf(allows)})
}

// asMade reports whether the role has only what a load gives a role.
func (r *wholeRole) asMade() bool {
	return r.untouched() && !r.Composite && r.Description == "" && maps.EqualFunc(r.Attributes, roleAttributes(r.Attributes[attributeAllows]), slices.Equal[[]string])
}

// sameAllowed compares regardless of the order.
func (r *wholeRole) sameAllowed(allows []string) bool {
	return proofOf(r.Attributes[attributeAllows]) == proofOf(allows)
}

// wholeRoles lists the roles of the realm with their attributes, by name.
func wholeRoles(ctx context.Context, a *api) ([]wholeRole, error) {
	var all []wholeRole
	err := a.read(ctx, a.realmPath("roles"), url.Values{"briefRepresentation": {"false"}, "max": {"10000"}}, &all)
	// The server's order is nobody's: what check says would come in another one each time.
	slices.SortFunc(all, func(x, y wholeRole) int { return strings.Compare(x.Name, y.Name) })
	return all, err
}

// keepAllowed brings roles up to date that earlier loads have made: what they allow at the
// source may have changed, and those of older versions have nothing. What somebody has
// changed stays, and so does every role that no load has made.
func keepAllowed(ctx context.Context, a *api, d *sdk.DefinedRoles) error {
	if len(d.Allowed()) == 0 {
		return nil
	}
	all, err := wholeRoles(ctx, a)
	if err != nil {
		return fmt.Errorf("list the roles of realm %s: %w", a.realm, err)
	}
	var failed error
	for _, r := range all {
		allows, known := d.Allows(r.Name)
		if !known || !r.ours() || !r.untouched() || r.sameAllowed(allows) {
			continue
		}
		delete(r.Attributes, attributeAllows)
		delete(r.Attributes, attributeProof)
		maps.Copy(r.Attributes, roleAttributes(allows))
		if err := a.write(ctx, http.MethodPut, a.realmPath("roles-by-id", r.ID), r); err != nil {
			failed = errors.Join(failed, fmt.Errorf("write what role %s allows: %w", r.Name, err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return failed
}

// Finish implements [sdk.Finisher]. Accounts are complete whatever comes of it, so that a
// failure only is logged; the next run tries again, and check names the roles until then.
func (t *live) Finish(ctx context.Context) error {
	if err := keepAllowed(ctx, t.api, &t.DefinedRoles); err != nil {
		t.env.Log.WarnContext(ctx, "what roles allow at the source is not up to date in the realm; no account is affected", "code", codeRolePermissions, "error", err)
	}
	return nil
}

// checkAllowed names roles of the realm that do not allow what they do at the source.
func checkAllowed(ctx context.Context, t *preflight, l *sdk.Diagnostics, d *sdk.DefinedRoles) {
	if len(d.Allowed()) == 0 {
		return
	}
	all, err := wholeRoles(ctx, t.api)
	if err != nil {
		l.Add(incomplete("what the roles of the realm have as permissions", err))
		return
	}
	for _, r := range all {
		allows, known := d.Allows(r.Name)
		if !known || r.sameAllowed(allows) {
			continue
		}
		found := sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeRolePermissions, Path: "/realm",
			Summary: fmt.Sprintf("the role %s of the realm was not made by a run, and keeps its own permissions: %s", r.Name, ofSource(allows)),
			Hint:    fmt.Sprintf("set its attribute %s by hand if applications read it", attributeAllows),
		}
		switch {
		case r.ours() && r.untouched():
			found.Summary = fmt.Sprintf("the role %s allows something else than at the source", r.Name)
			found.Hint = "the next run brings it up to date"
		case r.ours():
			found.Summary = fmt.Sprintf("somebody has changed what the role %s allows, and it keeps that: %s", r.Name, ofSource(allows))
		}
		l.Add(found)
	}
}

// ofSource says what a role is not given.
func ofSource(allows []string) string {
	if len(allows) == 0 {
		return "at the source it allows nothing"
	}
	return fmt.Sprintf("its %d permissions of the source are left behind", len(allows))
}
