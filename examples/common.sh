# What the examples' `run` scripts share; sourced, with $0 the script. Builds the release binary, moves into a fresh copy of
# the example (so that nothing is written into the checkout), and takes everything down at the end, however it ends.
#
#   ganger …          the release binary
#   saw PATTERN ARG…  waits up to 20 s until `ganger ARG…`, which follows something, prints a line that matches
#   needs PROGRAM     ends the script with exit code 77 (skipped, as automake has it) if PROGRAM is missing
#   claim TEXT CMD…   runs CMD (its output is hidden unless it fails) and prints `ok TEXT`; ends the script if it fails

set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
# XTASK_GANGER names a binary to use instead of building one, as for `cargo xtask`.
if [ -n "${XTASK_GANGER:-}" ]; then
    GANGER=$XTASK_GANGER
else
    (cd "$root" && cargo build --quiet --release --package ganger --bin ganger)
    GANGER=${CARGO_TARGET_DIR:-$root/target}/release/ganger
fi
[ -x "$GANGER" ] || { echo "no binary at $GANGER"; exit 1; }

work=$(mktemp -d)
cp -R "$here/." "$work/"
cd "$work"

ganger() { "$GANGER" "$@"; }

needs() {
    command -v "$1" > /dev/null && return
    echo "skipped: this example needs $1"
    exit 77
}

saw() {
    pattern=$1
    shift
    mkfifo "$work/.saw"
    timeout 20 "$GANGER" "$@" > "$work/.saw" &
    follower=$!
    found=0
    grep -q -m 1 "$pattern" < "$work/.saw" || found=$?
    kill "$follower" 2> /dev/null || true
    wait "$follower" || true
    rm "$work/.saw"
    return "$found"
}

finish() {
    code=$?
    trap - EXIT INT TERM
    ganger down > /dev/null 2>&1 || true
    cd /
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

claim() {
    what=$1
    shift
    if said=$("$@" 2>&1); then
        printf 'ok      %s\n' "$what"
    else
        printf 'FAILED  %s\n%s\n' "$what" "$said"
        exit 1
    fi
}
