//! Counters that the kernel's own frames have moved: by how much, or that this is not known.
//!
//! A kernel sends MLD and ND reports, ARP requests and LACPDUs when it likes to. One that dies in a queue moves the same
//! counters as a frame of the lab. Its drop event says where it died and by which functions it came there:
//! - a queue that refuses it counts `drops`, and whoever sent it down learns so: each VLAN, macvlan and ipvlan on its way
//!   counts `tx_dropped` (`vlan_dev_hard_start_xmit()`); fq_codel and `noop` say NET_XMIT_CN, which these count as sent;
//! - the `noop` of a device without carrier counts `tx_dropped` of the device, on kernels that count it at all (6.11,
//!   "net: count drops due to missing qdisc as dev->tx_drops"): which ones do is read from the counters themselves;
//! - a filter on the way out counts at clsact, and those above get it like a refusal;
//! - what is purged with its queue moves nothing: it was counted as sent;
//! - a bond adds its ports' counters to its own (`bond_get_stats()`).
//!
//! All else may have moved something or not. Then the lab's own frames decide: where none of them can have moved the
//! counter, the whole of it is the kernel's.

use std::collections::BTreeMap;

use crate::judge::account::TrialAccount;
use crate::judge::ledger::ingress;
use crate::judge::ledger::place::is_purge;
use crate::net::frame_class::FrameClass;
use crate::net::layer::Layer;
use crate::net::name::DeviceRef;
use crate::plan::Trial;
use crate::plan::op::Op;
use crate::plan::record::{DropPlace, Record};

/// Frames that the kernel sent of its own, lost at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What they are, if the lab knows them.
    pub class: Option<FrameClass>,
    /// The VLAN they were in.
    pub vlan: Option<u16>,
    /// Which part of the stack, if the lab knows the place.
    pub layer: Option<Layer>,
    /// Where.
    pub place: DropPlace,
    /// How many.
    pub frames: u32,
}

/// Whose counter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// The device's own.
    Device,
    /// Its root queueing discipline's.
    Qdisc,
    /// Its clsact's.
    Clsact,
}

impl Of {
    /// The word used in results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Qdisc => "qdisc",
            Self::Clsact => "clsact",
        }
    }
}

/// One counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter {
    /// On this device.
    pub device: DeviceRef,
    /// Whose.
    pub of: Of,
    /// By name.
    pub name: &'static str,
}

/// By how much the kernel's own frames moved each counter; `None` where it is not known.
pub type Moved = BTreeMap<Counter, Option<u64>>;

/// Counters that a lost frame can move.
const LOSSES: [&str; 4] = ["rx_dropped", "tx_dropped", "rx_errors", "tx_errors"];
/// `drops` of a queueing discipline or of clsact.
const DROPS: &str = "drops";
/// As many functions as a drop event tells of (`STACK_FUNCTIONS_MAX` of the drop observer).
const STACK_FUNCTIONS_MAX: usize = 12;

/// Disciplines that say NET_XMIT_DROP of a frame that they do not take.
const REFUSING: [&str; 6] = ["pfifo", "bfifo", "pfifo_fast", "plug", "fq", "codel"];
/// Disciplines that say NET_XMIT_CN at the most.
const SILENT: [&str; 4] = ["noop", "fq_codel", "pfifo_head_drop", "sfq"];
/// Beyond these no caller learns what became of a frame: `sch_direct_xmit()` keeps a driver's word to itself, a softirq is
/// on the stack of whoever it interrupted, and a bridge does not ask.
const UNTOLD: [&str; 9] = [
    "sch_direct_xmit",
    "__qdisc_run",
    "qdisc_run",
    "net_tx_action",
    "net_rx_action",
    "__do_softirq",
    "handle_softirqs",
    "br_",
    "veth_xmit",
];
/// How a kind of stacked device sends a frame down.
const STACKED: [(&str, &str); 3] = [
    ("vlan_dev_hard_start_xmit", "vlan"),
    ("macvlan_start_xmit", "macvlan"),
    ("ipvlan_start_xmit", "ipvlan"),
];

