package migration

import "github.com/stetl/stetl/core/bridge"

// BridgeTarget is the target as the bridge sees it.
func BridgeTarget(m *Migration) bridge.Target { return bridgeTarget{m.target} }
