//! Who lost a frame: the record streams of runs in which it is easy to name another one.

use std::collections::BTreeMap;

use bondlab_core::judge::account::TrialAccount;
use bondlab_core::judge::ledger;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::moment::When;
use bondlab_core::plan::record::{DeviceState, DropPlace, QdiscState, REPLACED, Record, Tables};
use bondlab_core::topology::Topology;

use super::{finish, frames};

/// Two cables between `a` and `b`, and what else is wanted.
const CABLES: &str = r#"
[ns.a.veth.x]
peer = "b:x"
[ns.a.veth.z]
peer = "b:z"
[ns.b.veth.x]
peer = "a:x"
addresses = ["192.0.2.2/24"]
[ns.b.veth.z]
peer = "a:z"
[[step]]
flood = "f"
"#;
const PURGE: &str = "sk_skb_reason_drop < qdisc_reset < dev_deactivate_many < dev_deactivate < qdisc_graft";

/// `DEVICE KIND PARENT`, and what it has counted, before and after.
type Queue = (&'static str, [Vec<(&'static str, u64)>; 2]);

/// A run of one flow of ten frames.
#[derive(Default)]
struct Run {
    /// Beside the cables, the flow included.
    topology: &'static str,
    refused: Frames,
    seen: Frames,
    /// `DEVICE QDISC REASON: FUNCTION < FUNCTION`, and the frames.
    drops: Vec<(&'static str, Frames)>,
    /// Disciplines.
    queues: Vec<Queue>,
    /// Device, counter, number.
    devices: Vec<(&'static str, &'static str, u64)>,
}

impl Run {
    fn account(&self) -> TrialAccount {
        let text = format!("{CABLES}{}", self.topology);
        let topology = Topology::parse("t", "t.toml", &text).unwrap_or_else(|errors| panic!("{errors}"));
        let plan = bondlab_core::plan::lower::lower(&topology);
        let (trial, flow) = (0, 0);
        let ops = u32::try_from(plan.trials[0].ops.len()).unwrap();
        let accepted = Frames::first(10).difference(&self.refused);
        let refused = [("ENOBUFS".to_owned(), self.refused.clone())];
        let refused = refused.into_iter().filter(|(_, frames)| !frames.is_empty()).collect();
        let (unacknowledged, frames) = (Frames::default(), self.seen.clone());
        let mut records = vec![Record::TrialStarted { trial }];
        records.extend((0..ops).map(|op| Record::OpDone { trial, op }));
        records.push(self.counters(When::Before));
        records.push(self.counters(When::After));
        records.push(Record::Sent { trial, flow, accepted, refused, unacknowledged });
        records.push(Record::Seen { trial, flow, frames, duplicated: 0, overrun: 0, socket_dropped: None });
        for (text, frames) in &self.drops {
            records.push(Record::Dropped { trial, flow, frames: frames.clone(), place: place(text) });
        }
        records.push(Record::Tables { trial, tables: Tables::default() });
        records.push(Record::Observed { trial, lost: 0, unavailable: None });
        let account = ledger::close(&plan, &finish(records));
        account.unwrap_or_else(|error| panic!("{error}")).trials.remove(0)
    }

    fn counters(&self, when: When) -> Record {
        let mut devices: BTreeMap<&str, DeviceState> = BTreeMap::new();
        let is_after = when == When::After;
        for (device, counter, value) in &self.devices {
            let value = if is_after { *value } else { 0 };
            devices.entry(device).or_default().counters.insert((*counter).to_owned(), value);
        }
        for (queue, counted) in &self.queues {
            let [device, kind, parent] = queue.split(' ').collect::<Vec<_>>()[..] else { panic!("{queue}") };
            let (handle, counted) = (u32::from(parent == REPLACED) + 1, &counted[usize::from(is_after)]);
            let counters = counted.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            let (kind, parent) = (kind.to_owned(), parent.to_owned());
            if is_after || parent != REPLACED {
                devices.entry(device).or_default().qdiscs.push(QdiscState { kind, parent, handle, counters });
            }
        }
        let device = |(name, state): (&str, DeviceState)| (name.parse::<DeviceRef>().unwrap(), state);
        Record::Counters { trial: 0, when, devices: devices.into_iter().map(device).collect() }
    }

