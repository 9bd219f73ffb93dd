#!/bin/sh
# Makes DIR/stetl-plugin-ndjson-py: a virtual environment with the pinned
# packages, the code generated from the protocol, and a launcher.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: install.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
proto="$here/../../core/pluginpb/proto"
mkdir -p "$dir/lib"
(cd "$proto" && "$dir/venv/bin/python" -m grpc_tools.protoc -I . --python_out="$dir/lib" --grpc_python_out="$dir/lib" stetl/plugin/v1/*.proto)
cp "$here/stetl_plugin.py" "$here/ndjson_target.py" "$dir/lib/"
cat >"$dir/stetl-plugin-ndjson-py" <<LAUNCHER
#!/bin/sh
PYTHONDONTWRITEBYTECODE=1 exec "$dir/venv/bin/python" "$dir/lib/ndjson_target.py"
LAUNCHER
chmod +x "$dir/stetl-plugin-ndjson-py"
