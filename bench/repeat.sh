#!/usr/bin/env bash
# Does every cause leave the same fingerprint each time, while every processor has three guests to run? A guest carries each
# out 25 times over, in fresh namespaces.
# Usage: bench/repeat.sh [REPETITIONS] [KERNELS] [TOPOLOGIES...]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

repetitions=${1:-100}
kernels=${2:-6.12.57}
topologies=("${@:3}")
[ "${#topologies[@]}" -gt 0 ] || topologies=("$root/topologies/causes")
guests=$((3 * $(nproc)))
rounds=$((repetitions < 25 ? repetitions : 25))

machine
cd "$root"
for ((done = rounds; done <= repetitions; done += rounds)); do
    # A difference is counted below; what is no result ends the measurement there.
    timed matrix "$lab" matrix "${topologies[@]}" --kernels "$kernels" --jobs "$guests" --repeat "$rounds" --format json \
        >"$work/$done.json" 2>"$work/$done.stderr" || true
    say "$done of $repetitions: $(tail -n 1 "$times")"
done

printf '\n%s, %d guests at a time on %d processors\n' "$kernels" "$guests" "$(nproc)"
results table <"$times"
results fingerprints "$work"/*.json || die "look into $work"
rm -rf "$work"
