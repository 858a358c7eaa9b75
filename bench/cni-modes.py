"""The bond CNI plugin's modes and failOverMac over two VFs, against trust and spoofchk: prints the tables of docs/cni.md.

Run it as `python3 bench/cni-modes.py LAB [JOBS [hardware|switch]]`, with the lab's binary; the last word is for one table
alone. Each cell is a run of its own: a pod with a VF of each of two PFs, attached as Multus does it, then 100 numbered frames
in each direction; in active-backup first with the first VF active, then with the second. In the first table the VFs are
igb's, in the second a switch stands in for them, which enforces spoofchk. Takes about twenty minutes. The result takes the
place of the last matrix in the cache: there is nothing in it to accept.
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

KERNEL = "6.12.57"
MODES = ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"]
STATIC = ["balance-rr", "balance-xor", "broadcast"]
FAIL_OVER_MAC = (0, 1, 2)
ON = {"off": "false", "on": "true"}


# Of their own queue: the default is fq_codel, and CoDel drops frames that a busy machine's NIC is slow to take.
SWITCH_NICS = "".join(
    f'''[ns.switch.nic.p{port}]
driver = "e1000e"
peer = "node:ens{port + 1}f0"
qdisc = {{ kind = "pfifo", limit = 1000 }}
'''
    for port in (0, 1)
)


def switch(mode):
    """What the two cables lead to."""
    if mode == "802.3ad":
        kind, options = "bond", 'mode = "802.3ad"\nmiimon = 100\nlacp_rate = "fast"\n'
    elif mode in STATIC:
        kind, options = "bond", 'mode = "balance-xor"\nmiimon = 100\n'
    else:
        kind, options = "bridge", ""
    return SWITCH_NICS + f'[ns.switch.{kind}.br0]\n{options}ports = ["p0", "p1"]\naddresses = ["192.168.0.254/24"]\n'


# Which port is the active one decides what failOverMac does, and which has its carrier first is chance.
FIRST = '''[[step]]
inject = "second"
[[step]]
wait = { device = "pod:net1", state = "active", equals = 1 }
[[step]]
clear = "second"
[[step]]
wait = { device = "pod:net2", state = "carrier", equals = 1 }
'''
SECOND = '''[[step]]
inject = "first"
[[step]]
wait = { device = "pod:net2", state = "active", equals = 1 }
[[step]]
flood = "out-after"
[[step]]
flood = "back-after"
[fault.down.first]
device = "pod:net1"
[fault.down.second]
device = "pod:net2"
[flow.out-after]
from = "pod:bond0"
to = "switch:br0"
frames = 100
[flow.back-after]
from = "switch:br0"
to = "pod:bond0"
frames = 100
'''


def topology(backing, mode, is_set, trust, spoofchk, fail_over_mac):
    said = f"spoofchk = {ON[spoofchk]}, trust = {ON[trust]}"
    vf0, vf1 = ((f'mac = "02:00:5e:10:00:0{vf}", ' if is_set else "") + said for vf in (1, 2))
    waits, then = (FIRST, SECOND) if mode == "active-backup" else ("", "")
    if mode == "802.3ad":
        for port in ("pod:net1", "pod:net2", "switch:p0", "switch:p1"):
            waits += f'[[step]]\nwait = {{ device = "{port}", state = "active", equals = 1 }}\n'
    return f'''[net.s0]
type = "sriov"
resource = ["vf0"]
[net.s1]
type = "sriov"
resource = ["vf1"]
[net.b]
type = "bond"
ifname = "bond0"
mode = "{mode}"
miimon = "100"
failOverMac = {fail_over_mac}
linksInContainer = true
links = [{{ name = "net1" }}, {{ name = "net2" }}]
ipam = {{ type = "static", addresses = [{{ address = "192.168.0.1/24" }}] }}
[ns.node.pf.ens1f0]
driver = "igb"
backing = "{backing}"
peer = "switch:p0"
vfs = 1
vf.0 = {{ {vf0} }}
[ns.node.pf.ens2f0]
driver = "igb"
backing = "{backing}"
peer = "switch:p1"
vfs = 1
vf.0 = {{ {vf1} }}
[ns.node.vf.vf0]
of = "node:ens1f0"
index = 0
[ns.node.vf.vf1]
of = "node:ens2f0"
index = 0
{switch(mode)}
[flow.out]
from = "pod:bond0"
to = "switch:br0"
frames = 100
[flow.back]
from = "switch:br0"
to = "pod:bond0"
frames = 100
[[step]]
attach = {{ pod = "pod", node = "node", networks = ["s0", "s1", "b"] }}
[[step]]
wait = {{ device = "pod:bond0", state = "carrier", equals = 1 }}
{waits}[[step]]
pause_ms = 500
[[step]]
flood = "out"
[[step]]
flood = "back"
{then}'''


def told(document):
    """A result in a cell: what arrived out and back, or why there was nothing to send."""
    attached = next((c["observed"] for c in document["checks"] if c["name"].startswith("attach")), None)
    if attached is None:
        return f"{document['outcome']}: {document['reason'].splitlines()[0]}"
    if attached != "done":
        return attached.rsplit(": ", 1)[-1]
    flows = {flow["name"]: flow for flow in document["flows"]}
    twice = ", twice" if flows["out"]["duplicated"] else ""
    out = f"{flows['out']['delivered']}{twice} / {flows['back']['delivered']}"
    if "out-after" in flows:
        out += f", then {flows['out-after']['delivered']} / {flows['back-after']['delivered']}"
    lost = [fate for flow in flows.values() for fate in flow["fates"]]
    where = sorted({fate["device"] for fate in lost if fate["layer"] == "tc"})
    return out + (f" (dropped at {', '.join(where)})" if where else "")


def matrix(lab, jobs, settings):
    """The cells of all settings, by setting."""
    with tempfile.TemporaryDirectory() as folder:
        names = {"_".join(map(str, setting)): setting for setting in settings}
        for name, setting in names.items():
            Path(folder, f"{name}.toml").write_text(topology(*setting))
        command = [lab, "matrix", folder, "--kernels", KERNEL, "--no-compare", "-j", jobs, "--format", "json"]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        cells = json.loads(run.stdout)["cells"]
        return {names[cell["topology"]]: told(cell) for cell in cells}


def rows(cells, key, values):
    """One row for all values of spoofchk with the same cells, else one for each."""
    by_cells = {}
    for spoofchk in values:
        row = tuple(cells[(*key, spoofchk, fom)] for fom in FAIL_OVER_MAC)
        by_cells.setdefault(row, []).append(spoofchk)
    return [(", ".join(spoofchk), " | ".join(row)) for row, spoofchk in by_cells.items()]


def with_hardware(lab, jobs):
    print("| mode | address by the PF | trust | spoofchk | failOverMac 0 | 1 | 2 |\n|---|---|---|---|---|---|---|")
    for mode in MODES:
        keys = list(itertools.product(["hardware"], [mode], (False, True), ("off", "on")))
        settings = [(*key, spoofchk, fom) for key in keys for spoofchk in ON for fom in FAIL_OVER_MAC]
        cells = matrix(lab, jobs, settings)
        for key in keys:
            for spoofchk, row in rows(cells, key, ON):
                words = "set" if key[2] else "none"
                print(f"| {mode} | {words} | {key[3]} | {spoofchk} | {row} |", flush=True)


def with_switch(lab, jobs):
    print("\n| mode | spoofchk | failOverMac 0 | 1 | 2 |\n|---|---|---|---|---|")
    for mode in MODES:
        key = ("switch", mode, True, "off")
        cells = matrix(lab, jobs, [(*key, spoofchk, fom) for spoofchk in ON for fom in FAIL_OVER_MAC])
        for spoofchk, row in rows(cells, key, ON):
            print(f"| {mode} | {spoofchk} | {row} |", flush=True)


def main(lab, jobs=str(os.cpu_count()), half=None):
    for name, table in (("hardware", with_hardware), ("switch", with_switch)):
        if half in (None, name):
            table(lab, jobs)


if __name__ == "__main__":
    main(*sys.argv[1:])
