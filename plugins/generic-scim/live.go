package scim

import "github.com/stetl/stetl/core/sdk"

func newLive(Config, sdk.Env) (sdk.Target, error) {
	return nil, sdk.Diagnostics{{Code: codeInvalidValue, Path: "/mode", Summary: "this build of the plugin writes files only", Hint: "set mode: files"}}.Err()
}
