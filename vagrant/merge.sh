#!/bin/sh
# Shows the results of all machines as one grid, and writes them as one page, lab.html: vagrant/merge.sh target/vagrant
set -eu
cd "$(dirname "$0")/.."
lab=target/vagrant/tests/lab # from build-tests.sh: the program whose results these are
run_lab() { if [ -x "$lab" ]; then "$lab" "$@"; else cargo run --quiet -- "$@"; fi; }
# Neither may hide what the other says: 1 is a cell that is not as expected.
page=0
run_lab report html "$1" --output "$1/lab.html" || page=$?
grid=0
run_lab report merge "$1" || grid=$?
[ "$page" -le 1 ] || { echo "error: no page was made of the results in $1" >&2; exit "$page"; }
exit "$grid"
