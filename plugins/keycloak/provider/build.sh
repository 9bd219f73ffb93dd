#!/bin/sh
# Tests the sources of the Keycloak provider and builds from them the jar beside this script. Any JDK from 17 on gives
# the same bytes.
set -eu
cd "$(dirname "$0")"
umask 022 # file modes end up in the jar
rm -rf target
mvn --batch-mode --quiet verify
cp target/stetl-keycloak-bcrypt.jar .
rm -rf target
