//! Which plans may be carried out in one guest, one after another.
//!
//! Each plan has namespaces of its own. What is not in a namespace would be seen by the plans after it: hardware, devices that
//! only a machine has, limits and settings of the whole kernel, programs that leave files and processes. A plan with any of
//! that has a guest of its own. So has one that is run otherwise than the others: without the drop observer, which ends with
//! the first such plan.

use std::fmt;

use crate::net::link::{Link, LinkKind};
use crate::net::sysctl::SysctlName;
use crate::plan::op::{Broken, Op, Part, Undo};
use crate::plan::{Need, Plan};
use crate::topology::fault::Fault;

/// Most plans of one guest. Each leaves its namespaces, whose memory is given back with the guest.
pub const PLANS_MAX: usize = 16;

/// Most trials of the plans of one guest: as many as the agent keeps (`STANDING_MAX` of lab/guest), so that none has to be
/// taken down while a later one runs.
pub const TRIALS_MAX: usize = 40;

/// Settings that every namespace has of its own, on each kernel from 5.10 on (`devinet_init_net()`, `addrconf_init_net()`,
/// `ipv4_sysctl_init_net()`). Of others some are one for the machine on some kernels, such as `net.ipv4.route.gc_timeout` and
/// `net.ipv4.neigh.default.gc_thresh1`.
const OF_NAMESPACES: [&str; 2] = ["net.ipv4.conf.", "net.ipv6.conf."];
const OF_NAMESPACES_BY_NAME: [&str; 4] = [
    "net.ipv4.ip_forward",
    "net.ipv4.icmp_ratemask",
    "net.ipv4.icmp_ratelimit",
    "net.ipv4.fib_multipath_hash_policy",
];

/// Why a plan needs a guest of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnGuest {
    /// NICs are in the machine once, and are moved.
    Hardware,
    /// Processors, words of the kernel command line, parameters of modules.
    Machine,
    /// The run has no drop observer, or keeps frames.
    Options,
    /// Something that the kernel has once.
    Need(Need),
    /// A program leaves files or processes.
    Program(String),
    /// A setting that may be the whole kernel's.
    Sysctl(SysctlName),
    /// More trials than a guest keeps.
    Trials(usize),
}

impl fmt::Display for OwnGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hardware => f.write_str("it has emulated NICs"),
            Self::Machine => f.write_str("it asks for a machine of its own"),
            Self::Options => f.write_str("it is run without the drop observer, or keeps frames"),
            Self::Need(need) => write!(f, "it needs what a machine has once: {need}"),
            Self::Program(name) => {
                write!(f, "it runs the program {name}, which may leave files and processes")
            }
            Self::Sysctl(name) => write!(f, "it sets {name}, which may be a setting of the whole kernel"),
            Self::Trials(count) => write!(f, "it has {count} trials, and a guest keeps {TRIALS_MAX}"),
        }
    }
}

impl Plan {
    /// Why it may not share a guest with other plans that have the same machine, if it may not.
    #[must_use]
    pub fn needs_own_guest(&self) -> Option<OwnGuest> {
        let options = &self.options;
        if !self.slots.is_empty() {
            return Some(OwnGuest::Hardware);
        }
        if !self.machine.is_empty() {
            return Some(OwnGuest::Machine);
        }
        if options.unobserved || options.pcap {
            return Some(OwnGuest::Options);
        }
        if self.trials.len() > TRIALS_MAX {
            return Some(OwnGuest::Trials(self.trials.len()));
        }
        if let Some(need) = self.needs.iter().find(|need| is_once(need)) {
            return Some(OwnGuest::Need(need.clone()));
        }
        self.trials.iter().flat_map(|trial| &trial.ops).find_map(of_op)
    }
}

/// Whether a kernel has it once, for all namespaces; or it says something of the machine.
fn is_once(need: &Need) -> bool {
    match need {
        Need::Driver(_)
        | Need::Backlog
        | Need::Gadget
        | Need::Netdevsim { .. }
        | Need::Plugin(_)
        | Need::Processors(_)
        | Need::CommandLine(_)
        | Need::Parameter { .. }
        | Need::WithoutModule(_) => true,
        // Its equalizer is in the first namespace (teql_init()).
        Need::Qdisc(kind) => kind == "teql0",
        Need::Link(_)
        | Need::Classifier(_)
        | Need::Hook { .. }
        | Need::Masquerade
        | Need::TeamMode(_)
        | Need::Cipher
        | Need::Action(_)
        | Need::Tap { .. } => false,
        // Plans run one after the other, and each reads what is logged in its own time.
        Need::KernelLog => false,
    }
}

