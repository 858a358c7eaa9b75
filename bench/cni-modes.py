"""The bond CNI plugin's modes and failOverMac over two VFs: prints the table of docs/cni.md.

Run it as `python3 bench/cni-modes.py LAB`, with the lab's binary. Each cell is a run of its own: a pod with an igbvf of
each of two PFs, attached as Multus does it, then 100 numbered frames in each direction. Takes about six minutes.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MODES = ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"]
# What the PF has said of its VFs' addresses.
ADMIN = {"none": None, "set, no trust": "false"}


def topo(mode,fom,admin):
    vf0='spoofchk = false'; vf1='spoofchk = false'
    if admin:
        vf0='mac = "02:00:5e:10:00:01", spoofchk = false, trust = %s'%admin
        vf1='mac = "02:00:5e:10:00:02", spoofchk = false, trust = %s'%admin
    if mode=="802.3ad":
        sw='[ns.switch.bond.br0]\nmode = "802.3ad"\nmiimon = 100\nlacp_rate = "fast"\nports = ["p0","p1"]\naddresses = ["192.168.0.254/24"]\n'
    elif mode in("balance-rr","balance-xor","broadcast"):
        sw='[ns.switch.bond.br0]\nmode = "balance-xor"\nmiimon = 100\nports = ["p0","p1"]\naddresses = ["192.168.0.254/24"]\n'
    else:
        sw='[ns.switch.bridge.br0]\nports = ["p0","p1"]\naddresses = ["192.168.0.254/24"]\n'
    waits=''
    if mode=="802.3ad":
        waits=''.join('[[step]]\nwait = { device = "%s", state = "active", equals = 1 }\n'%d for d in("pod:net1","pod:net2","switch:p0","switch:p1"))
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
failOverMac = {fom}
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
{sw}
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


def cell(lab, folder, mode, fom, admin):
    path = folder / "cell.toml"
    path.write_text(topo(mode, fom, admin))
    run = subprocess.run([lab, "run", str(path), "--format", "json"], capture_output=True, text=True)
    document = json.loads(run.stdout)
    attached = next(check["observed"] for check in document["checks"] if check["name"].startswith("attach"))
    if attached != "done":
        return attached.rsplit(": ", 1)[-1]
    flows = {flow["name"]: flow for flow in document["flows"]}
    twice = ", twice" if flows["out"]["duplicated"] else ""
    return f"{flows['out']['delivered']}{twice} / {flows['back']['delivered']}"


with tempfile.TemporaryDirectory() as folder:
    print("| mode | address by the PF | failOverMac 0 | 1 | 2 |\n|---|---|---|---|---|")
    for mode in MODES:
        for words, admin in ADMIN.items():
            cells = [cell(sys.argv[1], Path(folder), mode, fom, admin) for fom in (0, 1, 2)]
            print(f"| {mode} | {words} | {' | '.join(cells)} |", flush=True)
