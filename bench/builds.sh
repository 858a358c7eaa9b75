#!/usr/bin/env bash
# How long do builds take? A clean release build, a clean build of all tests, and a build of all tests after one line of a room
# has changed. Works on older commits, too: bench/builds.sh [RUNS] [CHECKOUT]
#
# Each build has a target directory of its own below TMPDIR, and a copy of the checkout's committed files: nothing in the checkout
# changes. Dependencies are fetched before the clock starts. Times are of the wall clock, and processor seconds of cargo and its children.
set -euo pipefail
runs=${1:-1}
checkout=$(realpath "${2:-$(dirname "$0")/..}")
work=$(mktemp -d "${TMPDIR:-/tmp}/bondlab-builds.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "$(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), $(rustc --version), $(git -C "$checkout" log -1 --format='commit %h of %as')"
git -C "$checkout" archive HEAD | tar -x -C "$work" --one-top-level=source
cd "$work/source"
cargo fetch --locked --quiet

# measure NAME COMMAND...: its seconds, and those of all processors
measure() {
    local name=$1; shift
    local TIMEFORMAT='%R %U %S' spent
    spent=$({ time "$@" >"$work/log" 2>&1; } 2>&1) || { cat "$work/log" >&2; exit 1; }
    awk -v name="$name" '{ printf "%-34s %8.1f s %8.1f s of processors\n", name, $1, $2 + $3 }' <<<"$spent"
}

# The first file there is: a room's, or what it was before there were rooms.
room() {
    local file
    for file in "$@"; do [ -f "$file" ] && { echo "$file"; return; }; done
    echo "none of these is here: $*" >&2
    return 1
}

# A line that is new each time.
touch_line() { echo "const _: u64 = $(date +%s%N);" >>"$1"; }

declare -A file
file[net]=$(room lab/core/net/address.rs lab/link.rs)
file[judge]=$(room lab/core/judge/ledger.rs lab/ledger.rs)
file[guest]=$(room lab/guest/agent.rs)
file[cli]=$(room lab/cli/run.rs lab/main.rs)
tests=(cargo test --locked --offline --no-run)
for ((run = 1; run <= runs; run++)); do
    export CARGO_TARGET_DIR="$work/release"
    measure "release, clean" cargo build --locked --offline --release
    rm -rf "$CARGO_TARGET_DIR"
    export CARGO_TARGET_DIR="$work/tests"
    measure "tests, clean" "${tests[@]}"
    for name in net judge guest cli; do
        touch_line "${file[$name]}"
        measure "tests, a line of $name" "${tests[@]}"
    done
    rm -rf "$CARGO_TARGET_DIR"
done
