#!/usr/bin/env bash
# What one small cell costs: time, memory, bytes.
# Usage: bench/cells.sh [RUNS] [TOPOLOGY]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

runs=${1:-10}
topology=${2:-$root/bench/one-flow.toml}

# cell NAME ARGUMENTS...: a timed run that has to pass.
cell() {
    local name=$1
    shift
    timed "$name" "$lab" run "$topology" "$@" --format json >"$work/result" || die "$name: look at $work/result"
    results check "$work/result" --same-as "$work/reference" || die "$name: look at $work/result"
    results stages "$work/result" "$name" >>"$work/stages"
}

machine
# Not counted: it may have to fetch the kernel and save the machine.
"$lab" run "$topology" --format json >"$work/reference"
results check "$work/reference" || die "look at $work/reference"
for ((number = 1; number <= runs; number++)); do cell warm; done
for ((number = 1; number <= (runs + 2) / 3; number++)); do cell cold --cold; done

printf '\n%s, %s, %s\n' "$(basename "$topology")" "$(results release "$work/reference")" \
    "$(results accelerator "$work/reference")"
results table cold:warm <"$times"
printf '\nwhere the time goes\n'
results table <"$work/stages"
printf '\n'
python3 "$root/bench/watch_guest.py" "$lab" run "$topology" --format json
printf '%-28s%9.1f MB\n' 'the binary, static' "$(stat -c %s "$lab" | awk '{ print $1 / 1e6 }')"
rm -rf "$work"
