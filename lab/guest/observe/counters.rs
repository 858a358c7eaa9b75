//! Counters of all devices and their queueing disciplines, as the kernel has them now.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use netlink_packet_core::Nla;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, Stats64};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};

use crate::agent::testbed::Testbed;
use crate::device::links::LOOPBACK_IFINDEX;
use crate::device::tc;
use crate::observe::states;
use crate::syscall::rtnl::{Rtnl, RtnlError};
use bondlab_core::net::name::{DeviceRef, NsName};
use bondlab_core::net::qdisc_xstats;
use bondlab_core::plan::record::{DeviceState, OpError, QdiscState};
use bondlab_core::topology::condition::{DEVICE_COUNTERS, QDISC_COUNTERS};

/// Keep in sync with include/uapi/linux/gen_stats.h: 64 bits of packets, where 32 are not enough.
const TCA_STATS_PKT64: u16 = 8;
/// What is of the kind alone.
const TCA_STATS_APP: u16 = 4;

/// Counts everything in all namespaces, `lo` left out.
///
/// # Errors
/// No complete answer.
pub async fn count(bed: &Testbed) -> Result<IndexMap<DeviceRef, DeviceState>, OpError> {
    let mut all = IndexMap::new();
    for (ns, rtnl) in bed.sockets() {
        let counted = count_namespace(ns, rtnl).await;
        all.extend(counted.map_err(|error| error.during(format!("read the counters of {ns}")))?);
    }
    Ok(all)
}

/// The root queueing discipline of a device; none where the device is gone.
///
/// # Errors
/// No complete answer.
pub async fn root(bed: &Testbed, device: &DeviceRef) -> Result<Option<QdiscState>, OpError> {
    let counted = count_namespace(&device.ns, bed.rtnl(&device.ns)?).await;
    let mut all = counted.map_err(|error| error.during(format!("read the queue of {device}")))?;
    // The root comes first.
    Ok(all.swap_remove(device).and_then(|state| state.qdiscs.into_iter().next()))
}

/// All queueing disciplines of a device; none where the device is gone.
///
/// # Errors
/// No complete answer.
pub async fn qdiscs(bed: &Testbed, device: &DeviceRef) -> Result<Vec<QdiscState>, OpError> {
    let counted = count_namespace(&device.ns, bed.rtnl(&device.ns)?).await;
    let mut all = counted.map_err(|error| error.during(format!("read the queues of {device}")))?;
    Ok(all.swap_remove(device).map(|state| state.qdiscs).unwrap_or_default())
}

/// A counter that only some kinds of queueing disciplines have (TCA_STATS_APP); none where it has none of that name.
///
/// # Errors
/// No complete answer.
pub async fn of_kind(
    bed: &Testbed,
    device: &DeviceRef,
    parent: &str,
    counter: &str,
) -> Result<Option<u64>, OpError> {
    let index = bed.index(device).await?;
    let dumped = tc::dump(bed.rtnl(&device.ns)?).await;
    let all = dumped.map_err(|error| error.during(format!("read the queues of {device}")))?;
    let own = all.iter().filter(|qdisc| u32::try_from(qdisc.header.index) == Ok(index));
    let found = own.into_iter().find(|qdisc| qdisc_state(qdisc).parent == parent);
    Ok(found.and_then(|qdisc| {
        let kind = tc::kind(qdisc)?;
        let stats = qdisc.attributes.iter().filter_map(|attribute| match attribute {
            TcAttribute::Stats2(stats) => Some(stats),
            _ => None,
        });
        let app = stats.flatten().find(|stat| stat.kind() == TCA_STATS_APP)?;
        let mut bytes = vec![0; app.value_len()];
        app.emit_value(&mut bytes);
        qdisc_xstats::value(kind, counter, &bytes)
    }))
}

async fn count_namespace(ns: &NsName, rtnl: &Rtnl) -> Result<IndexMap<DeviceRef, DeviceState>, RtnlError> {
    let qdiscs = tc::dump(rtnl).await?;
    let links = rtnl.links().await?;
    let mut states = states::of(ns, &links);
    let mut devices = IndexMap::new();
    for link in links.iter().filter(|link| link.header.index != LOOPBACK_IFINDEX) {
        let (device, mut state) = device_state(ns, link, &qdiscs)?;
        state.link = states.shift_remove(&device).unwrap_or_default();
        devices.insert(device, state);
    }
    Ok(devices)
}

fn device_state(
    ns: &NsName,
    link: &LinkMessage,
    qdiscs: &[TcMessage],
) -> Result<(DeviceRef, DeviceState), RtnlError> {
    let (mut name, mut stats, mut default) = (None, None, "none");
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = text.parse().ok(),
            LinkAttribute::Stats64(counters) => stats = Some(counters),
            LinkAttribute::Qdisc(kind) => default = kind,
            _ => {}
        }
    }
    let (Some(name), Some(stats)) = (name, stats) else {
        let text = format!("device {} comes without name or counters", link.header.index);
        return Err(RtnlError::Unexpected(text));
    };
    let own = qdiscs.iter().filter(|qdisc| u32::try_from(qdisc.header.index) == Ok(link.header.index));
    let mut qdiscs: Vec<QdiscState> = own.map(qdisc_state).collect();
    qdiscs.sort_by_key(|state| match state.parent.as_str() {
        "root" => 0,
        "clsact" => 1,
        _ => 2,
    });
    if qdiscs.first().is_none_or(|first| first.parent != "root") {
        // A device that was never up has no discipline of its own, only the kernel's built-in noop.
        let counters = QDISC_COUNTERS.iter().map(|name| ((*name).into(), 0)).collect();
        let root = QdiscState { kind: default.into(), parent: "root".into(), handle: 0, counters };
        qdiscs.insert(0, root);
    }
    let device = DeviceRef { ns: ns.clone(), name };
    Ok((
        device,
        DeviceState {
            index: link.header.index,
            counters: device_counters(stats),
            qdiscs,
            ..DeviceState::default()
        },
    ))
}

