#!/bin/sh
# Starts libvirt where no systemd does it: in a container, or in a CI machine with another init. Once is enough; as root.
#
#   vagrant/libvirt-without-systemd.sh          # starts virtlogd and libvirtd
#   vagrant/libvirt-without-systemd.sh stop     # ends those two, not the machines
#
# LAB_VAGRANT_DRIVER=qemu: libvirtd does not see a /dev/kvm that opens and does not work. It would wait for QEMU to answer with it, half a
# minute twice before each machine, and forget what it has learnt.
set -eu

# Without virtlogd no machine starts: it writes their consoles.
daemons="virtlogd libvirtd"

# The process id that a daemon wrote, if it is one that runs.
pid_of() {
    pid=$(cat "/run/$1.pid" 2> /dev/null) && [ "$(cat "/proc/$pid/comm" 2> /dev/null)" = "$1" ] && echo "$pid"
}

# Starts a daemon, in a mount namespace of its own where it is not to see /dev/kvm: what is there is nothing that libvirt's user may
# open (virFileAccessibleAs()). libvirt cannot move such a mount to the namespace of a machine, so machines get none.
start() {
    if [ "${LAB_VAGRANT_DRIVER:-}" != qemu ] || [ ! -e /dev/kvm ]; then
        "$@"
        return
    fi
    (umask 777 && : > /run/bondlab-no-kvm)
    { cat /etc/libvirt/qemu.conf; echo 'namespaces = []'; } > /run/bondlab-qemu.conf
    unshare --mount sh -c 'mount --bind /run/bondlab-no-kvm /dev/kvm
        mount --bind /run/bondlab-qemu.conf /etc/libvirt/qemu.conf
        exec "$@"' sh "$@"
}

[ "$(id -u)" = 0 ] || { echo "error: run it as root" >&2; exit 77; }
if [ "${1:-start}" = stop ]; then
    for daemon in libvirtd virtlogd; do
        ! pid=$(pid_of "$daemon") || kill "$pid"
    done
    exit 0
fi
[ ! -d /run/systemd/system ] || { echo "error: systemd runs here: systemctl start libvirtd" >&2; exit 69; }
for daemon in $daemons; do
    command -v "$daemon" > /dev/null || {
        echo "error: $daemon is missing; get it with: apt-get install libvirt-daemon-system" >&2
        exit 69
    }
    pid_of "$daemon" > /dev/null || start "$daemon" --daemon --pid-file "/run/$daemon.pid"
done
virsh --connect qemu:///system version
