#!/usr/bin/env bash
# Builds the page and its package into web/dist, a static site that works from any path:
# cargo → wasm-bindgen → wasm-opt → copies. What has not changed is not built again.
#
#   web/build.sh            builds, prints the sizes, fails when the download has grown too large
#   web/build.sh tools      only installs what building needs
#   web/build.sh assemble   only copies: enough after a change of JavaScript, HTML or CSS
#
#   SRFT_SITE=https://example.org/srft/ web/build.sh assemble
#                           with the address where the site will lie: those who show links to it ask
#                           for the picture (page/card.png, made by card.mjs) by its whole address
set -euo pipefail
cd "$(dirname "$0")"

target=${CARGO_TARGET_DIR:-target}
target=$(cd .. && mkdir -p "$target" && cd "$target" && pwd) # as cargo sees it, from the root
built=$target/wasm-bindgen # what cargo, wasm-bindgen and wasm-opt made

# The programs: of the built-in model, and of published ones besides, whose chat templates need a deep stack.
PROGRAMS=(srft srft-model)
declare -A CRATE=([srft]="" [srft-model]="--features models")
declare -A LINK=([srft]="" [srft-model]="-Clink-arg=-zstack-size=4194304")

# What rustc writes by default, and simd128 of .cargo/config.toml. They are named one by one because
# --all-features lets wasm-opt write encodings that no browser reads yet.
FEATURES=(bulk-memory bulk-memory-opt call-indirect-overlong multivalue mutable-globals
    nontrapping-float-to-int reference-types sign-ext simd)

# For size. Nothing of Rust's lies in the first KiB of memory: it is the end of the stack.
OPTIONS=(-Oz --low-memory-unused --merge-similar-functions -Oz --strip-debug --strip-producers)

fail() {
    printf '\nweb/build.sh: failed: %s\n  next: %s\n' "$1" "$2" >&2
    exit 1
}

# Whether a step's outputs were made from these inputs: `unchanged STAMP WORDS`.
unchanged() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }

hash_of() { cat "$@" | sha256sum | cut -c1-64; }

wasm_bindgen_version() {
    awk '/^name = "wasm-bindgen"$/ { getline; gsub(/[^0-9.]/, ""); print }' ../Cargo.lock
}

