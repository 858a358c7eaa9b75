#!/usr/bin/env bash
# The same job by the lab and by virtme-ng: one topology on one kernel, from the command's start to its exit.
# Usage: bench/against-virtme-ng.sh [RUNS] [TOPOLOGY...]; see bench/README.md
set -euo pipefail
# shellcheck source=bench/lab.sh
. "$(dirname "$0")/lab.sh"

runs=${1:-5}
shift || true
if [ $# -eq 0 ]; then set -- "$root/bench/one-flow.toml" "$root/topologies/vlan-over-bond-tx-drop.toml"; fi
kernel=6.12.57/generic # the cloud flavour has no 9p, through which virtme-ng mounts its root
release=6.12.57+deb12-amd64
virtme_ng=1.42
timeout_s=900
kept=${BENCH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bondlab-bench}

# From PATH, or from PyPI into an environment of its own.
find_vng() {
    if ! command -v vng >/dev/null; then
        if [ ! -x "$kept/virtme-ng-$virtme_ng/bin/vng" ]; then
            python3 -m venv "$kept/virtme-ng-$virtme_ng"
            "$kept/virtme-ng-$virtme_ng/bin/pip" install --quiet "virtme-ng==$virtme_ng"
        fi
        PATH=$kept/virtme-ng-$virtme_ng/bin:$PATH # vng calls virtme-run by its name
    fi
    command -v busybox >/dev/null ||
        die "virtme-ng makes its initramfs of a static busybox: apt-get install busybox-static"
}

# The package kernels.toml pins, whole: virtme-ng wants depmod's files beside all the modules.
find_kernel() {
    tree=${KERNEL_TREE:-$kept/$release}
    if [ ! -e "$tree/lib/modules/$release/modules.dep.bin" ]; then
        [ -z "${KERNEL_TREE:-}" ] || die "$tree is no unpacked package of $release with depmod run in it"
        rm -rf "$tree.partial"
        mkdir -p "$tree.partial"
        python3 "$root/bench/fetch_package.py" "$root/kernels.toml" "linux-image-$release" "$tree.partial/deb"
        dpkg-deb --extract "$tree.partial/deb" "$tree.partial"
        rm "$tree.partial/deb"
        /sbin/depmod --basedir "$tree.partial" "$release"
        mv "$tree.partial" "$tree"
    fi
    image=$tree/boot/vmlinuz-$release
}

# What the lab's own guest does, in virtme-ng's. The result comes back through a file: the ports of `vng --exec` need
# virtio_console, a module of Debian's kernel, which without udev in the guest nobody loads. The parameters keep bond0
# and dummy0 from being made when the modules are loaded.
in_virtme_ng() {
    local topology=$1 out=$2 accelerator=()
    rm -rf "$out"
    mkdir "$out"
    cat >"$work/job.sh" <<JOB
'$lab' run '$topology' --kernel host --format json >'$out/result' 2>'$out/stderr'
echo \$? >'$out/status'
JOB
    [ "$accel" = kvm ] || accelerator=(--disable-kvm)
    # Its own status says nothing without the ports.
    timeout "$timeout_s" vng --run "$image" "${accelerator[@]}" --user root --rwdir "$out" \
        --append bonding.max_bonds=0 --append dummy.numdummies=0 \
        --exec "sh $work/job.sh" </dev/null >"$out/vng" 2>&1 || true
    # Until the job's last line has come through, there was no run.
    [ -s "$out/status" ]
}

in_lab() {
    local out=$1
    shift
    mkdir -p "$out"
    timeout "$timeout_s" "$lab" run "$@" --kernel "$kernel" --format json >"$out/result" 2>"$out/stderr"
}

# job NAME REFERENCE COMMAND...: timed, and worth nothing unless its result is whole and has the reference's flows.
job() {
    local name=$1 reference=$2 out=$work/$1
    shift 2
    timed "$name" "$@" || die "$name failed: look into $out"
    results check "$out/result" --flows-of "$reference/result" || die "$name did another job: look into $out"
}

compare() {
    local topology reference=$work/reference number
    topology=$(realpath "$1")
    : >"$times"
    # Not counted: fetches the kernel, saves the machine, tries KVM, and fills the page cache.
    in_lab "$reference" "$topology" || die "the lab failed: look into $reference"
    results check "$reference/result" || die "the lab failed: look into $reference"
    accel=$(results accelerator "$reference/result")
    in_virtme_ng "$topology" "$work/virtme-ng" || die "virtme-ng failed: look into $work/virtme-ng"
    for ((number = 1; number <= runs; number++)); do
        say "$(basename "$topology"): $number of $runs"
        job virtme-ng "$reference" in_virtme_ng "$topology" "$work/virtme-ng"
        job lab-cold "$reference" in_lab "$work/lab-cold" "$topology" --cold
        job lab-warm "$reference" in_lab "$work/lab-warm" "$topology"
    done
    printf '\n%s on Linux %s, %s\n' "$(basename "$topology")" "$release" "$accel"
    results table virtme-ng:lab-warm virtme-ng:lab-cold <"$times"
}

find_vng
find_kernel
machine
say "$(vng --version)"
for topology; do compare "$topology"; done
rm -rf "$work"
