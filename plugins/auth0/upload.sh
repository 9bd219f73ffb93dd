#!/bin/sh
# Uploads the import files of this folder to Auth0, one job after the other.
#
#   AUTH0_DOMAIN=example.eu.auth0.com AUTH0_CONNECTION_ID=con_… AUTH0_TOKEN=… ./upload.sh
#
# The token needs the scope create:users. It is handed to curl through a pipe, so
# that it does not show in the list of processes. A job that is "completed" can hold
# users that failed: their reasons are kept beside the file, and the script ends with
# status 1. Files that are done are noted in upload.done; running the script again
# goes on after them. A file may be uploaded twice: users who are there are reported
# as DUPLICATED_USER and left alone.
# AUTH0_WAIT is how many seconds pass between two looks at a job; 5 by default.
set -eu
umask 077
failures=0
cd "$(dirname "$0")"
: "${AUTH0_DOMAIN:?}" "${AUTH0_CONNECTION_ID:?}" "${AUTH0_TOKEN:?}"
base=${AUTH0_API_URL:-https://$AUTH0_DOMAIN}/api/v2
wait=${AUTH0_WAIT:-5}
grep -q '"complete": true' stetl-manifest.json || { echo "this folder is not complete: run stetl again" >&2; exit 1; }

call() { printf 'Authorization: Bearer %s\n' "$AUTH0_TOKEN" | curl -sS -H @- "$@"; }
field() { sed -n 's/.*"'"$1"'" *: *"\{0,1\}\([A-Za-z0-9_]*\).*/\1/p' | head -n 1; }

for file in users-*.json; do
	[ -e "$file" ] || continue
	grep -qsx "$file" upload.done && continue
	while :; do
		answer=$(call -F "users=@$file;type=application/json" -F "connection_id=$AUTH0_CONNECTION_ID" \
			-F upsert=false -F "external_id=$file" -F send_completion_email=false "$base/jobs/users-imports")
		job=$(printf '%s' "$answer" | field id)
		[ -n "$job" ] && break
		case $(printf '%s' "$answer" | field statusCode) in
		429) sleep "$wait" ;; # somebody else's jobs run, or a limit is reached
		*) echo "$file: $answer" >&2; exit 1 ;;
		esac
	done
	echo "$file: $job"
	while :; do
		sleep "$wait"
		answer=$(call "$base/jobs/$job")
		case $(printf '%s' "$answer" | field status) in
		completed) break ;;
		failed | expired) echo "$file: $answer" >&2; exit 1 ;;
		esac
		case $(printf '%s' "$answer" | field statusCode) in
		'' | 429 | 5*) ;;
		*) echo "$file: $answer" >&2; exit 1 ;; # such as 401: the token has run out
		esac
	done
	if [ "$(printf '%s' "$answer" | field failed)" != 0 ]; then
		call "$base/jobs/$job/errors" >"$file.errors"
		echo "$file: some users failed, see $file.errors" >&2
		failures=1
	fi
	echo "$file" >>upload.done
done
echo "All files are uploaded. Roles and organizations are in memberships.json: ./assign.sh gives them."
exit $failures
