#!/bin/sh
# Gives the users of this folder their roles and organizations, as memberships.json has
# them. Run it after upload.sh.
#
#   AUTH0_DOMAIN=example.eu.auth0.com AUTH0_CONNECTION_ID=con_… AUTH0_TOKEN=… ./assign.sh
#
# Roles and organizations that are missing are made; organizations get the connection. The
# token needs the scopes
#
#   read:roles create:roles create:role_members update:roles
#   read:organizations create:organizations create:organization_connections
#   create:organization_members create:organization_member_roles
#
# It is handed to curl through a pipe, so that it does not show in the list of processes.
# To give something twice does no harm. How far it came is noted in assign.done; running
# the script again goes on there. What the tenant refuses, such as a user whom it does not
# have, is written to assign.errors and costs nobody else; the script ends with status 1,
# and running it again begins anew.
# AUTH0_WAIT is how many seconds pass after a limit is reached; 5 by default.
set -eu
umask 077
LC_ALL=C
export LC_ALL
cd "$(dirname "$0")"
: "${AUTH0_DOMAIN:?}" "${AUTH0_CONNECTION_ID:?}" "${AUTH0_TOKEN:?}"
base=${AUTH0_API_URL:-https://$AUTH0_DOMAIN}/api/v2
wait=${AUTH0_WAIT:-5}
tab=$(printf '\t')
newline='
'
grep -q '"complete": true' stetl-manifest.json || { echo "this folder is not complete: run stetl again" >&2; exit 1; }

# tokens prints the tokens of JSON, one a line; text has the letters that some writers
# escape and others do not.
tokens() {
	sed 's/\\u0026/\&/g; s/\\u003[cC]/</g; s/\\u003[eE]/>/g' | awk '{
		while (match($0, /"([^"\\]|\\.)*"|[][{}:,]/)) { print substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH) }
	}'
}

# todo lists what there is to do: kind, name, users, and roles inside of an organization.
todo() {
	tokens <memberships.json | awk -v OFS="$tab" '
		function flush() { if (ids != "") print kind, group, ids; ids = ""; n = 0 }
		function add(k, g, id, most) {
			if (k != kind || g != group || n == most) flush()
			kind = k; group = g; ids = ids (n++ ? "," : "") id
		}
		{ t = $0 }
		t == "{" || t == "[" { type[++depth] = t; key[depth] = ""; colon = 0; if (depth == 4) { user = ""; roles = "" } next }
		t == "}" || t == "]" {
			if (depth == 4 && t == "}") {
				add("organization", key[2], user, 10)
				if (roles != "") seats[++count] = "seat" OFS key[2] OFS user OFS roles
			}
			depth--; next
		}
		t == ":" { colon = 1; next }
		t == "," { next }
		type[depth] == "{" && !colon { key[depth] = t; next }
		{ colon = 0 }
		depth == 3 && key[1] == "\"roles\"" { add("role", key[2], t, 50) }
		depth == 4 && key[4] == "\"user_id\"" { user = t }
		depth == 5 { roles = roles (roles == "" ? "" : ",") t }
		END { flush(); for (i = 1; i <= count; i++) print seats[i] }
	'
}

# request METHOD PATH [BODY] sets status and answer. It asks again when a limit is reached
# or the server is not well.
request() {
	tries=0
	while :; do
		out=$(printf 'Authorization: Bearer %s\n' "$AUTH0_TOKEN" |
			curl -sS -H @- -H 'Content-Type: application/json' -X "$1" ${3:+--data-binary "$3"} -w '\n%{http_code}' "$base/$2") || out="${newline}000"
		status=${out##*"$newline"}
		answer=${out%"$newline"*}
		answer=${answer%"$newline"}
		case $status in
		429) ;;
		000 | 5*) [ "$((tries = tries + 1))" -lt 5 ] || { echo "$1 $2: $status $answer" >&2; exit 1; } ;;
		401 | 403) echo "$1 $2: $answer" >&2; exit 1 ;;
		*) return 0 ;;
		esac
		sleep "$wait"
	done
}

# named prints name and id of each object in the answer.
named() {
	printf '%s' "$answer" | tokens | awk -v OFS="$tab" '
		$0 == "{" { depth++; key[depth] = name[depth] = id[depth] = ""; value = 0; next }
		$0 == "}" { if (name[depth] != "" && id[depth] != "") print name[depth], id[depth]; depth--; next }
		$0 == ":" { value = 1; next }
		$0 == "," || $0 == "[" || $0 == "]" { value = 0; next }
		value { if (key[depth] == "\"id\"") id[depth] = $0; if (key[depth] == "\"name\"") name[depth] = $0; value = 0; next }
		{ key[depth] = $0 }
	'
}

