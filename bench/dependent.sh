#!/usr/bin/env bash
# How long does `cargo test` of a crate outside of the repository take to its result? With an empty cache but for the fetched kernel,
# with the command built and no machine saved, warm, and after an edit of a test body.
# Usage: bench/dependent.sh [RUNS] [KERNEL] [COLD RUNS]; see bench/README.md
#
# The crate and its target directory are below TMPDIR, and so is a cache of its own, which gets the kernel from the user's cache.
# Each row has the load at its start: what a busy machine needs is compared with nothing but the smallest.
set -euo pipefail
export LC_ALL=C CI=true CARGO_NET_OFFLINE=true
runs=${1:-5}
kernel=${2:-6.12.57}
cold_runs=${3:-1}
checkout=$(realpath "$(dirname "$0")/..")
work=$(mktemp -d "${TMPDIR:-/tmp}/bondlab-dependent.XXXXXX")
trap 'rm -rf "$work"' EXIT
kernels=${LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bondlab}/kernels
export CARGO_TARGET_DIR=$work/target LAB_CACHE=$work/cache
unset BONDLAB_LAB RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET

mkdir -p "$work/crate/src" "$work/crate/tests"
cd "$work/crate"
cat >Cargo.toml <<EOF
[package]
name = "outside"
version = "0.1.0"
edition = "2024"
[dev-dependencies]
bondlab = { path = "$checkout" }
[workspace]
EOF
# The same versions, so that nothing has to be fetched.
cp "$checkout/Cargo.lock" .
: >src/lib.rs
cat >tests/body.rs <<EOF
#[lab::test(kernels = "$kernel")]
fn a_bond_is_made() {
    let edit = 0;
    std::fs::write("/sys/class/net/bonding_masters", "+bond9").unwrap();
    assert!(std::fs::exists("/sys/class/net/bond9").unwrap(), "edit {edit}");
}
EOF
cat >tests/topology.rs <<EOF
use lab::build::{Flow, Link};
use lab::{Lab, Skip, Topology};

#[test]
fn all_frames_arrive() -> Result<(), Skip> {
    let topology = Topology::builder("cable")
        .link("a:p0", Link::veth("b:p0").address("192.0.2.1/24"))
        .link("b:p0", Link::veth("a:p0").address("192.0.2.2/24"))
        .flow("stream", Flow::new("a:p0", "b:p0", 100))
        .flood("stream")
        .build()
        .unwrap();
    Lab::on("$kernel").run(&topology)?.flow("stream").assert_delivered(100);
    Ok(())
}
EOF

# row NAME COMMAND...: its seconds of the wall clock, those of all processors, and the load before it.
row() {
    local name=$1 load spent TIMEFORMAT='%R %U %S'
    shift
    load=$(cut -d' ' -f1 /proc/loadavg)
    spent=$({ time "$@" >"$work/log" 2>&1; } 2>&1) || { cat "$work/log" >&2; exit 1; }
    awk -v name="$name" -v load="$load" '{ printf "%-42s %8.2f s %8.2f s of processors, load %s\n", name, $1, $2 + $3, load }' <<<"$spent"
    echo "${name// /_} ${spent%% *}" >>"$work/times"
}
# A pass of one test, and not of none.
result() { cargo test --quiet --test "$1" && grep -q '^test result: ok. 1 passed' "$work/log"; }
fetched() {
    rm -rf "$LAB_CACHE/machines" "$LAB_CACHE/initramfs" "$LAB_CACHE/modules" "$LAB_CACHE/accelerator.json"
    [ -d "$LAB_CACHE/kernels" ] || { mkdir -m 700 "$LAB_CACHE"; mkdir "$LAB_CACHE/kernels"; cp -a "$kernels/$kernel"[+-]*-cloud-amd64-* "$LAB_CACHE/kernels"; }
}

echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg), $(rustc --version), $(qemu-system-x86_64 --version | head -n 1)," \
    "$(git -C "$checkout" log -1 --format='commit %h of %as'), kernel $kernel"
row "the crate's tests are compiled" cargo test --quiet --no-run
fetched
row "cold: the command is built" result body
for ((run = 1; run <= cold_runs; run++)); do
    fetched
    row "cold: the machine is saved" result body
done
result topology >"$work/log" 2>&1
for ((run = 1; run <= runs; run++)); do
    row "warm: a test body" result body
    row "warm: a topology" result topology
    sed -i "s/let edit = .*/let edit = $run;/" tests/body.rs
    row "edited: compiled" cargo test --quiet --no-run --test body
    row "edited: run" result body
done
printf '\n'
python3 "$checkout/bench/results.py" table <"$work/times" | tr _ ' '
