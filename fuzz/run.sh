#!/usr/bin/env bash
# Fuzzes every target, two at a time, from its seeds.
#
#   ./run.sh           60 seconds each
#   ./run.sh SECONDS
#
# Needs Rust, and g++ for libFuzzer. What breaks a target stays in artifacts/.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
# What `cargo fuzz --sanitizer none` passes, and stable Rust takes. With a target named, these flags
# leave build scripts and macros alone.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module \
-Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares \
-Cllvm-args=-simplifycfg-branch-fold-threshold=0"
cargo build --locked --release --bins --target "$host" --target-dir target

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fuzz() {
    local name=$1 program=target/$host/release/$1 found=artifacts/$1 log=$work/$1.log
    local options=() status=0 executions edges input
    [ ! -f "dictionaries/$name" ] || options+=("-dict=dictionaries/$name")
    cp -r "seeds/$name" "$work/$name"
    mkdir -p "$found"
    "$program" "$work/$name" "${options[@]}" -max_total_time="$seconds" -max_len=8192 \
        -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -artifact_prefix="$found/" \
        >"$log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
        echo "$name: $executions executions, $edges edges"
        touch "$work/$name.passed"
        return
    fi
    mv "$log" "$found/log"
    input=$(sed -n 's/.*Test unit written to //p' "$found/log" | tail -n 1)
    echo "$name: FAILED with status $status; see fuzz/$found/log"
    grep -A 1 -m 1 -E 'panicked at|ERROR:' "$found/log" | sed 's/^/  /' || true
    if [ -n "$input" ]; then
        echo "  next: cd fuzz && $program -timeout=10 $input"
    else
        # The kernel ends a program whose stack overflows; endless recursion on an endless stack
        # is lack of memory, at which libFuzzer saves the input.
        echo "  next: it could not save its input: run again after ulimit -s unlimited"
    fi
}

targets=(fuzz_targets/*.rs)
for target in "${targets[@]}"; do
    [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n
    fuzz "$(basename "$target" .rs)" &
done
wait
passed=$(find "$work" -name '*.passed' | wc -l)
failed=$((${#targets[@]} - passed))
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
