//! Holds the receiving end of a veth: frames pile up in its ring, and are not taken out.
//!
//! An XDP program that lets everything pass makes the end receive by NAPI (`veth_napi_enable()`), on every kernel. With
//! napi_defer_hard_irqs and gro_flush_timeout set, a poll that has done its work arms a timer and does not say that it
//! is finished (`napi_complete_done()` returns false); until the timer fires `rx_notify_masked` stays set and no sender
//! wakes the end up. The timer is set to longer than any run. One frame has to be polled to get there: the lab's, unless a
//! frame of the kernel's own (ARP, a learning packet of balance-alb) comes first. Then the lab's stays in the ring.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::wait;
use crate::device::links;
use crate::device::links::XdpMode;
use crate::fault::xdp;
use crate::fault::xdp::Action;
use crate::syscall::sockopt;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// Longer than any run may take.
const HELD_FOR_NS: &str = "3600000000000";
/// Local experimental EtherType 1 of IEEE 802: no protocol of the kernel takes it.
const ARMING_ETHERTYPE: u16 = 0x88b5;
/// Nearest bridge: no bridge forwards it.
const ARMING_DESTINATION: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x0e];
/// A bridge drops what has no valid source (`br_handle_frame()`).
const ARMING_SOURCE: [u8; 6] = [0x02, 0, 0x5e, 0xff, 0xff, 0xfe];
/// Shortest Ethernet frame without FCS.
const ARMING_FRAME_BYTES: usize = 60;
/// A softirq runs when the sender's system call ends; a machine may be loaded.
const ARMING_TIMEOUT: Duration = Duration::from_secs(5);
/// After another frame has been polled, for so long the lab's is waited for.
const FORESTALLED_AFTER: Duration = Duration::from_millis(300);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// Holds `device`; `peer` is the other end, from which one frame is sent.
///
/// # Errors
/// The kernel's refusal, or the frame that arms it does not arrive.
pub async fn hold(bed: &Testbed, device: &DeviceRef, peer: &DeviceRef) -> Result<(), OpError> {
    let what = format!("hold {device}");
    let failed = |error: &dyn std::error::Error| told(&what, error.to_string());
    xdp::put(bed, device, Action::Pass, XdpMode::Driver).await?;

    let (index, peer_index) = (bed.index(device).await?, bed.index(peer).await?);
    let enter = |error| netns_error(&what, &error);
    // Without a socket for its protocol the device would count the frame as dropped.
    let open =
        || io::Result::Ok((sockopt::packet_socket(ARMING_ETHERTYPE, index)?, all_that_arrives(index)?));
    let (arrived, all) = bed.namespaces.enter(&device.ns, open).map_err(enter)?.map_err(|e| failed(&e))?;
    let mut buffer = [0; ARMING_FRAME_BYTES];
    while sockopt::receive(&all, &mut buffer).map_err(|e| failed(&e))?.is_some() {}
    set_timer(bed, device, &what, HELD_FOR_NS, "1")?;
    let send = || send_arming_frame(peer_index);
    bed.namespaces.enter(&peer.ns, send).map_err(enter)?.map_err(|e| failed(&e))?;
    let mut forestalled = None;
    let mut arrival = || match (sockopt::receive(&arrived, &mut buffer), sockopt::receive(&all, &mut buffer))
    {
        (Ok(Some(_)), _) => Some(Ok(())),
        (Ok(None), Ok(Some(_))) => {
            forestalled.get_or_insert_with(Instant::now);
            None
        }
        (Ok(None), Ok(None)) => {
            forestalled.filter(|since| since.elapsed() > FORESTALLED_AFTER).map(|_| Ok(()))
        }
        (Err(error), _) | (_, Err(error)) => Some(Err(error)),
    };
    match wait::until(Instant::now() + ARMING_TIMEOUT, LOOK_INTERVAL, &mut arrival) {
        Some(Ok(())) => {}
        Some(Err(error)) => return Err(failed(&error)),
        None => return Err(told(&what, "the frame that arms it did not arrive".into())),
    }
    // The poll that delivered it ends right after.
    wait::until(Instant::now() + LOOK_INTERVAL, LOOK_INTERVAL, || None::<()>);
    Ok(())
}

/// Lets `device` go. What is in its ring is lost (`veth_napi_del()`). On kernels that stop the sender's queue when the
/// ring is full, it stays stopped: only a poll wakes it, and there is none any more.
///
/// # Errors
/// The kernel's refusal.
pub async fn let_go(bed: &Testbed, device: &DeviceRef) -> Result<(), OpError> {
    set_timer(bed, device, &format!("let {device} go"), "0", "0")?;
    links::set_xdp(bed, device, None, XdpMode::Driver).await
}

/// Whether a frame is the one that arms a held end: the lab's own, and none of the kernel's, which sends none of this protocol.
/// `head` is what is left of it.
pub(crate) fn is_arming_frame(protocol: u16, head: &[u8]) -> bool {
    let is_from_us = || head.get(6..12) == Some(&ARMING_SOURCE[..]);
    protocol == ARMING_ETHERTYPE || (head.starts_with(&ARMING_DESTINATION) && is_from_us())
}

fn set_timer(bed: &Testbed, device: &DeviceRef, what: &str, ns: &str, polls: &str) -> Result<(), OpError> {
    let namespace = bed.namespaces.get(&device.ns).map_err(|error| netns_error(what, &error))?;
    for (attribute, value) in [("gro_flush_timeout", ns), ("napi_defer_hard_irqs", polls)] {
        let file = format!("{}/{attribute}", device.name);
        namespace.write_sys_class_net(&file, value).map_err(|error| netns_error(what, &error))?;
    }
    Ok(())
}

fn all_that_arrives(ifindex: u32) -> io::Result<OwnedFd> {
    let socket = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
    sockopt::ignore_outgoing(&socket)?;
    Ok(socket)
}

fn send_arming_frame(ifindex: u32) -> io::Result<()> {
    let socket = sockopt::packet_socket(0, ifindex)?;
    // Past the queue: it may be one that drops.
    sockopt::qdisc_bypass(&socket)?;
    let mut frame = [0; ARMING_FRAME_BYTES];
    frame[..6].copy_from_slice(&ARMING_DESTINATION);
    frame[6..12].copy_from_slice(&ARMING_SOURCE);
    frame[12..14].copy_from_slice(&ARMING_ETHERTYPE.to_be_bytes());
    sockopt::send(&socket, &frame)
}

fn told(what: &str, text: String) -> OpError {
    OpError { what: what.into(), errno: None, text: Some(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arming_frame_is_known_with_and_without_its_header() {
        let mut frame = vec![0; ARMING_FRAME_BYTES];
        frame[..6].copy_from_slice(&ARMING_DESTINATION);
        frame[6..12].copy_from_slice(&ARMING_SOURCE);
        // The protocol may not be set yet, and the header may be off.
        assert!(is_arming_frame(0, &frame));
        assert!(is_arming_frame(ARMING_ETHERTYPE, &frame[14..]));
        frame[11] = 0;
        assert!(!is_arming_frame(0, &frame));
        assert!(!is_arming_frame(0x0806, &[0; 28]));
        assert!(!is_arming_frame(0, &[]));
    }
}