    /// `NUMBER LAYER DEVICE REASON`, and what is unattributed.
    fn fates(&self) -> (Vec<String>, u32) {
        let account = self.account();
        let fates = account.flows[0].fates.iter().map(|fate| {
            let device = fate.device.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            format!("{} {} {device} {}", fate.frames, fate.layer, fate.reason)
        });
        (fates.collect(), account.flows[0].unattributed.len())
    }
}

fn place(text: &str) -> DropPlace {
    let (place, functions) = text.split_once(": ").expect("functions");
    let [device, queue, reason] = place.split(' ').collect::<Vec<_>>()[..] else { panic!("{place}") };
    let stack: Vec<String> = functions.split(" < ").map(str::to_owned).collect();
    DropPlace {
        device: Some(device.parse().unwrap()),
        reason: Some(reason.to_owned()),
        qdisc: (queue != "-").then(|| queue.to_owned()),
        // The caller of what frees it.
        location: stack[1].clone(),
        stack,
    }
}

fn backlog(device: &'static str, packets: u64) -> Queue {
    (device, [vec![("backlog_packets", 0)], vec![("backlog_packets", packets)]])
}

const BROADCAST: &str = r#"
[ns.a.bond.bond0]
mode = "broadcast"
miimon = 100
ports = ["x", "z"]
addresses = ["192.0.2.1/24"]
[flow.f]
from = "a:bond0"
to = "b:x"
frames = 10
"#;
const OTHER_BOND: &str = r#"
[ns.a.bond.bond0]
mode = "active-backup"
miimon = 100
ports = ["x", "z"]
addresses = ["192.0.2.1/24"]
[flow.f]
from = "a:bond0"
to = "b:x"
frames = 10
"#;
const FULL: &str = "a:z pfifo QDISC_DROP: kfree_skb_list_reason < __dev_queue_xmit < bond_dev_queue_xmit";

#[test]
fn a_frame_that_a_broadcast_bond_refuses_and_a_port_holds_is_held() {
    // A queue that takes a frame and drops another one says NET_XMIT_CN, which the bond takes for a refusal.
    let oldest =
        "a:x pfifo_head_drop QDISC_DROP: kfree_skb_list_reason < __dev_queue_xmit < bond_dev_queue_xmit";
    let run = |topology| Run {
        topology,
        refused: frames(4..10),
        drops: vec![(oldest, frames(0..6))],
        queues: vec![backlog("a:x pfifo_head_drop root", 4)],
        ..Run::default()
    };
    let held = ["4 qdisc a:x BACKLOG", "6 qdisc a:x QDISC_DROP"].map(String::from).to_vec();
    assert_eq!(run(BROADCAST).fates(), (held, 0));
    // Another bond sends a frame by one port only, and what it refuses is in no queue.
    let refused = ["6 qdisc a:x QDISC_DROP", "4 socket - ENOBUFS"].map(String::from).to_vec();
    assert_eq!(run(OTHER_BOND).fates(), (refused, 0));
}

#[test]
fn a_copy_that_one_port_drops_does_not_hide_the_one_that_another_port_holds() {
    // Up to 5.17 the last port's answer is the bond's.
    let run = |held| Run {
        topology: BROADCAST,
        refused: frames(0..10),
        drops: vec![(FULL, frames(0..10))],
        queues: vec![backlog("a:x plug root", held)],
        ..Run::default()
    };
    assert_eq!(run(10).fates(), (vec!["10 qdisc a:x BACKLOG".into()], 0));
    let both = ["7 qdisc a:x BACKLOG", "3 qdisc a:z QDISC_DROP"].map(String::from).to_vec();
    assert_eq!(run(7).fates(), (both, 0));
}

#[test]
fn what_arrives_by_another_port_is_neither_held_nor_lost() {
    let run = Run {
        topology: BROADCAST,
        refused: frames(0..10),
        seen: frames(0..10),
        drops: vec![(FULL, frames(0..10))],
        ..Run::default()
    };
    assert_eq!(run.fates(), (vec![], 0));
}

const PLAIN: &str = "[flow.f]\nfrom = \"a:x\"\nto = \"b:x\"\nframes = 10\n";

#[test]
fn a_requeued_frame_belongs_to_the_queue_that_was_purged() {
    let requeued = format!("b:x noqueue QUEUE_PURGE: {PURGE}").leak();
    let queued = format!("a:x noop QUEUE_PURGE: {PURGE}").leak();
    let run = Run {
        topology: PLAIN,
        seen: frames(0..4),
        drops: vec![(requeued, frames(4..5)), (queued, frames(5..10))],
        ..Run::default()
    };
    assert_eq!(run.fates(), (vec!["6 qdisc a:x QUEUE_PURGE".into()], 0));
    // `noop` is what came in its place, whatever the reason.
    assert!(run.account().flows[0].fates.iter().all(|fate| fate.queue.is_none()));
}

#[test]
fn the_layer_peer_names_the_receiving_end_of_a_cable() {
    let large =
        "a:x pfifo NOT_SPECIFIED: kfree_skb_reason < __dev_forward_skb < veth_xmit < dev_hard_start_xmit";
    let full = "b:x noqueue NOT_SPECIFIED: kfree_skb_reason < veth_xmit < dev_hard_start_xmit";
    let run =
        Run { topology: PLAIN, drops: vec![(large, frames(0..3)), (full, frames(3..10))], ..Run::default() };
    assert_eq!(run.fates(), (vec!["10 peer b:x NOT_SPECIFIED".into()], 0));
}

#[test]
fn a_dummy_discards_what_it_counts_as_sent() {
    let topology = r#"
[ns.a.dummy.d]
addresses = ["192.0.2.1/24"]
[ns.a.vlan.v]
parent = "d"
id = 7
addresses = ["198.51.100.1/24"]
[flow.f]
from = "a:v"
to = "b:x"
frames = 10
"#;
    let run = |sent| Run { topology, devices: vec![("a:d", "tx_packets", sent)], ..Run::default() };
    // An ARP of the kernel's is among the eleven.
    assert_eq!(run(11).fates(), (vec!["10 driver a:d DISCARDED".into()], 0));
    assert_eq!(run(8).fates(), (vec!["8 driver a:d DISCARDED".into()], 2));
    // A dummy that the flow does not leave by has none of its frames.
    let elsewhere: &str = format!("[ns.a.dummy.d]\n{PLAIN}").leak();
    let run = Run { topology: elsewhere, devices: vec![("a:d", "tx_packets", 11)], ..Run::default() };
    assert_eq!(run.fates(), (vec![], 10));
}

#[test]
fn a_netdevsim_without_a_peer_discards_what_it_counts() {
    let of = |link: &str| -> &'static str {
        let flow = "[flow.f]\nfrom = \"a:n\"\nto = \"b:x\"\nframes = 10\n";
        format!("{link}{flow}").leak()
    };
    let alone = of("[ns.a.netdevsim.n]\n");
    let linked = of("[ns.a.netdevsim.n]\npeer = \"b:n\"\n[ns.b.netdevsim.n]\npeer = \"a:n\"\n");
    let discarded = (vec!["10 driver a:n DISCARDED".to_owned()], 0);
    // nsim_start_xmit(): before netdevsim had peers, every frame was `tx_packets`; since then one without a peer is `tx_dropped`.
    for (topology, counter, expected) in [
        (alone, "tx_packets", &discarded),
        (alone, "tx_dropped", &discarded),
        (linked, "tx_packets", &(vec![], 10)),
    ] {
        let run = Run { topology, devices: vec![("a:n", counter, 10)], ..Run::default() };
        assert_eq!(&run.fates(), expected, "{counter}");
    }
}

