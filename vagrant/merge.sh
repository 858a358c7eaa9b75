#!/bin/sh
# Shows the results of all machines as one grid: vagrant/merge.sh target/vagrant
set -eu
cd "$(dirname "$0")/.."
exec cargo run --quiet -- report merge "$1"