/// What frames may have moved, between the least and the most.
#[derive(Debug, Default)]
struct Effects {
    certain: BTreeMap<Counter, u64>,
    perhaps: BTreeMap<Counter, u64>,
    /// Dropped by a `noop`, by device: `tx_dropped`, where the kernel counts that.
    noop: BTreeMap<DeviceRef, u64>,
}

/// How sure it is that a frame moved a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sure {
    Certain,
    Perhaps,
}

/// What the kernel's own frames moved of the counters of a trial. Those that did not move at all are not in it.
pub fn moved(trial: &Trial, account: &TrialAccount, records: &[&Record]) -> Moved {
    let stack = Stack::of(trial, account);
    let (mut foreign, mut own) = (Effects::default(), Effects::default());
    for record in records {
        match record {
            Record::DroppedForeign { count, class, place, .. } if is_kernels(*class) => {
                stack.add(place, (*count).into(), &mut foreign);
            }
            Record::DroppedForeign { count, place, .. } => stack.add(place, (*count).into(), &mut own),
            Record::Dropped { frames, place, .. } => stack.add(place, frames.len().into(), &mut own),
            _ => {}
        }
    }
    settle_noop(account, &mut foreign, &mut own);
    let mut all = Moved::new();
    for counter in foreign.certain.keys().chain(foreign.perhaps.keys()) {
        let Some(delta) = value(account, counter).filter(|delta| *delta > 0) else { continue };
        all.insert(counter.clone(), share(delta, range(&foreign, counter), range(&own, counter)));
    }
    all.retain(|_, by| *by != Some(0));
    all
}

/// Whether frames of a class are sent when the kernel likes to; the others answer the lab's, or are parts of them.
fn is_kernels(class: Option<FrameClass>) -> bool {
    use FrameClass::{Dhcp, Fragment, Icmp, Tcp};
    !matches!(class, Some(Dhcp | Fragment | Icmp | Tcp))
}

/// The least and the most that frames moved a counter.
fn range(effects: &Effects, counter: &Counter) -> (u64, u64) {
    let certain = effects.certain.get(counter).copied().unwrap_or(0);
    (certain, certain + effects.perhaps.get(counter).copied().unwrap_or(0))
}

/// The kernel's share of what a counter moved, where only one is possible.
fn share(delta: u64, kernel: (u64, u64), own: (u64, u64)) -> Option<u64> {
    if own.0 == own.1 {
        let rest = delta.checked_sub(own.0).filter(|rest| (kernel.0..=kernel.1).contains(rest));
        if rest.is_some() {
            return rest;
        }
    }
    (kernel.0 == kernel.1 && kernel.0 <= delta).then_some(kernel.0)
}

fn value(account: &TrialAccount, counter: &Counter) -> Option<u64> {
    let counters = match counter.of {
        Of::Device => account.devices.get(&counter.device)?,
        Of::Qdisc => &account.qdiscs.get(&counter.device)?.counters,
        Of::Clsact => &account.hooks.get(&counter.device)?.counters,
    };
    counters.get(counter.name).copied()
}

/// Whether this kernel counts what a `noop` drops is the same for all devices: one tells of the others.
fn settle_noop(account: &TrialAccount, foreign: &mut Effects, own: &mut Effects) {
    let count = |effects: &Effects, device: &DeviceRef| effects.noop.get(device).copied().unwrap_or(0);
    let mut counted = None;
    for device in foreign.noop.keys().chain(own.noop.keys()) {
        let counter = device_counter(device, "tx_dropped");
        let Some(delta) = value(account, &counter) else { continue };
        let (least, most) = (range(foreign, &counter), range(own, &counter));
        let all = count(foreign, device) + count(own, device);
        if delta < all {
            counted = Some(false);
            break;
        }
        if delta == all && least.1 + most.1 == 0 {
            counted = Some(true);
        }
    }
    for effects in [foreign, own] {
        let into = match counted {
            Some(false) => continue,
            Some(true) => &mut effects.certain,
            None => &mut effects.perhaps,
        };
        for (device, frames) in std::mem::take(&mut effects.noop) {
            *into.entry(device_counter(&device, "tx_dropped")).or_default() += frames;
        }
    }
}

fn device_counter(device: &DeviceRef, name: &'static str) -> Counter {
    Counter { device: device.clone(), of: Of::Device, name }
}

