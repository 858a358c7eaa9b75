//! Packets that queues hold at the end.
//!
//! A root discipline has in its `qlen` what those inside it hold. Where it has run below zero (`qlen` has 32 bits: a tbf with a
//! cake inside takes what that drops off twice, on kernels whose `cake_enqueue()` says NET_XMIT_CN), those inside tell.

use crate::judge::account::{QdiscAccount, TrialAccount};
use crate::net::name::DeviceRef;
use crate::plan::moment::When;
use crate::plan::record::{DeviceState, REPLACED, Record};

/// The counter.
const PACKETS: &str = "backlog_packets";

/// How many each device's queue holds, as far as the kernel says so.
pub fn held(account: &TrialAccount, records: &[&Record]) -> Vec<(DeviceRef, u64)> {
    let states = records.iter().find_map(|record| match record {
        Record::Counters { when: When::After, devices, .. } => Some(devices),
        _ => None,
    });
    let inside = |device: &DeviceRef| states.and_then(|states| states.get(device)).map_or(0, held_inside);
    let of = |(device, root): (&DeviceRef, &QdiscAccount)| {
        let packets = match packets_of(root) {
            Some(packets) => packets,
            None => inside(device),
        };
        (device.clone(), packets)
    };
    account.qdiscs.iter().map(of).collect()
}

/// None where the number has run below zero.
fn packets_of(qdisc: &QdiscAccount) -> Option<u64> {
    let is_sound = !qdisc.below_zero.iter().any(|name| name == PACKETS);
    is_sound.then(|| qdisc.counters.get(PACKETS).copied().unwrap_or(0))
}

fn held_inside(state: &DeviceState) -> u64 {
    let inner = state.qdiscs.iter().filter(|it| !["root", "clsact", REPLACED].contains(&it.parent.as_str()));
    let packets = inner.filter_map(|it| packets_of(&QdiscAccount::new(&it.kind, it.counters.clone())));
    packets.sum()
}
