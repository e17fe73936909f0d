#!/usr/bin/env bash
# Runs a Windows program under Wine: cargo's runner for x86_64-pc-windows-gnu.
#
#   CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=tests/wine/run.sh cargo test --target x86_64-pc-windows-gnu ...
#
# Wine's own disk (WINEPREFIX) lies beside the program, unless it is set: it begins empty, and nothing of the
# user's is in it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "$1")
export WINEPREFIX=${WINEPREFIX:-$(dirname "$program")/wine} WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES=mscoree,mshtml=
system=$WINEPREFIX/drive_c/windows/system32
if [ ! -d "$system" ]; then
    timeout 300 wineboot --init >/dev/null 2>&1
    timeout 300 wineserver --wait
fi
[ -e "$system/bcryptprimitives.dll" ] ||
    x86_64-w64-mingw32-gcc -shared -O1 -o "$system/bcryptprimitives.dll" "$here/bcryptprimitives.c" -ladvapi32
exec timeout 900 wine "$program" "${@:2}" # what hangs must not hold up the check