# id_of prints the id of what has a name in the list on standard input, without quotes.
id_of() { awk -F "$tab" -v name="$(printf '%s' "$1" | sed 's/\\/\\\\/g')" '$1 == name { gsub(/"/, "", $2); print $2; exit }'; }

list_roles() {
	roles=
	page=0
	while [ "$page" -lt 10 ]; do
		request GET "roles?per_page=100&page=$page"
		some=$(named)
		[ -n "$some" ] || break
		roles="$roles$some$newline"
		page=$((page + 1))
	done
}

# role NAME sets id to that of a role, which is made where it is missing.
role() {
	[ -n "${roles+set}" ] || list_roles
	id=$(printf '%s' "$roles" | id_of "$1")
	[ -z "$id" ] || return 0
	request POST roles "{\"name\":$1,\"description\":\"made by stetl\"}"
	list_roles # also where it is there by now
	id=$(printf '%s' "$roles" | id_of "$1")
	[ -n "$id" ] || { echo "role $1: $answer" >&2; exit 1; }
}

# organization NAME sets id to that of an organization that has the connection. Names have
# no letter that an address would not take.
organization() {
	[ "${known-}" != "$1" ] || { id=$known_id; return 0; }
	name=$(printf '%s' "$1" | sed 's/"//g')
	request GET "organizations/name/$name"
	if [ "$status" = 404 ]; then
		request POST organizations "{\"name\":$1,\"display_name\":$1,\"metadata\":{\"made_by\":\"made by stetl\"}}"
		[ "$status" != 409 ] || request GET "organizations/name/$name"
	fi
	id=$(named | id_of "$1")
	[ -n "$id" ] || { echo "organization $1: $answer" >&2; exit 1; }
	request POST "organizations/$id/enabled_connections" "{\"connection_id\":\"$AUTH0_CONNECTION_ID\",\"assign_membership_on_login\":false}"
	case $status in
	20? | 409) ;;
	*) # other words for "it has it already"
		refusal=$answer
		request GET "organizations/$id/enabled_connections?per_page=100"
		case $answer in *"\"$AUTH0_CONNECTION_ID\""*) ;; *) echo "organization $1: $refusal" >&2; exit 1 ;; esac
		;;
	esac
	known=$1 known_id=$id
}

failures=0
refused() {
	printf '%s\t%s\t%s\n' "$1" "$2" "$answer" >>assign.errors
	failures=1
}

# give PATH KEY USERS adds users to a role or an organization. A user whom the tenant does
# not know costs nobody else.
give() {
	request POST "$1" "{\"$2\":[$3]}"
	case $status in 20?) return 0 ;; esac
	case $3 in
	*'","'*) ;;
	*) refused "$1" "$3"; return 0 ;;
	esac
	rest=$3
	while [ -n "$rest" ]; do
		one=${rest%%'","'*}
		if [ "$one" = "$rest" ]; then rest=; else one="$one\"" rest="\"${rest#*'","'}"; fi
		request POST "$1" "{\"$2\":[$one]}"
		case $status in 20?) ;; *) refused "$1" "$one" ;; esac
	done
}

# escaped prints the text of a JSON string as a part of an address.
escaped() {
	printf '%s' "$1" | sed 's/^"//; s/"$//; s/\\\(["\\/]\)/\1/g' | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g'
}

# seat ORGANIZATION USER ROLES gives roles to a member of an organization.
seat() {
	ids=
	left=$3
	while [ -n "$left" ]; do
		one=${left%%'","'*}
		if [ "$one" = "$left" ]; then left=; else one="$one\"" left="\"${left#*'","'}"; fi
		role "$one"
		ids="$ids${ids:+,}\"$id\""
	done
	organization "$1"
	request POST "organizations/$id/members/$(escaped "$2")/roles" "{\"roles\":[$ids]}"
	case $status in 20?) ;; *) refused "organization $1, roles $3" "$2" ;; esac
}

version=$(cksum <memberships.json)
done=0
if [ -e assign.done ]; then
	{ read -r was; read -r done; } <assign.done
	[ "$was" = "$version" ] || done=0
fi
rm -f assign.errors
todo >assign.todo
count=0
while IFS=$tab read -r kind name users inside; do
	[ "$((count = count + 1))" -gt "$done" ] || continue
	case $kind in
	role) role "$name"; give "roles/$id/users" users "$users" ;;
	organization) organization "$name"; give "organizations/$id/members" members "$users" ;;
	seat) seat "$name" "$users" "$inside" ;;
	esac
	printf '%s\n%s\n' "$version" "$count" >assign.done
done <assign.todo
rm -f assign.todo
if [ "$failures" != 0 ]; then
	rm -f assign.done
	echo "Something was refused, see assign.errors." >&2
	exit 1
fi
echo "All roles and organizations are given."
