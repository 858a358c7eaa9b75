#!/bin/sh
# Makes a Vagrant box for libvirt out of Debian packages, so that nothing but a Debian mirror is needed.
#
#   vagrant/build-box.sh bookworm        # $HOME/.cache/bondlab/boxes/bookworm.box
#
# The packages come from the mirror that this machine's apt is configured with (or LAB_MIRROR, LAB_MIRROR_SECURITY).
# LAB_BOX_KERNEL names another kernel package, LAB_BOX_DIR another place for the box, LAB_BOX_APT an option of apt.
set -eu

suite=${1:?usage: vagrant/build-box.sh SUITE, for example bookworm or trixie}
kernel=${LAB_BOX_KERNEL:-linux-image-cloud-amd64}
boxes=${LAB_BOX_DIR:-$HOME/.cache/bondlab/boxes}
# Sparse: a box takes the place of what is in it. It has to hold the tests, and the microVMs' kernels if they are wanted.
disk_mib=8192
boot_mib=128
# Vagrant's public key that everybody has: vagrant up puts a key of its own in its place.
insecure_key="ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEA6NF8iallvQVp22WDkTkyrtvp9eWW6A8YVr+kz4TjGYe7gHzIw+niNltGEFHzD8+v1I2YJ6oXevct1YeS0o9HZyN1Q9qgCgzUFtdOKLv6IedplqoPkcmF0aYet2PkEDo3MlTBckFXPITAMzF8dJSIFo9D8HfdOV0IAdx4O7PtixWKn5y2hMNG0zQPyUecp4pzC6kivAIhyfHilFR61RGL+GPXQ2MWZWFYbAGjyiYJnAmCP3NOTd0jMZEnDkbUvxhMmBYSdETk1rRgm+R4LOzFUGaHqHDLKLX+FIPKcF96hrucXzcWyLbIbEgE98OHlnVYCzRdK8jlqm8tehUc9c9WhQ== vagrant insecure public key"

