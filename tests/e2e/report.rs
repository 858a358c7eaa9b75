//! The report's causes, each with who counts what, looked up in the result by the literal names of its contract.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{KERNEL, lab_run, machine, pin};

/// Looks something up in the result.
type Check = fn(&Value);

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Check); 5] = [
        ("report: the port's queue is held (plug)", port_queue_held),
        ("report: the port's queue is full (pfifo)", port_queue_full),
        ("report: a filter on bond0's way out", filter_on_bond),
        ("report: a VLAN on the NIC while the filter on bond0 stands", vlan_on_nic),
        ("report: which explanation fits, and the rest of the contract", the_contract),
    ];
    let trial =
        |(name, test): (&str, Check)| machine::trial(name, pin(), move |_, _| test(lab_run::of_the_report()));
    tests.map(trial).into()
}

/// Each place in `value` (RFC 6901) holds what is claimed.
fn holds(value: &Value, claims: &[(&str, Value)]) {
    for (place, claimed) in claims {
        assert_eq!(value.pointer(place).unwrap_or(&Value::Null), claimed, "{place} in {value:#}");
    }
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    list.iter().find(|item| item["name"] == name).unwrap_or_else(|| panic!("no {name} in {list:#?}"))
}

fn trial_of<'a>(document: &'a Value, name: &str) -> &'a Value {
    named(&document["trials"], name)
}

/// The report's own numbers: 11 packets sent, everything else dropped on the VLAN device, nothing on the bond. What the
/// qdisc of the port counts is not to be seen in `ip -s link`.
fn port_queue_held(document: &Value) {
    holds(
        document,
        &[
            ("/flows/0/name", json!("flood")),
            ("/flows/0/from", json!("pod:net1")),
            ("/flows/0/socket", json!("ping")),
            ("/flows/0/asked", json!(1000)),
            ("/flows/0/sent", json!(11)),
            ("/flows/0/errors", json!({ "ENOBUFS": 989 })),
            ("/flows/0/delivered", json!(0)),
            ("/flows/0/duplicated", json!(0)),
            ("/flows/0/unattributed", json!(0)),
            ("/flows/0/fates/0/layer", json!("qdisc")),
            ("/flows/0/fates/0/device", json!("node:enp2s0")),
            ("/flows/0/fates/0/reason", json!("QDISC_DROP")),
            ("/flows/0/fates/0/frames", json!(989)),
            ("/flows/0/fates/1/layer", json!("qdisc")),
            ("/flows/0/fates/1/device", json!("node:enp2s0")),
            ("/flows/0/fates/1/reason", json!("BACKLOG")),
            ("/flows/0/fates/1/frames", json!(11)),
            ("/flows/0/fates/2", Value::Null),
            ("/devices/node:bond0.70/tx_packets", json!(11)),
            ("/devices/node:bond0.70/tx_dropped", json!(989)),
            ("/devices/node:bond0/tx_packets", json!(0)),
            ("/devices/node:bond0/tx_dropped", json!(0)),
            ("/devices/node:enp2s0/tx_packets", json!(0)),
            ("/devices/node:enp2s0/tx_dropped", json!(0)),
            ("/qdiscs/node:enp2s0/kind", json!("plug")),
            ("/qdiscs/node:enp2s0/packets", json!(0)),
            ("/qdiscs/node:enp2s0/drops", json!(989)),
            ("/qdiscs/node:enp2s0/requeues", json!(0)),
            ("/qdiscs/node:enp2s0/backlog_packets", json!(11)),
        ],
    );
}

/// As before, without a place in the queue.
fn port_queue_full(document: &Value) {
    let trial = trial_of(document, "port-queue-full");
    holds(
        trial,
        &[
            ("/devices/node:bond0.70/tx_packets", json!(0)),
            ("/devices/node:bond0.70/tx_dropped", json!(300)),
            ("/devices/node:enp2s0.70/tx_dropped", json!(50)),
            ("/devices/node:bond0/tx_dropped", json!(0)),
            ("/devices/node:enp2s0/tx_dropped", json!(0)),
            ("/qdiscs/node:enp2s0/kind", json!("pfifo")),
            ("/qdiscs/node:enp2s0/drops", json!(450)),
            ("/qdiscs/node:enp2s0/backlog_packets", json!(0)),
        ],
    );
    for (flow, asked, sent, errors) in [
        ("probe", 300, 0, json!({ "ENOBUFS": 300 })),
        ("vlan-on-nic", 50, 0, json!({ "ENOBUFS": 50 })),
        ("untagged", 50, 0, json!({ "ENOBUFS": 50 })),
    ] {
        holds(
            named(&trial["flows"], flow),
            &[
                ("/asked", json!(asked)),
                ("/sent", json!(sent)),
                ("/errors", errors),
                ("/delivered", json!(0)),
                ("/unattributed", json!(0)),
                ("/fates/0/layer", json!("qdisc")),
                ("/fates/0/device", json!("node:enp2s0")),
                ("/fates/0/reason", json!("QDISC_DROP")),
                ("/fates/0/frames", json!(asked)),
                ("/fates/1", Value::Null),
            ],
        );
    }
}

