#!/bin/sh
# Makes the plugin DIR/stetl-plugin-ndjson-py: a folder with everything that it needs beside
# its launcher, so that "stetl plugin lock" and "bundle" can take it as a whole.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: install.sh DIR}/stetl-plugin-ndjson-py
mkdir -p "$dir"
copy=$(mktemp -d) # pip leaves files beside what it builds
trap 'rm -rf "$copy"' EXIT
cp -R "$here/pyproject.toml" "$here/stetl_plugin" "$copy/"
python3 -m pip install --quiet --disable-pip-version-check --no-compile --root-user-action=ignore --target "$dir/lib" "$copy"
cp "$here/ndjson_target.py" "$dir/lib/"
# A plugin has no PATH, so the launcher names its interpreter.
cat >"$dir/stetl-plugin-ndjson-py" <<LAUNCHER
#!$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
import pathlib, sys
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "lib"))
import ndjson_target
ndjson_target.stetl.serve(ndjson_target.NDJSON())
LAUNCHER
chmod +x "$dir/stetl-plugin-ndjson-py"
