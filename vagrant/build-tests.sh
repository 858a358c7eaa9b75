#!/bin/sh
# Builds the test programs, for machines that have no cargo: they are static, so they run on any kernel's user space.
# Leaves them in target/vagrant/tests, with a list of where cargo has each, and of its source.
set -eu
cd "$(dirname "$0")/.."

out=target/vagrant/tests
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
cargo test --no-run --message-format=json-render-diagnostics > "$messages"
mkdir -p "$out"
rm -f "$out"/*
fields="s|.*\"src_path\":\"$PWD/\([^\"]*\)\".*\"executable\":\"\([^\"]*\)\".*|\2 \1|p"
sed -n "$fields" "$messages" | while read -r program source; do
    # Debug information is two thirds of a program, and only gets in the way on a slow line.
    strip --strip-debug -o "$out/${program##*/}" "$program" 2> /dev/null || cp "$program" "$out"
    printf '%s\t%s\n' "$program" "$source"
done > "$out/programs"
[ -s "$out/programs" ] || { echo "error: cargo named no test program" >&2; exit 70; }
