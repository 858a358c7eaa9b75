#!/bin/sh
# Prints what this machine's network shows, for `lab import` and `lab diagnose`. It changes nothing, needs no root, and runs `ip`
# and `cat` only. Run it inside the network namespace that it is about:
#   sh capture.sh > capture.txt
fence='```'
not_seen=''

missing() {
    not_seen="$not_seen$1
"
}

# Prints a command as a heading, and its output below it.
section() {
    echo
    echo "### $*"
    echo "$fence"
    "$@" 2>/dev/null || missing "$*: it failed with exit status $?"
    echo "$fence"
}

# Prints all files of a folder.
files() {
    found=''
    for file in "$1"/*; do
        if [ -r "$file" ]; then
            found=yes
            section cat "$file"
        fi
    done
    [ -n "$found" ] || missing "$1: $2"
}

release=$(cat /proc/sys/kernel/osrelease 2>/dev/null) || missing '/proc/sys/kernel/osrelease: it cannot be read'
echo "### lab capture on kernel release $release"
if ip -s -s -d link >/dev/null 2>&1; then
    section ip -s -s -d link
    section ip -d address
else
    # BusyBox has an `ip` without counters and details.
    missing 'ip -s -s -d link: this ip has no -s or -d; counters are those of /proc/net/dev, kinds of links are not shown'
    section ip link
    section ip address
    section cat /proc/net/dev
fi
section ip route
section ip -6 route
section ip rule
section ip -6 rule
section ip neigh
files /proc/net/bonding 'the kernel has no bonding driver, or it is not loaded'
files /proc/net/vlan 'the kernel has no 8021q driver, or it is not loaded'
missing 'tc -s qdisc, ethtool, nft, bpftool: this script runs ip and cat only; `lab capture` has them'
missing 'other network namespaces: this is one'
echo
echo '### not seen'
echo "$fence"
echo "$not_seen$fence"