fn device_counters(stats: &Stats64) -> BTreeMap<String, u64> {
    let values = [
        stats.rx_packets,
        stats.tx_packets,
        stats.rx_bytes,
        stats.tx_bytes,
        stats.rx_errors,
        stats.tx_errors,
        stats.rx_dropped,
        stats.tx_dropped,
        stats.multicast,
        stats.collisions,
        stats.rx_length_errors,
        stats.rx_over_errors,
        stats.rx_crc_errors,
        stats.rx_frame_errors,
        stats.rx_fifo_errors,
        stats.rx_missed_errors,
        stats.tx_aborted_errors,
        stats.tx_carrier_errors,
        stats.tx_fifo_errors,
        stats.tx_heartbeat_errors,
        stats.tx_window_errors,
        stats.rx_compressed,
        stats.tx_compressed,
        stats.rx_nohandler,
    ];
    DEVICE_COUNTERS.iter().map(|name| (*name).into()).zip(values).collect()
}

fn qdisc_state(message: &TcMessage) -> QdiscState {
    let parent = match message.header.parent {
        TcHandle::ROOT => "root".into(),
        TcHandle::CLSACT => "clsact".into(),
        class => format!("{:x}:{:x}", class.major, class.minor),
    };
    QdiscState {
        kind: tc::kind(message).unwrap_or_default().into(),
        parent,
        handle: message.header.handle.into(),
        counters: qdisc_counters(message),
    }
}

fn qdisc_counters(message: &TcMessage) -> BTreeMap<String, u64> {
    let mut counters: BTreeMap<String, u64> = QDISC_COUNTERS.iter().map(|name| ((*name).into(), 0)).collect();
    let mut set = |name: &str, value: u64| {
        counters.insert(name.into(), value);
    };
    let stats = message.attributes.iter().filter_map(|attribute| match attribute {
        TcAttribute::Stats2(stats) => Some(stats),
        _ => None,
    });
    for stat in stats.flatten() {
        match stat {
            TcStats2::Basic(basic) => {
                set("bytes", basic.bytes);
                set("packets", basic.packets.into());
            }
            TcStats2::Queue(queue) => {
                set("drops", queue.drops.into());
                set("requeues", queue.requeues.into());
                set("overlimits", queue.overlimits.into());
                set("backlog_packets", queue.qlen.into());
                set("backlog_bytes", queue.backlog.into());
            }
            // Comes after the 32-bit number (gnet_stats_copy_basic()).
            TcStats2::Other(other) if other.kind() == TCA_STATS_PKT64 && other.value_len() == 8 => {
                let mut bytes = [0; 8];
                other.emit_value(&mut bytes);
                set("packets", u64::from_ne_bytes(bytes));
            }
            _ => {}
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DefaultNla, Parseable};

    use super::*;

    #[test]
    fn counters_have_the_kernels_order() {
        // struct rtnl_link_stats64 of a kernel without rx_otherhost_dropped: each field holds its place.
        let bytes: Vec<u8> = (1u64..=24).flat_map(u64::to_ne_bytes).collect();
        let counters = device_counters(&Stats64::parse(&bytes).unwrap());
        for (place, name) in DEVICE_COUNTERS.iter().enumerate() {
            assert_eq!(counters[*name], place as u64 + 1, "{name}");
        }
    }

    #[test]
    fn a_qdisc_counts_by_name() {
        let bytes = [
            0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 1, 0x80, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, // tcmsg
            10, 0, 1, 0, b'p', b'f', b'i', b'f', b'o', 0, 0, 0, // TCA_KIND
            48, 0, 7, 0, // TCA_STATS2
            20, 0, 1, 0, 60, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, // basic
            24, 0, 3, 0, 1, 0, 0, 0, 98, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, // queue
        ];
        let mut message = TcMessage::parse(&bytes[..]).unwrap();
        let state = qdisc_state(&message);
        assert_eq!(
            (state.kind.as_str(), state.parent.as_str(), state.handle),
            ("pfifo", "root", 0x8001_0000)
        );
        for (name, value) in QDISC_COUNTERS.iter().zip([2, 60, 3, 4, 5, 1, 98]) {
            assert_eq!(state.counters[*name], value, "{name}");
        }
        let more = DefaultNla::new(TCA_STATS_PKT64, (1u64 << 32 | 2).to_ne_bytes().into());
        for attribute in &mut message.attributes {
            if let TcAttribute::Stats2(stats) = attribute {
                stats.push(TcStats2::Other(more.clone()));
            }
        }
        assert_eq!(qdisc_state(&message).counters["packets"], 1 << 32 | 2);
    }
}
