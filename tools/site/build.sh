#!/bin/sh
# Builds the site. A link to nowhere, an anchor that is not there or a page that is in no
# menu fails it (strict in mkdocs.yml).
set -eu
cd "$(dirname "$0")/../.."
env=${STETL_SITE_ENV:-dist/site-env}
# Made anew when the list has changed.
if ! cmp -s tools/site/requirements.txt "$env/requirements.txt"; then
	rm -rf "$env"
	python3 -m venv "$env"
	"$env/bin/pip" install --quiet --disable-pip-version-check --requirement tools/site/requirements.txt
	cp tools/site/requirements.txt "$env/requirements.txt"
fi
# Else it advertises its successor.
NO_MKDOCS_2_WARNING=1 "$env/bin/mkdocs" build --clean --quiet
if ! grep -q '<p>0 | done | go on</p>' dist/site/search/search_index.json || ! grep -q '<td>go on</td>' dist/site/agents.html; then
	echo "a row of a table (the exit codes in agents.md) is not as it should be in the search or on its page" >&2
	exit 1
fi
echo "dist/site/index.html"
