//! What a plan needs of the kernel, and the modules that provide it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::net::link::LinkKind;
use crate::net::machine::Machine;
use crate::net::qdisc::Qdisc;
use crate::plan::shown;
use crate::topology::Topology;
use crate::topology::fault::{Fault, FilterKind, Hook};
use crate::topology::mitigation::Change;

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
    /// A hook that no queueing discipline provides.
    Hook {
        /// tcx, nft, or a kind of XDP.
        kind: FilterKind,
        /// Which way.
        hook: Hook,
    },
    /// Source NAT by nftables.
    Masquerade,
    /// A mode of teams.
    TeamMode(String),
    /// The cipher of MACsec, gcm(aes).
    Cipher,
    /// An action of traffic control.
    Action(String),
    /// The limit of the queue between devices and processors, which no namespace has.
    Backlog,
    /// A USB pair: a gadget and its host in one machine.
    Gadget,
    /// A tap, with IFF_BACKPRESSURE or without.
    Tap {
        /// Whether with it.
        backpressure: bool,
    },
    /// Devices of netdevsim, which Debian does not build.
    Netdevsim {
        /// Whether two of them are linked as a cable.
        linked: bool,
    },
    /// A CNI plugin's own program, put into the machine.
    Plugin(String),
    /// So many processors.
    Processors(u8),
    /// A word of the kernel command line.
    CommandLine(String),
    /// A module's parameter as the kernel shows it.
    Parameter {
        /// The module.
        module: String,
        /// The parameter.
        name: String,
        /// Its value.
        value: String,
    },
    /// That a module is not there.
    WithoutModule(String),
    /// A log of the kernel in which no other process of the machine has a part.
    KernelLog,
}

impl Need {
    /// The modules that provide it, where it is not built in; names as `modprobe` takes them.
    pub fn modules(&self) -> Vec<String> {
        match self {
            Self::Link(kind) => match kind.as_str() {
                "bond" => vec!["bonding".into()],
                "vlan" => vec!["8021q".into()],
                "gre" | "gretap" => vec!["ip_gre".into()],
                other => vec![other.into()],
            },
            Self::Qdisc(kind) => match kind.as_str() {
                // Built into every kernel with CONFIG_NET_SCHED (net/sched/sch_fifo.c, sch_generic.c).
                "pfifo" | "bfifo" | "pfifo_head_drop" | "pfifo_fast" | "noqueue" => Vec::new(),
                "clsact" => vec!["sch_ingress".into()],
                "teql0" => vec!["sch_teql".into()],
                // Built into every kernel with CONFIG_NET_SCHED (net/sched/sch_mq.c).
                "mq" => Vec::new(),
                other => vec![format!("sch_{other}")],
            },
            Self::Classifier(kind) => vec![format!("cls_{kind}"), "act_gact".into()],
            Self::Driver(module) => vec![module.clone()],
            Self::Hook { kind: FilterKind::Nft | FilterKind::NftInput, .. } => vec!["nf_tables".into()],
            Self::Hook { .. } | Self::Backlog => Vec::new(),
            // The kernel asks for a mode's module by name (team_mode_get()), and for a cipher's: no dependency tells.
            Self::TeamMode(mode) => vec!["team".into(), format!("team_mode_{mode}")],
            Self::Action(kind) => vec![format!("act_{kind}")],
            Self::Cipher => ["gcm", "ctr", "ghash_generic", "aes_generic", "aes"].map(String::from).into(),
            // Chain types and expressions are asked for by name (nft_request_module()): no dependency tells.
            Self::Masquerade => ["nf_tables", "nft_chain_nat", "nft_masq"].map(String::from).into(),
            // g_ether asks for its functions by name (usb_get_function_instance()): no dependency tells.
            Self::Gadget => {
                let names =
                    ["dummy_hcd", "cdc_ether", "usb_f_ecm", "usb_f_ecm_subset", "usb_f_rndis", "g_ether"];
                names.map(String::from).into()
            }
            Self::Tap { .. } => vec!["tun".into()],
            Self::Netdevsim { .. } => vec!["netdevsim".into()],
            Self::Parameter { module, .. } => vec![module.clone()],
            Self::Plugin(_)
            | Self::Processors(_)
            | Self::CommandLine(_)
            | Self::WithoutModule(_)
            | Self::KernelLog => Vec::new(),
        }
    }

