//! Scripts of fixed topologies, and names that a shell would take for more than names.

use crate::judge::outcome::Outcome;
use crate::plan::lower::lower;
use crate::report::document::{Document, KernelDocument, Timing};
use crate::report::reproducer::{Reproducer, render};
use crate::topology::Topology;

const BOND: &str = r#"
[ns.node.veth.p0]
peer = "switch:s0"
[ns.node.bond.bond0]
mode = "active-backup"
miimon = 100
primary = "p0"
ports = ["p0"]
addresses = ["192.0.2.1/24"]
[ns.pod.ipvlan.net1]
parent = "node:bond0"
mode = "l2"
[ns.switch.veth.s0]
peer = "node:p0"
addresses = ["192.0.2.2/24"]
[fault.qdisc.shaped]
device = "node:p0"
qdisc = { kind = "tbf", rate = 8000, burst = 2000, limit = 3000, child = { kind = "pfifo", limit = 1 } }
[fault.filter.vlan]
device = "node:bond0"
hook = "egress"
vlan = 70
[fault.hold.held]
device = "switch:s0"
[flow.f]
from = "node:bond0"
to = "switch:s0"
frames = 10
[[step]]
inject = "shaped"
[[step]]
inject = "vlan"
[[step]]
inject = "held"
[[step]]
flood = "f"
"#;

fn script(text: &str) -> Reproducer {
    let topology = Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let kernel = KernelDocument {
        id: "6.1".into(),
        release: "6.1.0".into(),
        backend: "vm".into(),
        accelerator: "tcg".into(),
        clock: "real".into(),
    };
    let document = Document::unfinished("t", kernel, Outcome::Pass, String::new(), Timing::default());
    render(&lower(&topology), &document).expect("a trial")
}

#[test]
fn operations_become_commands() {
    let Reproducer { text, missing } = script(BOND);
    for line in [
        "new_namespace node",
        "ip -n node link set p0 master bond0",
        "ip -n node link add link bond0 name on-its-way",
        "ip -n pod link set on-its-way name net1",
        "ip -n node address add 192.0.2.1/24 dev bond0",
        "tc -n node qdisc replace dev p0 root handle 1: tbf rate 8000bit burst 2000b limit 3000b",
        "tc -n node qdisc replace dev p0 parent 1:1 handle 2: pfifo limit 1",
        "tc -n node filter add dev bond0 egress protocol 802.1Q pref 72 flower vlan_id 70 action drop",
        "count_before",
        "flood node f packet bond0 192.0.2.1 192.0.2.2 \"$(address_of switch s0)\" 0 ",
    ] {
        assert!(text.lines().any(|own| own.starts_with(line)), "{line}: {text}");
    }
    assert!(text.contains(" type bond mode active-backup miimon 100 primary p0\n"), "{text}");
    assert_eq!(
        missing,
        ["inject held", "clear held"]
            .map(|what| format!("{what}: no command stops the receiving end of a veth"))
    );
    assert!(
        text.contains("\n# NOT DONE: inject held:") && text.contains("\nnot_done 'inject held:"),
        "{text}"
    );
}

/// Each line after the head is one command, and each name one word of it.
#[test]
fn names_are_words_and_nothing_else() {
    let hostile = BOND.replace("p0", "$(reboot);'`&|");
    let text =
        script(&hostile.replace("[ns.node.veth.$(reboot);'`&|]", "[ns.node.veth.\"$(reboot);'`&|\"]")).text;
    let body = text.split_once("\nsettings=").expect("a head").1;
    let word = "'$(reboot);'\\''`&|'";
    assert!(body.contains(&format!("link set {word} master bond0")), "{body}");
    assert_eq!(body.replace(word, "").matches("reboot").count(), 0, "{body}");
}
