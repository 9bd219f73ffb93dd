#!/bin/sh
# Fails when something that is generated or derived is not what its sources say.
set -eu
cd "$(dirname "$0")/.."

changed() {
	git status --porcelain -- "$@"
}

before=$(changed go.mod go.sum core/pluginpb)
"${GO:-go}" mod tidy
"${GO:-go}" tool -modfile=tools/buf.mod buf generate
after=$(changed go.mod go.sum core/pluginpb)
if [ "$before" != "$after" ]; then
	echo "go.mod or the generated protocol code is not current; commit what this command changed:" >&2
	echo "$after" >&2
	exit 1
fi
