# shellcheck shell=bash
# Sourced by the scripts beside it: which lab is measured, and how its runs are timed and checked.

export LC_ALL=C
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/bondlab-bench.XXXXXX")
times=$work/times
: >"$times"

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}
results() { python3 "$root/bench/results.py" "$@"; }

# LAB names another binary. It is copied: a build beside the measurement must not change what is measured.
lab=${LAB:-$root/target/x86_64-unknown-linux-gnu/release/lab}
[ -x "$lab" ] || die "$lab is missing: build it with \`cargo build --release\`, or name one with LAB=FILE"
cp "$lab" "$work/lab"
lab=$work/lab

# seconds FROM TO, both of EPOCHREALTIME.
seconds() { awk -v from="$1" -v to="$2" 'BEGIN { printf "%.3f", to - from }'; }

# timed NAME COMMAND...: from start to exit, a line of $times. The command's status is ours.
timed() {
    local name=$1 from=$EPOCHREALTIME status=0
    shift
    "$@" || status=$?
    printf '%s %s\n' "$name" "$(seconds "$from" "$EPOCHREALTIME")" >>"$times"
    return "$status"
}

machine() {
    say "$(nproc) processors, load $(cut -d ' ' -f 1-3 /proc/loadavg), Linux $(uname -r), $("$lab" --version)," \
        "$(qemu-system-x86_64 --version | head -n 1)"
}
