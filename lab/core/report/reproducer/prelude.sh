set -eu

for tool in ip tc awk python3; do
    command -v "$tool" >/dev/null || { echo "error: this script needs $tool" >&2; exit 69; }
done
[ "$(id -u)" = 0 ] || { echo "error: this script needs root: it makes network namespaces" >&2; exit 69; }

work=$(mktemp -d)
made=''
sinks=''
clean_up() {
    for pid in $sinks; do kill "$pid" 2>/dev/null || :; done
    for name in $made; do ip netns del "$name" || :; done
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# What cannot be done by a command: the reader has to know that the result may be another one.
not_done() { echo "not done: $1" >&2; }

# Makes a namespace in which the kernel sends nothing of its own. One that exists is not touched: the script ends.
new_namespace() {
    ip netns add "$1"
    made="$made $1"
    for setting in $settings; do
        file=/proc/sys/$(echo "${setting%%=*}" | tr . /)
        ip netns exec "$1" sh -c '[ ! -e "$1" ] || echo "$2" > "$1"' sh "$file" "$(echo "${setting#*=}" | tr , ' ')"
    done
    ip -n "$1" link set lo up
}

# The Ethernet address that a device has now.
address_of() { ip netns exec "$1" cat "/sys/class/net/$2/address"; }

# Waits until a file of a device holds a value; $5 is for how many tenths of a second.
wait_for() {
    tries=$5
    until [ "$(ip netns exec "$1" cat "/sys/class/net/$2/$3" 2>/dev/null)" = "$4" ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "timed out: $1:$2 $3 is not $4" >&2; return 0; }
        sleep 0.1
    done
}

# All counters of all devices and of the queueing disciplines at their roots: a device, a name and a number a line.
counters() {
    for name in $made; do
        ip netns exec "$name" sh -c 'for file in /sys/class/net/*/statistics/*; do
            device=${file#/sys/class/net/}
            read -r value < "$file"
            echo "$1:${device%%/*} ${file##*/} $value"
        done' sh "$name"
        tc -n "$name" -s qdisc show | awk -v ns="$name" '
            /^qdisc/ { device = $5; is_root = ($6 == "root") }
            / dropped |\(dropped/ && is_root { drops = $7; sub(",", "", drops); print ns ":" device, "qdisc_drops", drops }'
    done
}
count_before() { counters > "$work/before"; }
count_after() {
    sleep 1
    counters > "$work/after"
    echo "Counters that moved:"
    awk 'NR == FNR { before[$1 " " $2] = $3; next }
        { moved = $3 - before[$1 " " $2]; if (moved != 0) print "  " $1, $2, moved }' "$work/before" "$work/after"
}

# Takes datagrams at an address, so that the receiver's kernel does not answer with ICMP.
sink() {
    ip netns exec "$1" python3 "$work/sink.py" "$2" "$work/sink-$1-$2" &
    sinks="$sinks $!"
    tries=100
    until [ -e "$work/sink-$1-$2" ]; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "error: nothing listens at $2 in $1" >&2; exit 70; }
        sleep 0.1
    done
}

# Sends frames; what the kernel answered to each is counted.
flood() {
    ns=$1
    shift
    ip netns exec "$ns" python3 "$work/flood.py" "$@"
}

cat > "$work/sink.py" <<'END'
import socket, sys
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
taken.bind((sys.argv[1], 9))
open(sys.argv[2], "w").close()
while True:
    taken.recv(65536)
END

cat > "$work/flood.py" <<'END'
import collections, errno, fcntl, socket, struct, sys, time
name, kind, device, source, to, next_hop, tag, length, frames, interval_us = sys.argv[1:]
length, frames, interval_us, tag = int(length), int(frames), int(interval_us), int(tag)

def checksum(data):
    total = sum(struct.unpack(">%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF

def ethernet(text):
    return bytes.fromhex(text.replace(":", ""))

def frame(number):
    payload = struct.pack(">I", number).ljust(length - 42 - (4 if tag else 0), b"\0")
    udp = struct.pack(">HHHH", 9, 9, 8 + len(payload), 0) + payload
    ends = socket.inet_aton(source) + socket.inet_aton(to)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + ends
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return ethernet(next_hop) + own + (struct.pack(">HH", 0x8100, tag) if tag else b"") + b"\x08\x00" + header + udp

def payload(number):
    return struct.pack(">I", number).ljust(length - 42, b"\0")

if kind.startswith("packet"):
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    if kind == "packet-bypass":
        out.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
    out.bind((device, 0))
    own = out.getsockname()[4]
    send = lambda number: out.send(frame(number))
else:
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1 if kind == "ping" else 0)
    if device != "-":
        out.setsockopt(socket.SOL_SOCKET, 25, device.encode() + b"\0")  # SO_BINDTODEVICE
        out.bind((source, 0))
    if kind == "udp-recverr":
        out.setsockopt(0, 11, 1)  # SOL_IP, IP_RECVERR
    head = b"\x08\0\0\0\0\0\0\0" if kind == "ping" else b""  # an echo request; the kernel fills it in
    send = lambda number: out.sendto(head + payload(number), (to, 9))
out.setblocking(False)
out.setsockopt(socket.SOL_SOCKET, 32, 64 << 20)  # SO_SNDBUFFORCE

answers = collections.Counter()
begin = time.monotonic()
for number in range(frames):
    if interval_us:
        time.sleep(max(0, begin + number * interval_us / 1e6 - time.monotonic()))
    try:
        send(number)
        answers["accepted"] += 1
    except OSError as error:
        answers[errno.errorcode.get(error.errno, str(error.errno))] += 1
print("%s:" % name, ", ".join("%d %s" % (count, answer) for answer, count in sorted(answers.items())))
END
