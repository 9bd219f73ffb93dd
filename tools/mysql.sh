#!/bin/sh
# mysql.sh FOLDER unpacks a server and a client of MySQL into FOLDER, with all libraries they
# need, so that tests can use them (make test-mysql). Debian has them in its unstable suite
# only: apt fetches and checks them with folders of its own, and nothing is installed.
set -eu
folder=$1
[ -e "$folder/usr/sbin/mysqld" ] && exit 0
command -v apt-get > /dev/null || { echo "mysql.sh: needs apt-get, of Debian" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
: > "$work/status"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Created-By: Packages' 2> /dev/null | head -n 1)
[ -n "$mirror" ] || { echo "mysql.sh: apt knows no mirror of Debian; run apt-get update first" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > "$work/sources.list"
apt() {
	apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::State::extended_states="$work/extended" \
		-o Dir::Cache::archives="$work/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1 "$@"
}
apt update
apt install -y --download-only --no-install-recommends mysql-server-core mysql-client-core
for package in "$work"/archives/*.deb; do
	dpkg-deb -x "$package" "$work/root"
done
mkdir -p "$(dirname "$folder")"
rm -rf "$folder"
mv "$work/root" "$folder"
