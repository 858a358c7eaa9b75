//! Empties the places that no counter shows, after everything was counted: what comes out was held there.
//!
//! A neighbour keeps frames until it is resolved (`__neigh_event_send()`); when its entry is deleted they are dropped
//! (`neigh_invalidate()`), which the drop observer sees. A stopped driver keeps what its hardware was to take; when the
//! USB host takes frames again they show up there, whatever becomes of them then.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};

use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::wait;
use crate::device::{links, tc};
use crate::syscall::sockopt;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::probe::Probe;
use bondlab_core::net::qdisc::Qdisc;
use bondlab_core::plan::record::OpError;

/// Ten frames on a bus of software take milliseconds; a machine under emulation and load takes many times that.
const OUT_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(4);
/// Room for the few frames that a driver holds.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Longest part of a frame that is looked at.
const FRAME_HEAD_BYTES: usize = 256;

/// Deletes each neighbour that is waited for, with the frames that wait.
///
/// # Errors
/// The kernel's refusal, but for an entry that has just gone by itself.
pub async fn neighbours(bed: &Testbed) -> Result<(), OpError> {
    for (ns, rtnl) in bed.sockets() {
        let failed = |what: &str| format!("{what} of {ns}");
        let all = rtnl.dump(RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default())).await;
        for answer in all.map_err(|error| error.during(failed("read the neighbours")))? {
            let RouteNetlinkMessage::NewNeighbour(neighbour) = answer else { continue };
            if matches!(neighbour.header.state, NeighbourState::Incomplete | NeighbourState::Probe) {
                match rtnl.change(RouteNetlinkMessage::DelNeighbour(named(&neighbour)), 0).await {
                    Err(error) if error.errno() != Some(libc::ENOENT) => {
                        return Err(error.during(failed("delete a neighbour")));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// What a request needs to name an entry.
fn named(entry: &NeighbourMessage) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    (message.header.family, message.header.ifindex) = (entry.header.family, entry.header.ifindex);
    let is_key = |attribute: &&NeighbourAttribute| matches!(attribute, NeighbourAttribute::Destination(_));
    message.attributes.extend(entry.attributes.iter().filter(is_key).cloned());
    message
}

/// Frames by flow.
pub type ByFlow = BTreeMap<u16, Frames>;

/// Lets the stopped driver of `device` send to `peer` again. Returns which frames of the trial, which have its `mark`, it
/// held, of those that are `missing`; `expected` is how many that will be, for all that is known.
///
/// # Errors
/// The kernel's refusal.
pub async fn driver(
    bed: &Testbed,
    mark: u16,
    (device, peer): (&DeviceRef, &DeviceRef),
    (missing, expected): (&ByFlow, u32),
) -> Result<ByFlow, OpError> {
    let what = format!("empty the driver of {device}");
    let failed =
        |error: &io::Error| OpError { what: what.clone(), errno: None, text: Some(error.to_string()) };
    // What waits above the driver goes with its discipline: the queue's backlog has their number. One of
    // another kind, for one of the same kind would only be changed.
    tc::put_root(bed, device, &Qdisc::Noqueue).await?;
    let tap = bed.namespaces.enter(&peer.ns, tap).map_err(|error| netns_error(&what, &error))?;
    let tap = tap.map_err(|error| failed(&error))?;
    links::set_up(bed, peer).await?;
    let mut out = ByFlow::new();
    let mut look = || -> io::Result<bool> {
        let mut buffer = [0; FRAME_HEAD_BYTES];
        while let Some(len) = sockopt::receive(&tap, &mut buffer)? {
            let probe = Probe::parse_frame(&buffer[..len.min(FRAME_HEAD_BYTES)]);
            if let Some(probe) = probe.filter(|probe| probe.trial == mark) {
                out.entry(probe.flow).or_default().insert(probe.sequence);
            }
        }
        for (flow, frames) in &mut out {
            *frames = missing.get(flow).map(|missing| frames.intersection(missing)).unwrap_or_default();
        }
        Ok(out.values().map(Frames::len).sum::<u32>() >= expected)
    };
    wait::until(Instant::now() + OUT_TIMEOUT, LOOK_INTERVAL, || match look() {
        Ok(true) => Some(Ok(())),
        Ok(false) => None,
        Err(error) => Some(Err(failed(&error))),
    })
    .unwrap_or(Ok(()))?;
    Ok(out)
}

/// Sees what arrives at any device of the namespace: a socket of one device's own hears nothing until that device has
/// announced that it is up (`packet_notifier()`), and the bus is faster.
fn tap() -> io::Result<OwnedFd> {
    let socket = sockopt::packet_socket(libc::ETH_P_ALL as u16, 0)?;
    sockopt::ignore_outgoing(&socket)?;
    sockopt::receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
    Ok(socket)
}
