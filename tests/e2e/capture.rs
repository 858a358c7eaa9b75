//! Topology, build, capture, import: what a kernel shows of a topology, by the script for machines without the lab.

use std::fs;
use std::process::{Command, Output};

use bondlab_core::topology::Topology;
use libtest_mimic::Trial;

use crate::machine::{self, LAB, trial};
use crate::own_side::own_side;

/// The oldest kernel, and the newest.
const KERNELS: [&str; 2] = ["5.10.262", "7.3.4"];

/// A stack with one of each kind of link that a machine makes itself.
const TOPOLOGY: &str = r#"about = "one of each kind"
[ns.node.veth.enp1s0]
peer = "switch:p1"
mac = "02:aa:bb:00:00:01"
[ns.node.veth.enp2s0]
peer = "switch:p2"
mac = "02:aa:bb:00:00:02"
[ns.node.veth.enp3s0]
peer = "switch:p3"
mac = "02:aa:bb:00:00:03"
addresses = ["198.51.100.5/24"]
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 100
updelay = 200
num_grat_arp = 3
primary = "enp1s0"
fail_over_mac = "active"
ports = ["enp1s0", "enp2s0"]
mtu = 1600
addresses = ["192.0.2.5/24"]
[ns.node.vlan."bond0.70"]
parent = "bond0"
id = 70
mtu = 1400
[ns.node.vlan."bond0.80"]
parent = "bond0"
id = 80
protocol = "802.1ad"
[ns.node.vlan."bond0.80.7"]
parent = "bond0.80"
id = 7
addresses = ["10.7.0.5/24"]
[ns.node.macvlan.mac0]
parent = "bond0.70"
mode = "bridge"
addresses = ["10.70.0.5/24"]
[ns.node.vlan."enp3s0.9"]
parent = "enp3s0"
id = 9
[ns.node.bridge.br9]
ports = ["enp3s0.9"]
addresses = ["10.9.0.5/24"]
[ns.node.dummy.dummy0]
addresses = ["10.1.0.5/32"]
[[ns.node.routes]]
to = "default"
via = "198.51.100.1"
dev = "enp3s0"
[ns.switch.veth.p1]
peer = "node:enp1s0"
[ns.switch.veth.p2]
peer = "node:enp2s0"
[ns.switch.veth.p3]
peer = "node:enp3s0"
"#;

/// The trials.
pub fn trials() -> Vec<Trial> {
    let pin = |kernel| machine::pins(kernel).remove(0);
    let of =
        |kernel| trial(format!("capture/comes back/{kernel}"), pin(kernel), move |_, _| comes_back(kernel));
    KERNELS.map(of).into_iter().collect()
}

fn ended_well(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn comes_back(kernel: &str) {
    let folder = tempfile::tempdir().expect("there is room");
    let [file, script, text] = ["t.toml", "capture.sh", "capture.txt"].map(|name| folder.path().join(name));
    fs::write(&file, TOPOLOGY).expect("it can be written");
    let printed = Command::new(LAB).args(["capture", "--script"]).output().expect("it starts");
    fs::write(&script, ended_well(&printed)).expect("it can be written");
    let mut exec = Command::new(LAB);
    exec.args(["exec", "--no-install", "--kernel", kernel, "--ns", "node", "--topology"])
        .arg(&file)
        .args(["--", "sh"])
        .arg(&script);
    let captured = ended_well(&exec.output().expect("it starts"));
    fs::write(&text, &captured).expect("it can be written");
    let imported = ended_well(&Command::new(LAB).arg("import").arg(&text).output().expect("it starts"));
    let [own, again] = [TOPOLOGY, &imported]
        .map(|toml| Topology::parse("t", "t", toml).unwrap_or_else(|errors| panic!("{errors}")));
    assert_eq!(own_side(&own), own_side(&again), "{captured}\n{imported}");
    assert_eq!(again.kernel.as_deref(), Some(kernel), "the release leads to its pin");
}