# Fails early, and says all that is missing at once.
require() {
    missing=
    while [ $# -gt 0 ]; do
        command -v "$1" > /dev/null || missing="$missing $2"
        shift 2
    done
    [ -e /usr/lib/syslinux/mbr/mbr.bin ] || missing="$missing syslinux-common"
    [ -z "$missing" ] || { echo "error: missing; get it with: apt-get install --no-install-recommends$missing" >&2; exit 69; }
}

# The base address of apt's own Debian archive: the one that serves SUITE-updates too (other vendors' do not).
apt_base() {
    apt-get --print-uris update | sed -n "s|^'\(.*/$1\)/dists/[a-z]*$2/InRelease'.*|\1|p" | head -n 1
}

require mmdebstrap mmdebstrap mke2fs e2fsprogs mkfs.vfat dosfstools mcopy mtools syslinux syslinux \
    sfdisk fdisk qemu-img qemu-utils
mirror=${LAB_MIRROR:-$(apt_base debian -updates)}
security=${LAB_MIRROR_SECURITY:-$(apt_base debian-security -security)}
[ -n "$mirror" ] || { echo "error: apt names no Debian mirror; set LAB_MIRROR to the address of one" >&2; exit 69; }
# Another user than root has no devices or owners to give: fakeroot remembers them for mke2fs.
as_root=
[ "$(id -u)" = 0 ] || { require fakeroot fakeroot; as_root=fakeroot; }

mkdir -p "$boxes"
work=$(mktemp -d "$boxes/.$suite.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# What runs in the new system, as its root.
cat > "$work/customize.sh" <<CUSTOMIZE
set -eu
cd "\$1"
chroot . useradd --create-home --shell /bin/bash vagrant
echo vagrant:vagrant | chroot . chpasswd
chroot . sh -c 'umask 077; mkdir ~vagrant/.ssh; cat > ~vagrant/.ssh/authorized_keys' <<KEY
$insecure_key
KEY
chroot . sh -c 'chown -R vagrant:vagrant ~vagrant/.ssh'
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' > etc/sudoers.d/vagrant
chmod 440 etc/sudoers.d/vagrant
echo bondlab-$suite > etc/hostname
echo "127.0.0.1 localhost bondlab-$suite" > etc/hosts
echo 'LABEL=bondlab-root / ext4 defaults 0 1' > etc/fstab
printf '[Match]\nName=eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n[DHCPv4]\nClientIdentifier=mac\n' \
    > etc/systemd/network/eth.network
chroot . systemctl enable systemd-networkd systemd-resolved ssh
chroot . systemctl disable apt-daily.timer apt-daily-upgrade.timer systemd-networkd-wait-online.service
# Every machine makes host keys of its own; a reverse look-up of the host would wait for a name server.
rm -f etc/ssh/ssh_host_*
mkdir -p etc/systemd/system/ssh.service.d etc/ssh/sshd_config.d
printf '[Service]\nExecStartPre=\nExecStartPre=/usr/bin/ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n' \
    > etc/systemd/system/ssh.service.d/host-keys.conf
printf 'UseDNS no\n' > etc/ssh/sshd_config.d/vagrant.conf
: > etc/machine-id
CUSTOMIZE

echo "suite $suite, kernel package $kernel" >&2
{
    echo "deb $mirror $suite main"
    echo "deb $mirror $suite-updates main"
    [ -z "$security" ] || echo "deb $security $suite-security main"
} > "$work/sources.list"
packages=$kernel,systemd-sysv,systemd-resolved,dbus,udev,kmod,iproute2,openssh-server,openssh-client,sudo,rsync,procps,ca-certificates
# mmdebstrap keeps the reason of an error to itself when it is quiet.
mmdebstrap --variant=minbase --include="$packages" --aptopt='Apt::Install-Recommends "false"' \
    ${LAB_BOX_APT:+--aptopt="$LAB_BOX_APT"} --customize-hook="sh $work/customize.sh \"\$1\"" \
    "$suite" "$work/root.tar" "$work/sources.list" > "$work/mmdebstrap.log" 2>&1 ||
    { cat "$work/mmdebstrap.log" >&2; exit 69; }

# A disk with two partitions: a FAT one that the BIOS boots by syslinux, and the root file system.
cat > "$work/fill.sh" <<'FILL'
set -eu
cd "$1"
mkdir root
tar --extract --file=root.tar --directory=root --exclude='./dev/*' --numeric-owner --same-permissions
cp root/boot/vmlinuz-* vmlinuz
cp root/boot/initrd.img-* initrd.img
mke2fs -q -t ext4 -L bondlab-root -d root -E offset=$((($2 + 1) * 1048576)),lazy_itable_init=1 \
    disk.raw $((($3 - $2 - 2) * 1024))k
FILL
truncate -s "${disk_mib}M" "$work/disk.raw"
$as_root sh "$work/fill.sh" "$work" "$boot_mib" "$disk_mib"
cat > "$work/syslinux.cfg" <<'SYSLINUX'
DEFAULT linux
LABEL linux
  LINUX vmlinuz
  INITRD initrd.img
  APPEND root=LABEL=bondlab-root rw console=tty0 console=ttyS0 net.ifnames=0 quiet
SYSLINUX
mkfs.vfat -n BOOT -C "$work/boot.fat" $((boot_mib * 1024)) > /dev/null
mcopy -i "$work/boot.fat" "$work/vmlinuz" "$work/initrd.img" "$work/syslinux.cfg" ::
syslinux --install "$work/boot.fat"
printf 'label: dos\nstart=1MiB, size=%sMiB, type=c, bootable\nstart=%sMiB, type=83\n' "$boot_mib" $((boot_mib + 1)) |
    sfdisk --quiet "$work/disk.raw"
dd if=/usr/lib/syslinux/mbr/mbr.bin of="$work/disk.raw" conv=notrunc status=none
dd if="$work/boot.fat" of="$work/disk.raw" bs=1M seek=1 conv=notrunc,sparse status=none

mkdir "$work/box"
qemu-img convert -f raw -O qcow2 "$work/disk.raw" "$work/box/box.img"
echo "{\"provider\": \"libvirt\", \"format\": \"qcow2\", \"virtual_size\": $((disk_mib / 1024))}" > "$work/box/metadata.json"
# Beside box.img, for who wants to boot without a boot loader.
cp "$work/vmlinuz" "$work/initrd.img" "$work/box"
# gzip at its fastest: the box is unpacked on the machine where it was made.
tar --create --directory="$work/box" --sparse metadata.json box.img vmlinuz initrd.img | gzip -1 > "$work/$suite.box"
mv "$work/$suite.box" "$boxes/$suite.box"
du -h "$boxes/$suite.box"
