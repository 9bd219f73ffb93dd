package keycloak

import (
	"context"
	"fmt"

	"github.com/stetl/stetl/core/sdk"
)

// checkBridge sees that everybody can be linked to the bridge.
func checkBridge(ctx context.Context, t *live, l *sdk.Diagnostics, b *sdk.Broker) {
	if t.config.BridgeAlias == "" {
		return
	}
	there, err := t.api.providerAliases(ctx)
	if err != nil {
		l.Add(failed("list the identity providers", err))
		return
	}
	for _, d := range unlinkable(t.config.BridgeAlias, there) {
		l.Add(d)
	}
	if b == nil || !there[t.config.BridgeAlias] {
		return
	}
	now, err := readProvider(ctx, t.api, t.config.BridgeAlias)
	if err != nil {
		l.Add(incomplete("whether the identity provider of the bridge is as the bridge needs it", err))
		return
	}
	if differs := now.differs(brokerProvider(t.config, *b, "")); len(differs) > 0 {
		l.Add(sdk.Diagnostic{
			Severity: sdk.Warning, Code: codeBridgeDiffers, Path: "/bridge_alias", Summary: "the identity provider " + t.config.BridgeAlias + " differs from what the bridge needs: " + joinList(differs),
			Hint: "set them as docs/bridge.md says, unless they are different on purpose",
		})
	}
}

// unlinkable says why nobody could be linked to the bridge. Of an identity provider that
// is not there, or that the client may not see, the realm shows no links: those that are
// missing would never be found, and accounts that are there would not get theirs.
func unlinkable(alias string, there map[string]bool) (l sdk.Diagnostics) {
	switch {
	case alias == "" || there[alias]:
	case there == nil:
		l.Add(missingRole("view-identity-providers", fmt.Sprintf("no account can be linked to the identity provider %s of bridge_alias, because its links cannot be read", alias)))
	default:
		l.Add(sdk.Diagnostic{
			Code: codeProviderMissing, Path: "/bridge_alias", Summary: "the realm has no identity provider called " + alias,
			Detail: "existing accounts of the realm could not be linked to it, and no error would show that", Hint: "add it as docs/bridge.md says, then run again; or leave bridge_alias out",
		})
	}
	return l
}