/// Which device stands on which.
struct Stack<'a> {
    account: &'a TrialAccount,
    /// The device below each VLAN, macvlan and ipvlan, as far as it is known.
    parents: BTreeMap<DeviceRef, DeviceRef>,
    /// The other end of each cable.
    peers: BTreeMap<DeviceRef, DeviceRef>,
}

impl<'a> Stack<'a> {
    fn of(trial: &Trial, account: &'a TrialAccount) -> Self {
        let (mut parents, mut peers) = (BTreeMap::new(), BTreeMap::new());
        for (device, link) in &account.links {
            if let Some(lower) = &link.lower {
                parents.insert(device.clone(), DeviceRef { ns: device.ns.clone(), name: lower.clone() });
            }
        }
        for op in &trial.ops {
            let Op::Create { link, peer } = op else { continue };
            if let Some(parent) = link.kind.parent() {
                parents.insert(link.device.clone(), parent.clone());
            }
            if let Some(peer) = peer {
                peers.insert(link.device.clone(), peer.device.clone());
                peers.insert(peer.device.clone(), link.device.clone());
            }
        }
        Self { account, parents, peers }
    }

    fn kind(&self, device: &DeviceRef) -> &str {
        self.account.links.get(device).map_or("", |link| link.kind.as_str())
    }

    /// The bond that a device is a port of.
    fn bond(&self, device: &DeviceRef) -> Option<DeviceRef> {
        let name = self.account.links.get(device)?.controller.as_ref()?;
        let bond = DeviceRef { ns: device.ns.clone(), name: name.clone() };
        (self.kind(&bond) == "bond").then_some(bond)
    }

    /// Devices of a kind that stand on another, or may do so.
    fn standing_on(&self, below: &DeviceRef, kind: &str) -> Vec<DeviceRef> {
        let of_kind = || self.account.links.keys().filter(|device| self.kind(device) == kind);
        let here: Vec<DeviceRef> =
            of_kind().filter(|device| self.parents.get(*device) == Some(below)).cloned().collect();
        if here.is_empty() {
            return of_kind().filter(|device| !self.parents.contains_key(*device)).cloned().collect();
        }
        here
    }

    /// All that is above a device, however far.
    fn above(&self, device: &DeviceRef) -> Vec<DeviceRef> {
        let mut all: Vec<DeviceRef> = Vec::new();
        let mut next = vec![device.clone()];
        while let Some(at) = next.pop() {
            let stacked = STACKED.iter().flat_map(|(_, kind)| self.standing_on(&at, kind));
            for one in stacked.chain(self.bond(&at)) {
                if !all.contains(&one) {
                    all.push(one.clone());
                    next.push(one);
                }
            }
        }
        all
    }

    /// Adds what frames lost at a place may have moved.
    fn add(&self, place: &DropPlace, frames: u64, effects: &mut Effects) {
        let Some(device) = &place.device else { return };
        let functions: Vec<&str> =
            std::iter::once(place.location.as_str()).chain(place.stack.iter().map(String::as_str)).collect();
        if is_purge(place) {
            return;
        }
        let queue = place.qdisc.as_deref().unwrap_or_default();
        let told = match ingress::layer(place) {
            Some(Layer::Qdisc) if queue == "noop" => {
                self.noop(device, frames, effects);
                None
            }
            Some(Layer::Qdisc) => {
                let same = self.account.qdiscs.get(device).is_some_and(|now| now.kind == queue);
                let counter = Counter { device: device.clone(), of: Of::Qdisc, name: DROPS };
                add(effects, if same { Sure::Certain } else { Sure::Perhaps }, counter, frames);
                refusal(queue)
            }
            Some(Layer::Tc) => {
                let counter = Counter { device: device.clone(), of: Of::Clsact, name: DROPS };
                add(effects, Sure::Perhaps, counter, frames);
                Some(Sure::Certain)
            }
            Some(Layer::Nft) => Some(Sure::Certain),
            // They were never on a device, or have left it as received.
            Some(Layer::Socket | Layer::Ip | Layer::Neighbour | Layer::Wire) => return,
            Some(Layer::Bond) => {
                self.device(device, "tx_dropped", Sure::Certain, frames, effects);
                Some(Sure::Certain)
            }
            // What has no receiver counts as rx_dropped, or as rx_nohandler at a port that is not active.
            Some(Layer::Receiver) => {
                self.device(device, "rx_dropped", Sure::Perhaps, frames, effects);
                None
            }
            _ => {
                for device in [Some(device), self.peers.get(device)].into_iter().flatten() {
                    for name in LOSSES {
                        self.device(device, name, Sure::Perhaps, frames, effects);
                    }
                }
                Some(Sure::Perhaps)
            }
        };
        if let Some(sure) = told {
            self.tell(device, &functions, sure, frames, effects);
        }
    }

