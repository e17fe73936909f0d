#!/usr/bin/env bash
# Builds what is needed and serves the page on this machine alone.
#
#   web/serve.sh [--port N]   N, or the next free port; 8080 unless said otherwise
set -euo pipefail
cd "$(dirname "$0")"

port=8080
case "${1-}" in
--port) port=${2:?web/serve.sh: --port needs a number} ;;
"") ;;
*)
    echo "web/serve.sh: no option '$1'; there is: --port N"
    exit 2
    ;;
esac

./build.sh

in_use() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
while in_use "$port"; do port=$((port + 1)); done

printf '\nThe page: http://127.0.0.1:%s/    (Ctrl-C ends)\n' "$port"
exec node_modules/.bin/sirv dist --dev --quiet --host 127.0.0.1 --port "$port"
