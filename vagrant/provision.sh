#!/bin/bash
# Runs in the machine, as root: the tests on its own kernel, every topology among them, and the microVM matrix if it is wanted.
# A test that fails does not end it: the results have to come back, and `failed` among them says what it was.
set -euo pipefail

: "${LAB_ROOT:?}" "${LAB_CARGO:?}"
results=/var/lib/bondlab/results
staged=$LAB_ROOT/target/vagrant/tests
rm -rf "$results"
mkdir -p "$results/tests" "$results/cells"
: > "$results/failed"
cd "$LAB_ROOT"
# insta would ask cargo where the workspace is; and nothing is accepted here.
export INSTA_WORKSPACE_ROOT=$LAB_ROOT INSTA_UPDATE=no CARGO_MANIFEST_DIR=$LAB_ROOT

# tests/here.rs keeps the result of each topology there.
export LAB_CELLS=$results/cells

# A test with a microVM would fetch QEMU and kernels, and run them inside of this machine: only if it is asked for.
[ -n "${LAB_MATRIX:-}" ] || export LAB_QEMU=none-without-LAB_MATRIX

seconds_since() { awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $1 }"; }

# One test program, or cargo itself: its output is kept, its summary shown.
run_tests() {
    local name=$1 begun log
    log=$results/tests/$(echo "$1" | tr / -).log
    shift
    begun=$(date +%s.%N)
    if "$@" > "$log" 2>&1 < /dev/null; then
        echo "$name: $(grep -E '^test result' "$log" | tail -n 1) ($(seconds_since "$begun") s)"
    else
        echo "$name" >> "$results/failed"
        echo "$name: failed"
        tail -n 40 "$log"
    fi
}

test_outside() {
    local program source
    # First all of them in place: a test may start the program `lab`.
    while read -r program source; do
        install -D "$staged/${program##*/}" "$program"
    done < "$staged/programs"
    mkdir -p "$(dirname "$(lab_program)")/../tmp" # CARGO_TARGET_TMPDIR
    while read -r program source; do
        case $program in
            # One after the other, as the machine is slow: a test that measures time has it for itself. `packaged` asks cargo and
            # reads what rustc left beside the programs; neither is here.
            */deps/*) run_tests "$source" "$program" --test-threads=1 --nocapture --skip packaged:: ;;
        esac
    done < "$staged/programs"
}

# The one that is no test.
lab_program() { grep -v /deps/ "$staged/programs" | cut -f 1; }

test_inside() {
    command -v cargo > /dev/null || PATH=$PATH:~vagrant/.cargo/bin
    command -v cargo > /dev/null ||
        { echo "error: the box has no cargo; use a box that has, or LAB_CARGO=outside" >&2; exit 69; }
    # Not in the synced tree: its target folder belongs to the host.
    export CARGO_TARGET_DIR=/var/lib/bondlab/target
    run_tests cargo-test cargo test --no-fail-fast
}

# The kernel's own view of what the lab must not touch: links (the driver's file bonding_masters is none), namespaces.
footprint() {
    { find /sys/class/net -type l; find /run/netns -type f 2> /dev/null; lsns --noheadings --type net --output NS; } | sort
}

echo "kernel $(uname -rv)"
before=$(footprint)
case $LAB_CARGO in
    outside) test_outside; lab=$(lab_program) ;;
    inside) test_inside; lab=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/debug/lab ;;
    *) echo "error: LAB_CARGO is inside or outside, not $LAB_CARGO" >&2; exit 2 ;;
esac

# Tests ran each topology once, and left what `lab run` printed.
find topologies -name '*.toml' | sort | while read -r topology; do
    cell=${topology#topologies/}
    cell=${cell%.toml}
    [ -s "$LAB_CELLS/${cell//\//-}.json" ] || echo "$topology" >> "$results/failed"
done

if [ -n "${LAB_MATRIX:-}" ]; then
    "$lab" matrix topologies/ --kernels "$LAB_MATRIX" --format json > "$results/cells/matrix.json" ||
        echo "matrix $LAB_MATRIX" >> "$results/failed"
fi

# What went is no matter: a service may have ended that had a namespace of its own.
comm -13 <(echo "$before") <(footprint) > "$results/left-behind"
[ ! -s "$results/left-behind" ] || {
    echo "something was left behind: $(cat "$results/left-behind")"
    echo "left-behind" >> "$results/failed"
}
tar -C "$results" -cf "$results.tar" .
chmod 644 "$results.tar"