    /// What would bring it, for whoever builds or loads it.
    pub fn provider(&self) -> String {
        let option = match self {
            Self::Link(kind) => match kind.as_str() {
                "bond" => "CONFIG_BONDING".into(),
                "vlan" => "CONFIG_VLAN_8021Q".into(),
                "vrf" => "CONFIG_NET_VRF".into(),
                "team" => "CONFIG_NET_TEAM".into(),
                "gre" | "gretap" => "CONFIG_NET_IPGRE".into(),
                other => format!("CONFIG_{}", other.to_uppercase()),
            },
            Self::Qdisc(kind) => match kind.as_str() {
                "pfifo" | "bfifo" | "pfifo_head_drop" | "pfifo_fast" | "noqueue" => "CONFIG_NET_SCHED".into(),
                "clsact" => "CONFIG_NET_SCH_INGRESS".into(),
                "teql0" => "CONFIG_NET_SCH_TEQL".into(),
                "mq" => "CONFIG_NET_SCHED".into(),
                other => format!("CONFIG_NET_SCH_{}", other.to_uppercase()),
            },
            Self::Classifier(kind) => {
                format!("CONFIG_NET_CLS_{}, CONFIG_NET_ACT_GACT", kind.to_uppercase())
            }
            Self::Hook { kind: FilterKind::Nft, .. } => {
                "CONFIG_NF_TABLES_NETDEV and owned tables of Linux 5.12; on the way out CONFIG_NETFILTER_EGRESS"
                    .into()
            }
            Self::Hook { kind: FilterKind::NftInput, .. } => {
                "CONFIG_NF_TABLES_IPV4 and owned tables of Linux 5.12".into()
            }
            Self::TeamMode(mode) => format!("CONFIG_NET_TEAM_MODE_{}", mode.to_uppercase()),
            Self::Action(kind) => format!("CONFIG_NET_ACT_{}", kind.to_uppercase()),
            Self::Cipher => "CONFIG_CRYPTO_GCM, CONFIG_CRYPTO_AES".into(),
            Self::Masquerade => "CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ".into(),
            Self::Hook { kind: FilterKind::Xdp | FilterKind::XdpGeneric, .. } => {
                "CONFIG_BPF_SYSCALL, and root in the initial user namespace".into()
            }
            Self::Hook { .. } => "Linux 6.6, CONFIG_NET_XGRESS".into(),
            Self::Backlog => "a limit of the whole machine: run it in one of the lab's own, not --kernel host".into(),
            Self::Gadget => "CONFIG_USB_DUMMY_HCD and CONFIG_USB_ETH, as in Debian's generic flavour".into(),
            Self::Tap { backpressure: false } => "CONFIG_TUN".into(),
            Self::Tap { backpressure: true } => "CONFIG_TUN, IFF_BACKPRESSURE of Linux 7.3".into(),
            Self::Driver(module) => format!("CONFIG_{}", module.to_uppercase()),
            Self::Netdevsim { .. } => "CONFIG_NETDEVSIM".into(),
            Self::Plugin(name) => name.clone(),
            Self::Processors(_) | Self::CommandLine(_) | Self::WithoutModule(_) | Self::KernelLog => {
                return "a machine of the lab's own, not --kernel host".into();
            }
            Self::Parameter { module, .. } => {
                return format!("module {module} with that parameter, in a machine of the lab's own");
            }
        };
        match self.modules().as_slice() {
            [] => option,
            [module] => format!("{option}, module {module}"),
            modules => format!("{option}, modules {}", modules.join(", ")),
        }
    }

    /// The module without which a kernel cannot have it, whatever else is built in.
    pub fn driver_module(&self) -> Option<&str> {
        match self {
            Self::Driver(module) => Some(module),
            Self::Gadget => Some("dummy_hcd"),
            Self::Netdevsim { .. } => Some("netdevsim"),
            _ => None,
        }
    }
}

/// Whether a topology needs drivers that a kernel built for virtual machines lacks.
pub fn needs_drivers(topology: &Topology) -> bool {
    needs(topology, &[]).iter().any(|need| matches!(need, Need::Gadget | Need::Driver(_)))
}

/// Whether a topology needs a module that is built from the kernel's source.
pub fn needs_netdevsim(topology: &Topology) -> bool {
    needs(topology, &[]).iter().any(|need| matches!(need, Need::Netdevsim { .. }))
}