# The wasm-bindgen program of exactly the crate's version: others refuse the module, or misread it.
wasm_bindgen() {
    local version own
    version=$(wasm_bindgen_version)
    own=$target/tools/wasm-bindgen-$version/bin/wasm-bindgen
    if [ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $version" ]; then
        command -v wasm-bindgen
    else
        [ -x "$own" ] ||
            cargo install wasm-bindgen-cli --version "$version" --root "${own%/bin/*}" >&2 ||
            fail "cargo install wasm-bindgen-cli --version $version" \
                "install wasm-bindgen $version yourself and put it on PATH"
        echo "$own"
    fi
}

node_packages() {
    local lock node_major
    node_major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
    [ "$node_major" -ge 20 ] ||
        fail "Node.js 20 or newer is needed, found: $(node --version 2>/dev/null || echo none)" \
            "install nodejs and npm from your system (Debian 13 or newer) or from the Node.js site"
    lock=$(hash_of package-lock.json)
    unchanged node_modules/.lock "$lock" && return
    npm ci --no-audit --no-fund ||
        fail "npm ci in web/" "see npm's message above; it needs the npm registry once"
    echo "$lock" >node_modules/.lock
}

tools() {
    command -v cargo >/dev/null ||
        fail "cargo is missing" "install Rust with rustup or from your system's packages"
    [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ] ||
        rustup target add wasm32-unknown-unknown ||
        fail "Rust's target wasm32-unknown-unknown is missing" \
            "rustup target add wasm32-unknown-unknown, or your system's package of it"
    node_packages
    wasm_bindgen >/dev/null
}

# A panic's words name the source file; where it lay on this machine is nobody's business, and 800
# paths weigh something.
compile() {
    local program folder flags=
    mkdir -p "$built"
    (cd .. && cargo fetch --locked --target wasm32-unknown-unknown) ||
        fail "cargo fetch" "it needs the crates' registry once"
    for folder in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/ "$(rustc --print sysroot)/lib/rustlib/"; do
        flags+="'--remap-path-prefix=$folder=', "
    done
    for program in "${PROGRAMS[@]}"; do
        # shellcheck disable=SC2086 # several words, or none
        (cd .. && cargo rustc --locked -p srft-page --lib --crate-type cdylib --target wasm32-unknown-unknown \
            --profile web --config "target.wasm32-unknown-unknown.rustflags = [$flags]" ${CRATE[$program]} -- ${LINK[$program]}) ||
            fail "cargo rustc for the browser" "see the compiler's message above"
        cp "$target/wasm32-unknown-unknown/web/srft_page.wasm" "$built/$program.module.wasm"
    done
}

# NAME.js and NAME_bg.wasm of a program from what cargo made; optimising takes minutes.
bind_and_optimise() {
    local name=$1 module=$built/$1.module.wasm inputs
    inputs="$(hash_of "$module" package-lock.json) $(wasm_bindgen_version) ${OPTIONS[*]} ${FEATURES[*]}"
    unchanged "$built/$name.inputs" "$inputs" && return
    rm -f "$built/$name.inputs"
    "$(wasm_bindgen)" --target web --out-dir "$built" --out-name "$name" "$module" ||
        fail "wasm-bindgen" "remove $target/tools and try again"
    echo "optimising ${name}_bg.wasm, which takes some minutes"
    node_modules/.bin/wasm-opt "${OPTIONS[@]}" "${FEATURES[@]/#/--enable-}" \
        "$built/${name}_bg.wasm" -o "$built/$name.optimised.wasm" ||
        fail "wasm-opt" "if it names a feature of the module, add it to FEATURES in web/build.sh"
    mv "$built/$name.optimised.wasm" "$built/${name}_bg.wasm"
    echo "$inputs" >"$built/$name.inputs"
}

# srft/ is the package, for pages of others. The page's own files, package and all, lie in a folder
# whose name changes with them, so that no cache serves parts of two versions together; the pages,
# their watchdog, which says so where that folder is gone, and the picture for links keep their names.
assemble() {
    local own program
    rm -rf dist
    mkdir -p dist/srft dist/notebooks
    cp ../notebooks/*.ipynb dist/notebooks/
    cp package/* ../LICENSE-* ../assets/tiny/model.safetensors dist/srft/
    for program in "${PROGRAMS[@]}"; do
        cp "$built/$program.js" "$built/$program.d.ts" "$built/${program}_bg.wasm" dist/srft/
    done
    own=v-$(cat page/* model/* dist/srft/* | sha256sum | cut -c1-10)
    mkdir "dist/$own"
    cp {page,model}/*.css {page,model}/*.js "dist/$own/"
    mkdir "dist/$own/srft"
    cp dist/srft/*.js dist/srft/*.wasm dist/srft/*.safetensors "dist/$own/srft/"
    mv "dist/$own/watchdog.js" dist/
    cp page/card.png dist/
    page_of page/index.html main.js >dist/index.html
    page_of model/index.html model.js >dist/your-model.html
}

# A page whose files are in that folder, and whose scripts are all asked for at once, not one after the
# other imported it: `page_of HTML SCRIPT`.
page_of() {
    local scripts
    scripts=$(cd "dist/$own" && modules "$2" | sed 's#.*#<link rel="modulepreload" href="&">#' | paste -sd '~')
    sed -E -e "s#^<script type=\"module\"#${scripts//\~/\\n}\n&#" "$1" |
        sed -E -e "s#(href|src)=\"([a-z/-]+\.(css|js))\"#\1=\"$own/\2\"#" \
            -e "s#content=\"card\.png\"#content=\"${SRFT_SITE:+${SRFT_SITE%/}/}card.png\"#"
}

# A module and all that it imports, directly or not.
modules() {
    local file next seen=" " queue=("$1")
    while [ ${#queue[@]} -gt 0 ]; do
        file=${queue[0]}
        queue=("${queue[@]:1}")
        [[ $seen == *" $file "* ]] && continue
        seen+="$file "
        echo "$file"
        for next in $(sed -nE 's#.*from "\./([a-z/-]+\.js)";#\1#p' "$file"); do
            [ "${file%/*}" = "$file" ] || next=${file%/*}/$next
            queue+=("$next")
        done
    done
}

case "${1-}" in
tools) tools ;;
assemble) assemble ;;
"")
    tools
    compile
    for program in "${PROGRAMS[@]}"; do bind_and_optimise "$program"; done
    assemble
    node sizes.mjs dist "$built/sizes.json"
    ;;
*)
    echo "web/build.sh: no command '$1'; there are: tools, assemble"
    exit 2
    ;;
esac
