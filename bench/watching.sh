#!/usr/bin/env bash
# What does it cost a flood that every dropped frame is watched?
# Usage: bench/watching.sh [RUNS] [FRAMES] [KERNEL]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

runs=${1:-5}
frames=${2:-50000}
kernel=${3:-6.12.57}

# topology FILE FRAMES LIMIT: a cable, and a queue that takes everything or nothing.
topology() {
    cat >"$1" <<END
[ns.node.veth.enp2s0]
peer = "gateway:eth0"
qdisc = { kind = "pfifo", limit = $3 }
[ns.gateway.veth.eth0]
peer = "node:enp2s0"
addresses = ["192.0.2.2/24"]
[flow.flood]
from = "node:enp2s0"
to = "gateway:eth0"
frames = $2
[[step]]
flood = "flood"
END
}

# run NAME FILE ARGUMENTS...: ms from the first step to the last record.
run() {
    local name=$1 file=$2
    shift 2
    "$lab" run "$file" --kernel "$kernel" "$@" --format json >"$work/result" || die "$name: look at $work/result"
    results check "$work/result" || die "$name: look at $work/result"
    printf '%s %s\n' "$name" "$(results run_s "$work/result")" >>"$times"
}

machine
printf '\n%s frames, Linux %s, %s runs of each; seconds from the first step to the last record\n' \
    "$frames" "$kernel" "$runs"
for kind in delivered:1000 dropped:0; do
    topology "$work/${kind%:*}-one.toml" 1 "${kind#*:}"
    topology "$work/${kind%:*}.toml" "$frames" "${kind#*:}"
    # Not counted: it may have to fetch the kernel and save the machine.
    run warm-up "$work/${kind%:*}-one.toml"
done
: >"$times"
for ((number = 1; number <= runs; number++)); do
    for kind in delivered dropped; do
        # One frame is everything but the flood.
        run "$kind-1-watched" "$work/$kind-one.toml"
        run "$kind-1-counted" "$work/$kind-one.toml" --no-observer
        run "$kind-watched" "$work/$kind.toml"
        run "$kind-counted" "$work/$kind.toml" --no-observer
    done
done
results table <"$times"
results rates "$frames" <"$times"
rm -rf "$work"