/// What a topology needs, and the faults that mutants of its run add, each once.
pub fn needs(topology: &Topology, of_mutants: &[Fault]) -> Vec<Need> {
    let mut needs = BTreeSet::new();
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
            LinkKind::Netdevsim(sim) => {
                needs.insert(Need::Netdevsim { linked: sim.peer.is_some() });
            }
            LinkKind::Gadget { .. } | LinkKind::GadgetHost { .. } => {
                needs.insert(Need::Gadget);
            }
            LinkKind::Tun(tun) => {
                needs.insert(Need::Tap { backpressure: tun.backpressure });
            }
            other => {
                needs.insert(Need::Link(other.word().into()));
            }
        }
        for filter in &link.extras.filters {
            needs.insert(Need::Qdisc("clsact".into()));
            needs.insert(Need::Classifier(filter.classifier().into()));
            needs.insert(Need::Action(filter.action.kind().into()));
        }
        needs.extend(link.extras.team.iter().map(|team| Need::TeamMode(team.mode.word().into())));
        needs.extend(link.extras.macsec.iter().map(|_| Need::Cipher));
        needs.extend(link.qdisc.iter().flat_map(qdiscs));
    }
    if topology
        .substitutions
        .iter()
        .flat_map(|substitution| &substitution.ports)
        .any(|port| port.source.is_some())
    {
        needs.insert(Need::Qdisc("clsact".into()));
        needs.extend(["flower", "matchall"].map(|kind| Need::Classifier(kind.into())));
    }
    if topology.namespaces.values().any(|tables| !tables.masquerade.is_empty()) {
        needs.insert(Need::Masquerade);
    }
    needs.extend(of_machine(&topology.machine));
    needs.extend(shown::asks_for_log(topology).then_some(Need::KernelLog));
    needs.extend(topology.attachments.plugins().into_iter().map(Need::Plugin));
    for change in topology.scenario.mitigations.iter().flat_map(|mitigation| &mitigation.steps) {
        if let Change::Qdisc { qdisc, .. } = change {
            needs.extend(qdiscs(qdisc));
        }
    }
    let attached = topology.attachments.devices.values().filter(|link| !link.kind.is_hardware());
    needs.extend(attached.map(|link| Need::Link(link.kind.word().into())));
    for fault in topology.scenario.faults.values().chain(of_mutants) {
        needs.extend(of_fault(fault));
    }
    needs.extend(topology.alternatives.values().flat_map(|alternative| self::needs(alternative, &[])));
    needs.into_iter().collect()
}

fn of_machine(machine: &Machine) -> Vec<Need> {
    let mut needs: Vec<Need> = machine.cpus.map(Need::Processors).into_iter().collect();
    needs.extend(machine.cmdline.iter().map(|word| Need::CommandLine(word.to_string())));
    for (module, parameters) in &machine.modules {
        needs.extend(parameters.iter().map(|(name, value)| Need::Parameter {
            module: module.to_string(),
            name: name.to_string(),
            value: value.to_string(),
        }));
    }
    needs.extend(machine.without_modules.iter().map(|module| Need::WithoutModule(module.to_string())));
    needs
}

fn qdiscs(root: &Qdisc) -> Vec<Need> {
    let inside = root.children().into_iter().map(|(_, child)| child);
    [root].into_iter().chain(inside).map(|qdisc| Need::Qdisc(qdisc.kind().into())).collect()
}

fn of_fault(fault: &Fault) -> Vec<Need> {
    match fault {
        Fault::Qdisc { qdisc, .. } => qdiscs(qdisc),
        Fault::Filter { vlan, kind: FilterKind::Clsact, .. } => {
            let classifier = if vlan.is_some() { "flower" } else { "matchall" };
            vec![Need::Qdisc("clsact".into()), Need::Classifier(classifier.into())]
        }
        Fault::Filter { hook, kind, .. } => vec![Need::Hook { kind: *kind, hook: *hook }],
        // An end is held by an XDP program.
        Fault::Hold { .. } => vec![Need::Hook { kind: FilterKind::Xdp, hook: Hook::Ingress }],
        Fault::Backlog { .. } => vec![Need::Backlog],
        // All others are there on each kernel.
        _ => Vec::new(),
    }
}