#[test]
fn counters_of_a_replaced_queue_are_reported() {
    let full = "a:x pfifo QDISC_DROP: kfree_skb_list_reason < __dev_queue_xmit < packet_sendmsg";
    let run = Run {
        topology: PLAIN,
        seen: frames(0..3),
        drops: vec![(full, frames(3..10))],
        queues: vec![
            ("a:x noqueue root", [vec![("drops", 0)], vec![("drops", 0)]]),
            ("a:x pfifo replaced", [vec![], vec![("drops", 7), ("backlog_packets", 5)]]),
        ],
        ..Run::default()
    };
    let account = run.account();
    let [(device, queue)] = &account.replaced[..] else { panic!("{:?}", account.replaced) };
    assert_eq!((device.to_string().as_str(), queue.kind.as_str()), ("a:x", "pfifo"));
    // What it held went with it.
    assert_eq!(queue.counters, [("drops".to_owned(), 7)].into());
    assert_eq!(account.qdiscs[device].kind, "noqueue");
}

#[test]
fn a_backlog_below_zero_is_named_as_the_kernels_fault() {
    let root = || backlog("a:x tbf root", u64::from(u32::MAX) - 2);
    let run = |queues| Run { topology: PLAIN, seen: frames(0..4), queues, ..Run::default() };
    // The discipline inside has the number; without it nothing has.
    let inside = run(vec![root(), backlog("a:x cake 1:1", 6)]);
    assert_eq!(inside.fates(), (vec!["6 qdisc a:x BACKLOG".into()], 0));
    assert_eq!(run(vec![root()]).fates(), (vec![], 6));
    let account = inside.account();
    let queue = &account.qdiscs[&"a:x".parse::<DeviceRef>().unwrap()];
    assert_eq!(queue.below_zero, ["backlog_packets"]);
}