/// The hook counts every frame; of the devices only the VLAN above it does.
fn filter_on_bond(document: &Value) {
    let trial = trial_of(document, "filter-on-bond");
    holds(
        trial,
        &[
            ("/devices/node:bond0.70/tx_packets", json!(0)),
            ("/devices/node:bond0.70/tx_dropped", json!(300)),
            ("/devices/node:bond0/tx_dropped", json!(0)),
            ("/devices/node:enp2s0/tx_dropped", json!(0)),
            ("/qdiscs/node:bond0/drops", json!(0)),
            ("/qdiscs/node:enp2s0/drops", json!(0)),
            ("/hooks/node:bond0/kind", json!("clsact")),
            ("/hooks/node:bond0/drops", json!(300)),
        ],
    );
    holds(
        named(&trial["flows"], "probe"),
        &[
            ("/asked", json!(300)),
            ("/sent", json!(0)),
            ("/errors", json!({ "ENOBUFS": 300 })),
            ("/delivered", json!(0)),
            ("/unattributed", json!(0)),
            ("/fates/0/layer", json!("tc")),
            ("/fates/0/device", json!("node:bond0")),
            ("/fates/0/reason", json!("TC_EGRESS")),
            ("/fates/0/frames", json!(300)),
            ("/fates/1", Value::Null),
        ],
    );
}

/// Under the same filter, in the same run: the path that goes past bond0 delivers everything.
fn vlan_on_nic(document: &Value) {
    let trial = trial_of(document, "filter-on-bond");
    holds(
        named(&trial["flows"], "vlan-on-nic"),
        &[
            ("/from", json!("node:enp2s0.70")),
            ("/asked", json!(50)),
            ("/sent", json!(50)),
            ("/errors", json!({})),
            ("/delivered", json!(50)),
            ("/duplicated", json!(0)),
            ("/unattributed", json!(0)),
            ("/fates", json!([])),
        ],
    );
    holds(
        trial,
        &[
            ("/devices/node:enp2s0.70/tx_packets", json!(50)),
            ("/devices/node:enp2s0.70/tx_dropped", json!(0)),
            // And what bond0 sends untagged, and with a tag in the frame.
            ("/devices/node:enp2s0/tx_packets", json!(150)),
            ("/devices/gateway:eth0.70/rx_packets", json!(100)),
        ],
    );
}

fn the_contract(document: &Value) {
    holds(
        document,
        &[
            ("/topology", json!("vlan-over-bond-tx-drop")),
            ("/kernel/id", json!(KERNEL)),
            ("/kernel/backend", json!("vm")),
            ("/outcome", json!("pass")),
            ("/checks/0/name", json!("11 frames pass the VLAN device")),
            ("/checks/0/outcome", json!("pass")),
            ("/checks/0/expected", json!("11")),
            ("/checks/0/observed", json!("11")),
        ],
    );
    for text in ["/kernel/release", "/kernel/accelerator"] {
        assert!(document.pointer(text).is_some_and(Value::is_string), "{text}");
    }
    for time in ["start", "build", "run", "total"] {
        assert!(document["timing_ms"][time].is_u64(), "{time}");
    }
    let fits = |name: &str| &named(&document["hypotheses"], name)["fits"];
    for (name, fit) in [
        ("port-queue-held", false),
        ("port-queue-full", false),
        ("filter-on-nic", false),
        ("filter-on-bond", true),
    ] {
        assert_eq!(*fits(name), fit, "{name}");
    }
    let evidence = &named(&document["hypotheses"], "port-queue-full")["evidence"];
    assert_eq!(evidence[3]["item"], "a VLAN on the NIC works at the same time");
    assert_eq!(evidence[3]["fits"], false);
    let next_check = &document["separators"][0];
    assert!(next_check["command"].is_string(), "{next_check}");
    assert_ne!(next_check["answers"]["filter-on-bond"], next_check["answers"]["filter-on-bond-all"]);
    let with_queue = &named(&document["mitigations"], "fq_codel-on-bond")["under"]["filter-on-bond"];
    assert_eq!(with_queue["effect"], "changes-nothing", "{with_queue}");
}
