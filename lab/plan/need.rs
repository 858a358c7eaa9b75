//! What a plan needs of the kernel, and the modules that provide it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::scenario::{Contrary, Fault, Qdisc};
use crate::topology::{LinkKind, Topology};

/// A feature of the kernel under test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A kind of link.
    Link(String),
    /// A kind of queueing discipline.
    Qdisc(String),
    /// A traffic control classifier.
    Classifier(String),
    /// The driver of an emulated NIC.
    Driver(String),
}

impl Need {
    /// The modules that provide it, where it is not built in; names as `modprobe` takes them.
    pub fn modules(&self) -> Vec<String> {
        match self {
            Self::Link(kind) => match kind.as_str() {
                "bond" => vec!["bonding".into()],
                "vlan" => vec!["8021q".into()],
                other => vec![other.into()],
            },
            Self::Qdisc(kind) => match kind.as_str() {
                // Built into every kernel with CONFIG_NET_SCHED (net/sched/sch_fifo.c, sch_generic.c).
                "pfifo" | "bfifo" | "pfifo_head_drop" | "pfifo_fast" | "noqueue" => Vec::new(),
                "clsact" => vec!["sch_ingress".into()],
                other => vec![format!("sch_{other}")],
            },
            Self::Classifier(kind) => vec![format!("cls_{kind}"), "act_gact".into()],
            Self::Driver(module) => vec![module.clone()],
        }
    }
}

/// What a topology needs, each once.
pub fn needs(topology: &Topology) -> Vec<Need> {
    let mut needs = BTreeSet::new();
    let qdiscs = |root: &Qdisc| -> Vec<Need> {
        let both = [Some(root), root.child()].into_iter().flatten();
        both.map(|qdisc| Need::Qdisc(qdisc.kind().into())).collect()
    };
    for link in topology.links.values() {
        match &link.kind {
            LinkKind::Nic(nic) => {
                needs.insert(Need::Driver(nic.driver.word().into()));
            }
            LinkKind::Pf(nic) => {
                needs.insert(Need::Driver(nic.driver.word().into()));
                needs.insert(Need::Driver("igbvf".into()));
            }
            LinkKind::Vf { .. } => {}
            other => {
                needs.insert(Need::Link(other.word().into()));
            }
        }
        needs.extend(link.qdisc.iter().flat_map(qdiscs));
    }
    let attached = topology.attachments.devices.values().filter(|link| !link.kind.is_hardware());
    needs.extend(attached.map(|link| Need::Link(link.kind.word().into())));
    let contrary = topology.scenario.contraries.iter().filter_map(Contrary::fault);
    for fault in topology.scenario.faults.values().chain(contrary) {
        match fault {
            Fault::Qdisc { qdisc, .. } => needs.extend(qdiscs(qdisc)),
            Fault::Filter { vlan, .. } => {
                needs.insert(Need::Qdisc("clsact".into()));
                let classifier = if vlan.is_some() { "flower" } else { "matchall" };
                needs.insert(Need::Classifier(classifier.into()));
            }
            Fault::Down { .. }
            | Fault::Release { .. }
            | Fault::Mtu { .. }
            | Fault::Hold { .. }
            | Fault::Unplug { .. } => {}
        }
    }
    needs.into_iter().collect()
}