    fn noop(&self, device: &DeviceRef, frames: u64, effects: &mut Effects) {
        for device in [Some(device.clone()), self.bond(device)].into_iter().flatten() {
            *effects.noop.entry(device).or_default() += frames;
        }
    }

    /// A device's counter, and its bond's, which has its ports' in it.
    fn device(&self, device: &DeviceRef, name: &'static str, sure: Sure, frames: u64, effects: &mut Effects) {
        for device in [Some(device.clone()), self.bond(device)].into_iter().flatten() {
            add(effects, sure, device_counter(&device, name), frames);
        }
    }

    /// Those that sent frames down to a device learn that they were refused.
    fn tell(
        &self,
        device: &DeviceRef,
        functions: &[&str],
        mut sure: Sure,
        frames: u64,
        effects: &mut Effects,
    ) {
        let mut at = device.clone();
        for function in functions {
            if UNTOLD.iter().any(|untold| function.starts_with(untold)) {
                return;
            }
            if function.starts_with("bond_") || function.starts_with("__bond_") {
                let Some(bond) = self.bond(&at) else { continue };
                at = bond;
                if self.account.links.get(&at).is_some_and(|bond| bond.is_broadcast) {
                    // It counts that a port refuses a frame, and says so only when all do (bond_xmit_broadcast()).
                    sure = Sure::Perhaps;
                    add(effects, sure, device_counter(&at, "tx_dropped"), frames);
                }
                continue;
            }
            let Some((_, kind)) = STACKED.iter().find(|(send, _)| function.starts_with(send)) else {
                continue;
            };
            let upper = self.standing_on(&at, kind);
            let [one] = &upper[..] else {
                // One of several, and then all that is above it.
                let all = upper.iter().flat_map(|one| [one.clone()].into_iter().chain(self.above(one)));
                all.for_each(|it| add(effects, Sure::Perhaps, device_counter(&it, "tx_dropped"), frames));
                return;
            };
            at = one.clone();
            add(effects, sure, device_counter(&at, "tx_dropped"), frames);
        }
        if functions.len() > STACK_FUNCTIONS_MAX {
            // The way is longer than what the event tells.
            for device in self.above(&at) {
                add(effects, Sure::Perhaps, device_counter(&device, "tx_dropped"), frames);
            }
        }
    }
}

/// What a full queue says to those above.
fn refusal(queue: &str) -> Option<Sure> {
    if SILENT.contains(&queue) {
        None
    } else if REFUSING.contains(&queue) {
        Some(Sure::Certain)
    } else {
        Some(Sure::Perhaps)
    }
}

