#!/bin/sh
# Builds the test programs, for machines that have no cargo: they are static, so they run on any kernel's user space.
# Leaves them in target/vagrant/tests, with a list of where cargo has each, and of its source.
#
# Those that a kernel has a part in, and those of microVMs where LAB_MATRIX asks for them. The others are texts in, texts out:
# `cargo test` runs them on the host, ten times as fast as emulation does.
set -eu
cd "$(dirname "$0")/.."

out=target/vagrant/tests
new=$out.new
mkdir -p "$out"
# Each machine that comes up calls this, side by side with the others.
exec 9> target/vagrant/.lock
flock 9
packages="--package bondlab --package bondlab-guest --package bondlab-host"
tests="--lib --bins --test command ${LAB_MATRIX:+--test e2e --test vm}"
messages=$(mktemp)
trap 'rm -rf "$messages" "$new"' EXIT
# shellcheck disable=SC2086
cargo test $packages $tests --no-run --message-format=json-render-diagnostics > "$messages"
rm -rf "$new"
mkdir "$new"
fields="s|.*\"src_path\":\"$PWD/\([^\"]*\)\".*\"executable\":\"\([^\"]*\)\".*|\2 \1|p"
sed -n "$fields" "$messages" | while read -r program source; do
    # Debug information is two thirds of a program, and only gets in the way on a slow line.
    strip --strip-debug -o "$new/${program##*/}" "$program" 2> /dev/null || cp "$program" "$new"
    printf '%s\t%s\n' "$program" "$source"
done > "$new/programs"
[ -s "$new/programs" ] || { echo "error: cargo named no test program" >&2; exit 70; }
# What is as it was is not touched: another machine may be copying it.
rsync --archive --no-times --checksum --delete "$new/" "$out/"
