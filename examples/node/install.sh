#!/bin/sh
# Makes the plugin DIR/stetl-plugin-ndjson-js: a folder with everything that it needs beside
# its launcher, so that "stetl plugin lock" and "bundle" can take it as a whole.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: install.sh DIR}/stetl-plugin-ndjson-js
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
cp -R "$here/stetl-plugin" "$here/target.js" "$dir/"
(cd "$dir" && npm install --silent --no-audit --no-fund --no-package-lock --install-links ./stetl-plugin)
rm -rf "$dir/stetl-plugin"
# A plugin has no PATH, so the launcher names its interpreter.
cat >"$dir/stetl-plugin-ndjson-js" <<LAUNCHER
#!$(node -p process.execPath)
require("stetl-plugin").serve(require("./target.js"));
LAUNCHER
chmod +x "$dir/stetl-plugin-ndjson-js"