fn add(effects: &mut Effects, sure: Sure, counter: Counter, frames: u64) {
    let into = if sure == Sure::Certain { &mut effects.certain } else { &mut effects.perhaps };
    *into.entry(counter).or_default() += frames;
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::net::frame_set::Frames;
    use crate::net::link_state::LinkState;
    use crate::plan;
    use crate::topology::Topology;

    /// A VLAN on a bond of two ports, and a second one on one of the ports.
    const TOPOLOGY: &str = "[ns.n.dummy.p0]\n[ns.n.dummy.p1]\n[ns.n.bond.b]\nmode = \"active-backup\"\nmiimon = 100\n\
                            ports = [\"p0\", \"p1\"]\n[ns.n.vlan.v]\nparent = \"b\"\nid = 70\n[ns.n.vlan.w]\nparent = \"b\"\n\
                            id = 71\n[ns.n.vlan.x]\nparent = \"p1\"\nid = 72\n";
    const ENQUEUE: &str = "kfree_skb_list_reason < __dev_queue_xmit";
    const OF_BOND: &str = "bond_start_xmit < dev_hard_start_xmit < __dev_queue_xmit";
    const OF_VLAN: &str =
        "vlan_dev_hard_start_xmit < dev_hard_start_xmit < __dev_queue_xmit < ip6_finish_output2";

    /// Everything a device of the trial has counted, by `DEVICE OF COUNTER`.
    fn account(counted: &[(&str, u64)]) -> (plan::Plan, TrialAccount) {
        let plan = crate::plan::lower::lower(&Topology::parse("t", "t.toml", TOPOLOGY).expect("it is one"));
        let mut account = TrialAccount::empty(plan.trials[0].role.clone());
        for (name, kind, bond) in [("p0", "dummy", true), ("p1", "dummy", true), ("b", "bond", false)]
            .into_iter()
            .chain(["v", "w", "x"].map(|vlan| (vlan, "vlan", false)))
        {
            let controller = bond.then(|| "b".parse().expect("a name"));
            let link = LinkState { kind: kind.into(), controller, ..LinkState::default() };
            account.links.insert(device(name), link);
        }
        for (counter, value) in counted {
            let [name, of, counter] = counter.split(' ').collect::<Vec<_>>()[..] else { panic!("{counter}") };
            let counters = [(counter.to_owned(), *value)];
            if of == "device" {
                account.devices.entry(device(name)).or_default().extend(counters);
            } else {
                let qdisc = crate::judge::account::QdiscAccount::new("pfifo", counters.into());
                if of == "qdisc" { &mut account.qdiscs } else { &mut account.hooks }
                    .insert(device(name), qdisc);
            }
        }
        (plan, account)
    }

    fn device(name: &str) -> DeviceRef {
        format!("n:{name}").parse().expect("a device")
    }

    /// `DEVICE QDISC REASON: FUNCTION < FUNCTION < ...`.
    fn place(text: &str) -> DropPlace {
        let (place, functions) = text.split_once(": ").expect("functions");
        let [name, queue, reason] = place.split(' ').collect::<Vec<_>>()[..] else { panic!("{place}") };
        let mut functions = functions.split(" < ").map(str::to_owned);
        DropPlace {
            device: Some(device(name)),
            reason: (reason != "-").then(|| reason.to_owned()),
            qdisc: Some(queue.to_owned()),
            location: functions.next().expect("a function"),
            stack: functions.collect(),
        }
    }

    fn told(counted: &[(&str, u64)], own: &[(&str, u32)], foreign: &[(&str, u32)]) -> Vec<String> {
        let (plan, account) = account(counted);
        let own = own.iter().map(|(text, count)| Record::Dropped {
            trial: 0,
            flow: 0,
            frames: Frames::first(*count),
            place: place(text),
        });
        let foreign = foreign.iter().map(|(text, count)| Record::DroppedForeign {
            trial: 0,
            count: *count,
            class: Some(FrameClass::MulticastMembership),
            vlan: None,
            place: place(text),
        });
        let records: Vec<Record> = own.chain(foreign).collect();
        let moved = moved(&plan.trials[0], &account, &records.iter().collect::<Vec<_>>());
        let line = |(counter, by): (&Counter, &Option<u64>)| {
            let by = by.map_or("unknown".to_owned(), |by| by.to_string());
            format!("{} {} {} {by}", counter.device.name, counter.of.word(), counter.name)
        };
        moved.iter().map(line).collect()
    }

    #[test]
    fn a_queue_that_refuses_tells_the_vlan_by_which_the_frame_came() {
        let untagged = format!("p0 pfifo QDISC_DROP: {ENQUEUE} < {OF_BOND} < packet_sendmsg");
        let counted = [("p0 qdisc drops", 103), ("v device tx_dropped", 100)];
        let own = [("p0 pfifo QDISC_DROP: kfree_skb_list_reason < __dev_queue_xmit < bond_start_xmit", 100)];
        assert_eq!(told(&counted, &own, &[(&untagged, 3)]), ["p0 qdisc drops 3"]);
        // On a port the only VLAN is known; on the bond it may be either.
        let port = format!("p1 pfifo QDISC_DROP: {ENQUEUE} < {OF_VLAN}");
        assert_eq!(
            told(&[("x device tx_dropped", 5), ("p1 qdisc drops", 5)], &[], &[(&port, 2)]),
            ["p1 qdisc drops 2", "x device tx_dropped 2"]
        );
        let tagged = format!("p0 pfifo QDISC_DROP: {ENQUEUE} < {OF_BOND} < {OF_VLAN}");
        assert_eq!(
            told(&[("v device tx_dropped", 2), ("p0 qdisc drops", 2)], &[], &[(&tagged, 2)]),
            ["p0 qdisc drops 2", "v device tx_dropped 2"]
        );
    }

    #[test]
    fn where_two_could_have_moved_a_counter_it_is_unknown() {
        let tagged = format!("p0 pfifo QDISC_DROP: {ENQUEUE} < {OF_BOND} < {OF_VLAN}");
        let own = [(&*tagged, 100)];
        let moved = told(&[("v device tx_dropped", 101), ("w device tx_dropped", 3)], &own, &[(&tagged, 4)]);
        assert_eq!(moved, ["v device tx_dropped unknown", "w device tx_dropped unknown"]);
    }

    #[test]
    fn what_is_purged_or_told_to_nobody_moves_nothing_above() {
        for place in [
            // Taken, counted as sent, and thrown away with the queue.
            format!("p0 pfifo QUEUE_PURGE: qdisc_reset < dev_reset_queue < {OF_BOND} < {OF_VLAN}"),
            // fq_codel says NET_XMIT_CN.
            format!("p1 fq_codel QDISC_DROP: {ENQUEUE} < {OF_VLAN}"),
            // The driver's word stays in sch_direct_xmit().
            format!("p1 pfifo NOT_SPECIFIED: kfree_skb < dev_hard_start_xmit < sch_direct_xmit < {OF_VLAN}"),
        ] {
            assert_eq!(told(&[("x device tx_dropped", 9)], &[], &[(&place, 1)]), [""; 0], "{place}");
        }
    }

    #[test]
    fn whether_noop_is_counted_is_read_from_the_counters() {
        let noop = "p0 noop QDISC_DROP: kfree_skb_list_reason < __dev_queue_xmit < bond_start_xmit";
        // 6.11 and later count it, at the port and, summed up, at the bond; before, no device does.
        let counted = [("p0 device tx_dropped", 102), ("b device tx_dropped", 102)];
        assert_eq!(
            told(&counted, &[(noop, 100)], &[(noop, 2)]),
            ["b device tx_dropped 2", "p0 device tx_dropped 2"]
        );
        assert_eq!(told(&[("p0 device tx_dropped", 7)], &[(noop, 100)], &[(noop, 2)]), [""; 0]);
        // Something else has moved it, too.
        assert_eq!(
            told(&[("p0 device tx_dropped", 150)], &[(noop, 100)], &[(noop, 2)]),
            ["p0 device tx_dropped unknown"]
        );
    }

    #[test]
    fn a_frame_that_nobody_wants_may_have_been_counted() {
        let unwanted = "p0 pfifo UNHANDLED_PROTO: sk_skb_reason_drop < __netif_receive_skb_core";
        // None of the lab's was there, so that all of it is the kernel's; or none of it, at a port that is not active.
        assert_eq!(told(&[("p0 device rx_dropped", 2)], &[], &[(unwanted, 3)]), ["p0 device rx_dropped 2"]);
        assert_eq!(told(&[("p0 device rx_dropped", 0)], &[], &[(unwanted, 3)]), [""; 0]);
        assert_eq!(
            told(&[("p0 device rx_dropped", 11)], &[(unwanted, 10)], &[(unwanted, 3)]),
            ["p0 device rx_dropped unknown"]
        );
    }

    #[test]
    fn segments_of_a_tcp_flow_are_the_labs() {
        assert!(!is_kernels(Some(FrameClass::Tcp)));
        assert!(is_kernels(Some(FrameClass::Lacpdu)) && is_kernels(None));
    }
}
