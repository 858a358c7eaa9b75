#!/usr/bin/env bash
# How long does it take to build 1,000 links, by the lab and by ip -batch, in the guest and on this kernel?
# Usage: bench/thousand-links.sh [RUNS] [LINKS] [KERNEL]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

runs=${1:-3}
links=${2:-1000}
kernel=${3:-6.12.57}

# A cable and dummy devices; on this kernel, which may not have dummy devices, cables alone.
# The addresses are those that the lab gives.
topology() {
    printf '[ns.node.veth.p0]\npeer = "far:p0"\naddresses = ["192.0.2.1/24"]\n'
    printf '[ns.far.veth.p0]\npeer = "node:p0"\naddresses = ["192.0.2.2/24"]\n'
    if [ "$1" = dummy ]; then
        for ((link = 2; link < links; link++)); do printf '[ns.node.dummy.d%d]\n' "$link"; done
    else
        for ((link = 2; link < links; link += 2)); do printf '[ns.node.veth.d%d]\npeer = "node:e%d"\n' "$link" "$link"; done
    fi
    printf '[flow.one]\nfrom = "node:p0"\nto = "far:p0"\nframes = 1\n[[step]]\nflood = "one"\n'
    printf '[[expect]]\nflow = "one"\nfield = "delivered"\nequals = 1\n'
}

# The same for ip(8): each link made with an address, and then set up.
batch() {
    local at
    for ((link = 2; link < links; link++)); do
        at=$(printf '02:00:5e:00:%02x:%02x' $((link / 256)) $((link % 256)))
        if [ "$1" = dummy ]; then
            printf 'link add d%d address %s type dummy\n' "$link" "$at"
        elif ((link % 2 == 0)); then
            printf 'link add d%d address %s type veth peer name e%d\n' "$link" "$at" "$link"
        fi
    done
    for ((link = 2; link < links; link++)); do
        if [ "$1" = dummy ]; then
            printf 'link set d%d up\n' "$link"
        elif ((link % 2 == 0)); then
            printf 'link set d%d up\nlink set e%d up\n' "$link" "$link"
        fi
    done
}

machine
topology dummy >"$work/guest.toml"
topology veth >"$work/host.toml"
batch dummy >"$work/guest.batch"
batch veth >"$work/host.batch"
# The clock of the machine that makes the links, once ip(8) is there.
cat >"$work/batch.sh" <<'SCRIPT'
ip -batch /dev/null
read -r from _ </proc/uptime
ip -batch "$1"
read -r to _ </proc/uptime
echo "$from $to"
SCRIPT
# times_of NAME RESULT: the stage `build` of a run that passed.
times_of() {
    local ms
    ms=$(python3 -c 'import json, sys
document = json.load(open(sys.argv[1]))
document = document.get("cells", [document])[0]
sys.exit(1) if document["outcome"] != "pass" else print(document["timing_ms"]["build"])' "$2") || return 1
    awk -v name="$1" -v ms="$ms" 'BEGIN { printf "%s %.3f\n", name, ms / 1000 }' >>"$times"
}
# batch_times NAME: of the line that batch.sh prints.
batch_times() { awk -v name="$1" 'NF == 2 { printf "%s %.3f\n", name, $2 - $1 }' >>"$times"; }

for ((run = 1; run <= runs; run++)); do
    "$lab" run "$work/guest.toml" --kernel "$kernel" --format json >"$work/guest.json" || true
    times_of guest-lab "$work/guest.json" || die "the run in the guest did not pass: look at $work/guest.json"
    "$lab" exec --kernel "$kernel" -- bash "$work/batch.sh" "$work/guest.batch" 2>/dev/null | batch_times guest-ip-batch
    "$lab" run "$work/host.toml" --kernel host --format json >"$work/host.json" || true
    if times_of host-lab "$work/host.json"; then
        unshare --net bash "$work/batch.sh" "$work/host.batch" | batch_times host-ip-batch
    else
        say "this kernel does not take the topology: look at $work/host.json"
    fi
done
printf '\n%d links; seconds\n' "$links"
results table <"$times"
