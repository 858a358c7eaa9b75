"""The bond CNI plugin's modes and failOverMac over two VFs: prints the table of docs/cni.md.

Run it as `python3 bench/cni-modes.py LAB`, with the lab's binary. Each cell is a run of its own: a pod with an igbvf of
each of two PFs, attached as Multus does it, then 100 numbered frames in each direction. Takes about twelve
minutes.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MODES = ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"]
STATIC = ["balance-rr", "balance-xor", "broadcast"]
# Whether the PF has set the VFs' addresses (`ip link set PF vf 0 mac ...`), and whether it trusts them.
SETTINGS = [(is_set, trust) for is_set in (False, True) for trust in ("off", "on")]


def switch(mode):
    """What the two cables lead to."""
    if mode == "802.3ad":
        kind, options = "bond", 'mode = "802.3ad"\nmiimon = 100\nlacp_rate = "fast"\n'
    elif mode in STATIC:
        kind, options = "bond", 'mode = "balance-xor"\nmiimon = 100\n'
    else:
        kind, options = "bridge", ""
    return f'[ns.switch.{kind}.br0]\n{options}ports = ["p0", "p1"]\naddresses = ["192.168.0.254/24"]\n'


def topology(mode, fail_over_mac, is_set, trust):
    said = f"spoofchk = false, trust = {'true' if trust == 'on' else 'false'}"
    vf0, vf1 = ((f'mac = "02:00:5e:10:00:0{vf}", ' if is_set else "") + said for vf in (1, 2))
    waits = ""
    if mode == "802.3ad":
        for port in ("pod:net1", "pod:net2", "switch:p0", "switch:p1"):
            waits += f'[[step]]\nwait = {{ device = "{port}", state = "active", equals = 1 }}\n'
    return f'''kernel = "6.12.57/generic"
[net.s0]
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
peer = "switch:p0"
vfs = 1
vf.0 = {{ {vf0} }}
[ns.node.pf.ens2f0]
driver = "igb"
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
'''


def cell(lab, folder, *settings):
    path = folder / "cell.toml"
    path.write_text(topology(*settings))
    run = subprocess.run([lab, "run", str(path), "--format", "json"], capture_output=True, text=True)
    document = json.loads(run.stdout)
    attached = next((c["observed"] for c in document["checks"] if c["name"].startswith("attach")), None)
    if attached is None:
        return f"{document['outcome']}: {document['reason'].splitlines()[0]}"
    if attached != "done":
        return attached.rsplit(": ", 1)[-1]
    flows = {flow["name"]: flow for flow in document["flows"]}
    twice = ", twice" if flows["out"]["duplicated"] else ""
    return f"{flows['out']['delivered']}{twice} / {flows['back']['delivered']}"


with tempfile.TemporaryDirectory() as folder:
    print("| mode | address by the PF | trust | failOverMac 0 | 1 | 2 |\n|---|---|---|---|---|---|")
    for mode in MODES:
        for is_set, trust in SETTINGS:
            cells = [cell(sys.argv[1], Path(folder), mode, fom, is_set, trust) for fom in (0, 1, 2)]
            words = "set" if is_set else "none"
            print(f"| {mode} | {words} | {trust} | {' | '.join(cells)} |", flush=True)