/// What an operation does to the machine.
fn of_op(op: &Op) -> Option<OwnGuest> {
    match op {
        Op::Sysctls { sysctls, .. } => {
            let other = sysctls.iter().find(|sysctl| !is_of_namespace(&sysctl.name));
            other.map(|sysctl| OwnGuest::Sysctl(sysctl.name.clone()))
        }
        Op::Plugin(call) => Some(OwnGuest::Program(call.plugin.clone())),
        Op::Attempt { ops, .. } => ops.iter().find_map(of_op),
        Op::Attach { parts, .. } => {
            parts.iter().find_map(|Part { ops, undo, .. }| ops.iter().chain(&undo.ops).find_map(of_op))
        }
        Op::Detach { undos, .. } => undos.iter().find_map(|Undo { ops, .. }| ops.iter().find_map(of_op)),
        Op::Inject { fault, .. }
        | Op::Clear { fault, .. }
        | Op::Flood { broken: Some(Broken { fault, .. }), .. } => of_fault(fault),
        Op::Create { link, peer } => {
            [Some(link), peer.as_ref()].into_iter().flatten().any(is_of_machine).then_some(OwnGuest::Hardware)
        }
        Op::Adopt { .. } | Op::AdoptVf { .. } | Op::SetVf { .. } => Some(OwnGuest::Hardware),
        // In a namespace, or of a device that is in one.
        Op::Namespace(_)
        | Op::SwitchPort(_)
        | Op::Join { .. }
        | Op::SetBond { .. }
        | Op::Up(_)
        | Op::TxQueueLen { .. }
        | Op::Offload { .. }
        | Op::Qdisc { .. }
        | Op::Addresses(_)
        | Op::Route { .. }
        | Op::Configure(_)
        | Op::Secure { .. }
        | Op::BridgePort { .. }
        | Op::BridgeVlans { .. }
        | Op::Forwarding { .. }
        | Op::Multicast { .. }
        | Op::Filter { .. }
        | Op::Rule { .. }
        | Op::Neighbour { .. }
        | Op::Ready { .. }
        | Op::Verify { .. }
        | Op::Count(_)
        | Op::Capture(_)
        | Op::Connect { .. }
        | Op::Flood { broken: None, .. }
        | Op::Wait { .. }
        | Op::Request(_)
        | Op::Show(_)
        | Op::Pause(_)
        | Op::Forward(_)
        | Op::Masquerade(_)
        | Op::Down(_)
        | Op::Leave(_)
        | Op::Address { .. }
        | Op::Move { .. }
        | Op::Delete(_)
        | Op::Serve(_)
        | Op::Lease(_)
        | Op::Release(_)
        | Op::Refuse(_)
        | Op::CheckPod { .. } => None,
    }
}

fn of_fault(fault: &Fault) -> Option<OwnGuest> {
    match fault {
        Fault::Backlog { .. } => Some(OwnGuest::Need(Need::Backlog)),
        Fault::Unplug { .. } => Some(OwnGuest::Hardware),
        Fault::Down { .. }
        | Fault::Release { .. }
        | Fault::Mtu { .. }
        | Fault::CarrierLost { .. }
        | Fault::Stall { .. }
        | Fault::Partner { .. }
        | Fault::Closed { .. }
        | Fault::Rcvbuf { .. }
        | Fault::Qdisc { .. }
        | Fault::Filter { .. }
        | Fault::Hold { .. } => None,
    }
}

fn is_of_machine(link: &Link) -> bool {
    matches!(
        link.kind,
        LinkKind::Nic(_)
            | LinkKind::Pf(_)
            | LinkKind::Vf { .. }
            | LinkKind::Netdevsim(_)
            | LinkKind::Gadget { .. }
            | LinkKind::GadgetHost { .. }
    )
}

fn is_of_namespace(name: &SysctlName) -> bool {
    let name = String::from(name.clone());
    OF_NAMESPACES_BY_NAME.contains(&name.as_str()) || OF_NAMESPACES.iter().any(|tree| name.starts_with(tree))
}

