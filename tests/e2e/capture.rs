//! Topology, build, capture, import: what a kernel shows of a topology, by the script for machines without the lab.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use bondlab_core::topology::Topology;
use libtest_mimic::Trial;

use crate::machine::{self, LAB, trial, trial_with};
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

/// Of these BusyBox's `ip` and procfs show all.
const PLAIN: &str = r#"about = "as far as BusyBox shows it"
[ns.node.veth.enp1s0]
peer = "switch:p1"
mac = "02:aa:bb:00:00:01"
[ns.node.veth.enp2s0]
peer = "switch:p2"
mac = "02:aa:bb:00:00:02"
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 100
updelay = 200
primary = "enp1s0"
ports = ["enp1s0", "enp2s0"]
mtu = 1600
addresses = ["192.0.2.5/24", "2001:db8:1::5/64"]
[ns.node.vlan."bond0.70"]
parent = "bond0"
id = 70
mtu = 1400
addresses = ["10.70.0.5/24"]
[ns.node.vlan."bond0.9"]
parent = "bond0"
id = 9
mtu = 1500
[ns.node.bridge.br9]
ports = ["bond0.9"]
addresses = ["10.9.0.5/24"]
[[ns.node.routes]]
to = "default"
via = "192.0.2.1"
dev = "bond0"
[[ns.node.routes]]
to = "2001:db8:7::/48"
via = "2001:db8:1::1"
dev = "bond0"
metric = 1024
[[ns.node.rules]]
priority = 100
from = "10.70.0.0/24"
table = 100
[ns.switch.veth.p1]
peer = "node:enp1s0"
[ns.switch.veth.p2]
peer = "node:enp2s0"
"#;

const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];

/// The trials.
pub fn trials() -> Vec<Trial> {
    let pin = |kernel| machine::pins(kernel).remove(0);
    let of = |kernel| {
        trial(format!("capture/comes back/{kernel}"), pin(kernel), move |_, _| {
            comes_back(kernel, TOPOLOGY, None);
        })
    };
    let name = format!("capture/comes back by BusyBox/{}", KERNELS[1]);
    let has_busybox = |_: &machine::Bench| busybox().map(|_| ()).ok_or("busybox is not installed".to_owned());
    let by_busybox = trial_with(name, pin(KERNELS[1]), has_busybox, |_, _| {
        comes_back(KERNELS[1], PLAIN, busybox());
    });
    KERNELS.map(of).into_iter().chain([by_busybox]).collect()
}

fn busybox() -> Option<&'static str> {
    BUSYBOX.into_iter().find(|path| Path::new(path).exists())
}

fn ended_well(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// By the shell and the `ip` of this machine, or by BusyBox's alone.
fn comes_back(kernel: &str, topology: &str, busybox: Option<&str>) {
    let folder = tempfile::tempdir().expect("there is room");
    let [file, script, text] = ["t.toml", "capture.sh", "capture.txt"].map(|name| folder.path().join(name));
    fs::write(&file, topology).expect("it can be written");
    let printed = Command::new(LAB).args(["capture", "--script"]).output().expect("it starts");
    fs::write(&script, ended_well(&printed)).expect("it can be written");
    let mut exec = Command::new(LAB);
    exec.args(["exec", "--no-install", "--kernel", kernel, "--ns", "node", "--topology"])
        .arg(&file)
        .arg("--");
    match busybox {
        None => exec.arg("sh").arg(&script),
        Some(busybox) => {
            let programs = folder.path().join("bin");
            fs::create_dir(&programs).expect("it is new");
            for program in ["ip", "cat"] {
                symlink(busybox, programs.join(program)).expect("it is new");
            }
            // Its shell would take its own programs without a look at PATH; both lead to BusyBox.
            exec.args([busybox, "env", "-i"]).arg(format!("PATH={}", programs.display()));
            exec.args([busybox, "sh"]).arg(&script)
        }
    };
    let captured = ended_well(&exec.output().expect("it starts"));
    fs::write(&text, &captured).expect("it can be written");
    let imported = ended_well(&Command::new(LAB).arg("import").arg(&text).output().expect("it starts"));
    let [own, again] = [topology, &imported]
        .map(|toml| Topology::parse("t", "t", toml).unwrap_or_else(|errors| panic!("{errors}")));
    assert_eq!(own_side(&own), own_side(&again), "{captured}\n{imported}");
    assert_eq!(again.kernel.as_deref(), Some(kernel), "the release leads to its pin");
}
