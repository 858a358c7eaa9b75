#!/usr/bin/env bash
# Many starts in a row while every processor has something else to do: no hang, no wrong verdict.
# Usage: bench/starts.sh [STARTS] [TOPOLOGY]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

starts=${1:-300}
topology=${2:-$root/bench/one-flow.toml}
# The lab gives up a run after 600 s; this is for a lab that does not.
timeout_s=900
wrong=0
load=()

# Each ends by itself if this script is killed.
for ((core = 0; core < $(nproc); core++)); do
    timeout $((starts * 60 + timeout_s)) yes >/dev/null &
    load+=($!)
done
trap 'kill "${load[@]}" 2>/dev/null || true' EXIT

# start NAME NUMBER ARGUMENTS...: one run. Its outcome goes to $work/outcomes; a wrong one stays in $work.
start() {
    local name=$1 result=$work/$1-$2 status=0 outcome
    shift 2
    timed "$name" timeout -k 10 "$timeout_s" "$lab" run "$topology" "$@" --format json \
        >"$result.json" 2>"$result.stderr" || status=$?
    outcome=$(results outcome "$result.json" 2>/dev/null) || outcome=no-result
    printf '%s %s\n' "$name" "$outcome" >>"$work/outcomes"
    [ -e "$work/reference.json" ] || cp "$result.json" "$work/reference.json"
    if [ "$status" -eq 0 ] && results check "$result.json" --same-as "$work/reference.json"; then
        rm "$result.json" "$result.stderr"
    else
        wrong=$((wrong + 1))
        say "$name start $result: exit code $status, outcome $outcome"
        cat "$result.stderr" >&2
    fi
    kill -0 "${load[@]}" 2>/dev/null || die "the load has ended: this was no measurement"
}

machine
# Not counted: it may have to fetch the kernel and save the machine.
"$lab" run "$topology" --format json >"$work/reference.json"
results check "$work/reference.json" || die "the first start did not pass: look at $work/reference.json"
for ((number = 1; number <= starts; number++)); do
    start warm "$number"
    if ((number % 10 == 0)); then
        start cold "$number" --cold
        say "$number of $starts, $wrong wrong"
    fi
done

printf '\n%s, all %d processors busy with something else\n' "$(basename "$topology")" "$(nproc)"
results table <"$times"
sort "$work/outcomes" | uniq -c
if [ "$wrong" -gt 0 ]; then die "$wrong runs did not pass, or differ from the first one: look into $work"; fi
echo "all are equal apart from their times"
rm -rf "$work"