/// Plans by the guest they are carried out in: `members` are plans that may share one, each with its number of trials, in
/// their order. Guests are as few as [`PLANS_MAX`] and [`TRIALS_MAX`] allow, and at least `guests` where there are as many
/// plans, so that none of those that run at the same time has nothing to do.
#[must_use]
pub fn guests<T>(members: Vec<(T, usize)>, guests: usize) -> Vec<Vec<T>> {
    let most = members.len().div_ceil(guests.max(1)).clamp(1, PLANS_MAX);
    let mut all: Vec<Vec<T>> = Vec::new();
    let mut trials = 0;
    for (member, of_member) in members {
        match all.last_mut().filter(|last| last.len() < most && trials + of_member <= TRIALS_MAX) {
            Some(last) => {
                last.push(member);
                trials += of_member;
            }
            None => {
                all.push(vec![member]);
                trials = of_member;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunOptions;
    use crate::plan::lower::{lower, lower_with};
    use crate::topology::Topology;

    const PAIR: &str = "[ns.a.veth.p0]\npeer = \"b:p1\"\naddresses = [\"192.0.2.1/24\"]\n\
                        [ns.b.veth.p1]\npeer = \"a:p0\"\naddresses = [\"192.0.2.2/24\"]\n";

    fn topology(text: &str) -> Topology {
        Topology::parse("t", "t.toml", text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn reason(text: &str) -> Option<String> {
        lower(&topology(text)).needs_own_guest().map(|why| why.to_string())
    }

    #[rstest::rstest]
    #[case("", None)]
    #[case("[ns.a]\nsysctl = { \"net.ipv4.conf.all.rp_filter\" = 1, \"net.ipv4.icmp_ratemask\" = 0 }", None)]
    #[case(
        "[ns.a]\nsysctl = { \"net.ipv4.neigh.default.gc_thresh1\" = 1 }",
        Some("it sets net.ipv4.neigh.default.gc_thresh1, which may be a setting of the whole kernel")
    )]
    #[case("[fault.down.f]\ndevice = \"a:p0\"\n[[step]]\ninject = \"f\"", None)]
    #[case(
        "[fault.backlog.f]\ndevice = \"a:p0\"\nlimit = 1\n[[step]]\ninject = \"f\"",
        Some("it needs what a machine has once: net.core.netdev_max_backlog")
    )]
    #[case("[machine]\ncpus = 2", Some("it asks for a machine of its own"))]
    #[case("[ns.c.netdevsim.x]", Some("it needs what a machine has once: devices of netdevsim"))]
    #[case(
        "[ns.c.nic.x]\ndriver = \"igb\"\npeer = \"d:y\"\n[ns.d.nic.y]\ndriver = \"igb\"\npeer = \"c:x\"",
        Some("it has emulated NICs")
    )]
    fn what_is_not_in_a_namespace_needs_a_guest_of_its_own(
        #[case] more: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(reason(&format!("{PAIR}{more}\n")).as_deref(), expected);
    }

    #[test]
    fn guests_are_filled_and_none_is_idle() {
        let plans = |count: usize| (0..count).map(|plan| (plan, 1)).collect::<Vec<_>>();
        let sizes =
            |count, at_a_time| guests(plans(count), at_a_time).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(0, 2), [0_usize; 0]);
        assert_eq!(sizes(1, 2), [1]);
        assert_eq!(sizes(5, 2), [3, 2]);
        assert_eq!(sizes(40, 2), [16, 16, 8]);
        let heavy = guests(vec![("a", 20), ("b", 20), ("c", 1), ("d", TRIALS_MAX), ("e", 1)], 1);
        assert_eq!(heavy, [vec!["a", "b"], vec!["c"], vec!["d"], vec!["e"]]);
    }

    #[test]
    fn a_run_without_an_observer_has_its_own_guest() {
        let topology = topology(PAIR);
        for options in [
            RunOptions { unobserved: true, ..RunOptions::default() },
            RunOptions { pcap: true, ..RunOptions::default() },
        ] {
            assert_eq!(lower_with(&topology, &options).needs_own_guest(), Some(OwnGuest::Options));
        }
        let plan = lower(&topology).repeated(25);
        assert_eq!(plan.needs_own_guest(), None);
    }
}
