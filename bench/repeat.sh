#!/usr/bin/env bash
# Does every cause leave the same fingerprint each time, while every processor has something else to do?
# Usage: bench/repeat.sh [REPETITIONS] [KERNELS] [TOPOLOGIES...]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

repetitions=${1:-4}
kernels=${2:-6.12.57}
topologies=("${@:3}")
[ "${#topologies[@]}" -gt 0 ] || topologies=("$root/topologies/causes")
load=()

for ((core = 0; core < $(nproc); core++)); do
    timeout 86400 yes >/dev/null &
    load+=($!)
done
trap 'kill "${load[@]}" 2>/dev/null || true' EXIT

machine
cd "$root"
for ((number = 1; number <= repetitions; number++)); do
    # A difference is counted below; what is no result ends the measurement there.
    timed matrix "$lab" matrix "${topologies[@]}" --kernels "$kernels" --format json \
        >"$work/$number.json" 2>"$work/$number.stderr" || true
    for process in "${load[@]}"; do
        kill -0 "$process" 2>/dev/null || die "the load has ended: this was no measurement"
    done
    say "$number of $repetitions: $(tail -n 1 "$times")"
done

printf '\n%s, all %d processors busy with something else\n' "$kernels" "$(nproc)"
results table <"$times"
results fingerprints "$work"/*.json || die "look into $work"
rm -rf "$work"
