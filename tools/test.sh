#!/bin/sh
# Runs "go test" with the given arguments, or every test without any, and says what
# goes on (see internal/testrun). At the end it lists, by name and reason, every test
# that was skipped because something could not be had. With CI=true such a skip is a
# failure already (the test itself fails).
set -eu
cd "$(dirname "$0")/.."
exec "${GO:-go}" run ./internal/testrun "$@"
