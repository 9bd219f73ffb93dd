#!/bin/sh
# Runs "go test" with the given arguments and then lists, by name and reason,
# every test that was skipped because something could not be had. With CI=true
# such a skip is a failure already (the test itself fails).
set -u
cd "$(dirname "$0")/.." || exit 1

STETL_SKIP_LOG=$(mktemp)
export STETL_SKIP_LOG
trap 'rm -f "$STETL_SKIP_LOG"' EXIT

"${GO:-go}" test -timeout 45m "$@"
status=$?

if [ -s "$STETL_SKIP_LOG" ]; then
	printf '\nSkipped:\n'
	sort -u "$STETL_SKIP_LOG" | sed 's/^/  /'
fi
exit $status
