//! What a run is worth that is not as expected: exit code 1, and the number that differs.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{KERNEL, gallery, lab_run, machine, pin};

/// Two devices and a cable, on which nothing is lost.
const CABLE: &str = r#"
[ns.node.veth.enp2s0]
peer = "gateway:eth0"
[ns.gateway.veth.eth0]
peer = "node:enp2s0"
addresses = ["192.0.2.1/24"]
[flow.flood]
from = "node:enp2s0"
to = "gateway:eth0"
frames = 10
[[step]]
flood = "flood"
"#;

pub fn trials() -> Vec<Trial> {
    vec![
        machine::trial("verdicts: an expectation that does not hold is a failure", pin(), |_, _| {
            wrong_expectation()
        }),
        machine::trial("verdicts: an operation the kernel refuses is a failure", pin(), |_, _| {
            refused_operation()
        }),
        machine::trial("verdicts: what was refused as expected excuses no later failure", pin(), |_, _| {
            refused_behind_an_unknown_word()
        }),
    ]
}

fn run(text: &str) -> (i32, Value) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("cable.toml");
    std::fs::write(&path, text).expect("a temporary file");
    lab_run::run(&path, KERNEL)
}

fn wrong_expectation() {
    let expect =
        |lost: u32| format!("{CABLE}[[expect]]\nflow = \"flood\"\nfield = \"lost\"\nequals = {lost}\n");
    let (code, document) = run(&expect(0));
    assert_eq!((code, &document["outcome"]), (0, &json!("pass")), "{document:#}");
    let (code, document) = run(&expect(1));
    assert_eq!((code, &document["outcome"]), (1, &json!("fail")), "{document:#}");
    let check = &document["checks"][0];
    assert_eq!((&check["expected"], &check["observed"]), (&json!("1"), &json!("0")), "{document:#}");
    gallery::ledger_closes(&document);
}

/// A VLAN cannot be wider than what it stands on (vlan_newlink(), net/8021q/vlan_netlink.c).
fn refused_operation() {
    let vlan = "[ns.node.vlan.\"enp2s0.7\"]\nparent = \"enp2s0\"\nid = 7\nmtu = 9000\n";
    let (code, document) = run(&format!("{vlan}{CABLE}"));
    assert_eq!((code, &document["outcome"]), (1, &json!("fail")), "{document:#}");
    let refused = document["trials"][0]["refused"].as_str().expect("what was refused");
    assert!(refused.contains("enp2s0.7") && refused.contains("EINVAL"), "{refused}");
}

/// The kernel does not know the word of the first step (before 6.18), which is what the topology expects; that the second has no way
/// to its next hop is a failure.
fn refused_behind_an_unknown_word() {
    let steps = r#"
[ns.node.bond.bond0]
mode = "802.3ad"
up = false
[[step]]
set = "node:bond0"
bond = { ad_select = "actor_port_prio" }
refused = "EINVAL"
[[step]]
in = "node"
add_route = { to = "198.51.100.0/24", via = "203.0.113.1" }
"#;
    let (code, document) = run(&format!("{steps}{CABLE}"));
    assert_eq!((code, &document["outcome"]), (1, &json!("fail")), "{document:#}");
    let refused = document["trials"][0]["refused"].as_str().expect("what was refused");
    assert!(refused.contains("198.51.100.0/24"), "{refused}");
}
