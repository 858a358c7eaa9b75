//! An LACP partner that never comes into sync: once a second it says so in a LACPDU of its own.
//!
//! Its state has activity and aggregation, and no synchronization: the port's mux machine stays in ATTACHED, no port of
//! the bond distributes, and `bond_3ad_xor_xmit()` has nowhere to send a frame (`bond_tx_drop()`).

use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses;
use crate::syscall::sockopt;
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

/// As often as a fast partner (IEEE 802.1AX, Fast_Periodic_Time).
const PERIOD: Duration = Duration::from_secs(1);
/// A trial is over before that.
const LACPDUS_MAX: u32 = 600;
/// IEEE 802.3 Slow_Protocols_Multicast.
const SLOW_PROTOCOLS: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x02];
const SLOW_PROTOCOLS_ETHERTYPE: u16 = 0x8809;
/// LACP_Activity and Aggregation; Synchronization, Collecting and Distributing are not set.
const NEVER_IN_SYNC: u8 = 0x05;
/// Ethernet header and LACPDU (IEEE 802.1AX, 6.4.2.3).
const FRAME_BYTES: usize = 14 + 110;

/// Sends until it is dropped, or [`LACPDUS_MAX`] times.
#[derive(Debug)]
pub struct Partner {
    /// Hanging up wakes the thread, which ends.
    line: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.line = None;
        if let Some(thread) = self.thread.take() {
            // It only sends: a panic of it would be one of the library's.
            let _ = thread.join();
        }
    }
}

/// Starts to send from `peer`, the other end of the bond's port `device`. The first LACPDU has left when it returns.
///
/// # Errors
/// No socket at the peer, or it does not send.
pub async fn start(bed: &Testbed, device: &DeviceRef, peer: &DeviceRef) -> Result<Partner, OpError> {
    let frame = lacpdu(addresses::mac_of(bed, peer).await?);
    let socket = sink(bed, peer).await?;
    sockopt::send(&socket, &frame).map_err(|error| OpError {
        what: format!("be the LACP partner of {device}"),
        errno: None,
        text: Some(format!("LACPDU: {error}")),
    })?;
    let (line, hung_up) = channel::<()>();
    let thread = std::thread::spawn(move || {
        for _ in 1..LACPDUS_MAX {
            match hung_up.recv_timeout(PERIOD) {
                // What a full queue refuses is a LACPDU that is lost, as of any partner.
                Err(RecvTimeoutError::Timeout) => drop(sockopt::send(&socket, &frame)),
                _ => return,
            }
        }
    });
    Ok(Partner { line: Some(line), thread: Some(thread) })
}

/// Takes the LACPDUs that arrive at a device, which would else count as dropped there (rx_dropped): the bond sends one
/// each second, whether somebody is its partner already or not.
///
/// # Errors
/// No such device, or no socket at it.
pub async fn sink(bed: &Testbed, peer: &DeviceRef) -> Result<OwnedFd, OpError> {
    let what = format!("take the LACPDUs at {peer}");
    let index = bed.index(peer).await?;
    let open = || sockopt::packet_socket(SLOW_PROTOCOLS_ETHERTYPE, index);
    let opened = bed.namespaces.enter(&peer.ns, open).map_err(|error| netns_error(&what, &error))?;
    opened.map_err(|error| OpError { what, errno: None, text: Some(error.to_string()) })
}

fn lacpdu(source: Mac) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&SLOW_PROTOCOLS);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&SLOW_PROTOCOLS_ETHERTYPE.to_be_bytes());
    let body = &mut frame[14..];
    body[..4].copy_from_slice(&[1, 1, 1, 20]); // LACP, version 1; actor information
    body[4..6].copy_from_slice(&0xffff_u16.to_be_bytes()); // system priority
    body[6..12].copy_from_slice(&source.0); // system
    body[12..14].copy_from_slice(&1_u16.to_be_bytes()); // key
    body[14..16].copy_from_slice(&0xff_u16.to_be_bytes()); // port priority
    body[16..18].copy_from_slice(&1_u16.to_be_bytes()); // port
    body[18] = NEVER_IN_SYNC;
    body[22..24].copy_from_slice(&[2, 20]); // partner information: it has heard nobody
    body[42..44].copy_from_slice(&[3, 16]); // collector information
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lacpdu_is_never_in_sync() {
        let frame = lacpdu(Mac([2, 0, 0x5e, 0, 0, 1]));
        assert_eq!(frame[..18], [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0x5e, 0, 0, 1, 0x88, 9, 1, 1, 1, 20]);
        assert_eq!(frame[32], 0x05);
        assert_eq!(frame[36..38], [2, 20]);
        assert_eq!(frame[56..58], [3, 16]);
    }
}
