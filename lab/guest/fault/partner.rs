//! A configurable LACP partner that sends its own LACPDUs: fast, slow or silent, in sync or never, with any key and system.
//!
//! The state of one that never comes into sync has activity and aggregation, and no synchronization: the port's mux machine stays in ATTACHED, no port of
//! the bond distributes, and `bond_3ad_xor_xmit()` has nowhere to send a frame (`bond_tx_drop()`).

use std::os::fd::OwnedFd;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::agent::guard::Guard;
use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses;
use crate::syscall::sockopt;
use bondlab_core::net::address::Mac;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::op::Op;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::fault::{Fault, PartnerScript, PartnerSends};

/// As often as a fast partner (IEEE 802.1AX, Fast_Periodic_Time).
const PERIOD: Duration = Duration::from_secs(1);
/// A trial is over before that.
const LACPDUS_MAX: u32 = 600;
/// IEEE 802.3 Slow_Protocols_Multicast.
const SLOW_PROTOCOLS: [u8; 6] = [0x01, 0x80, 0xc2, 0x00, 0x00, 0x02];
const SLOW_PROTOCOLS_ETHERTYPE: u16 = 0x8809;
/// A slow partner (Slow_Periodic_Time).
const SLOW_PERIOD: Duration = Duration::from_secs(30);
/// LACPDUs of a slow partner that come as fast ones do: by then the port believes it.
const FIRST: u32 = 3;
/// LACP_Activity and Aggregation; Synchronization, Collecting and Distributing are not set.
const NEVER_IN_SYNC: u8 = 0x05;
/// All of these.
const IN_SYNC: u8 = 0x3d;
/// Where a LACPDU has the sender's information and what the sender knows of the other side: system priority, system, key,
/// port priority, port, state.
const ACTOR: std::ops::Range<usize> = 18..33;
const PARTNER: std::ops::Range<usize> = 38..53;
/// The sender's state.
const STATE: usize = 32;
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

/// Starts to send from `peer`, the other end of the bond's port `device`. The first LACPDU has left when it returns, unless it is
/// to be silent.
///
/// # Errors
/// No socket at the peer, or it does not send.
pub async fn start(
    bed: &Testbed,
    device: &DeviceRef,
    peer: &DeviceRef,
    script: &PartnerScript,
) -> Result<Partner, OpError> {
    let mut frame = lacpdu(addresses::mac_of(bed, peer).await?, script);
    let socket = sink(bed, peer).await?;
    if script.sends == PartnerSends::Never {
        let (line, hung_up) = channel::<()>();
        // It takes what arrives, and keeps the socket until it is dropped.
        let thread = std::thread::spawn(move || {
            let _ = hung_up.recv();
            drop(socket);
        });
        return Ok(Partner { line: Some(line), thread: Some(thread) });
    }
    let is_slow = script.sends == PartnerSends::Slow;
    sockopt::send(&socket, &frame).map_err(|error| OpError {
        what: format!("be the LACP partner of {device}"),
        errno: None,
        text: Some(format!("LACPDU: {error}")),
    })?;
    let (line, hung_up) = channel::<()>();
    let flap_s = script.flap_s;
    let thread = std::thread::spawn(move || {
        for sent in 1..LACPDUS_MAX {
            let period = if is_slow && sent >= FIRST { SLOW_PERIOD } else { PERIOD };
            match hung_up.recv_timeout(period) {
                Err(RecvTimeoutError::Timeout) => {
                    hear(&socket, &mut frame);
                    if let Some(flap_s) = flap_s {
                        frame[STATE] = state_of(sent, flap_s);
                    }
                    // What a full queue refuses is a LACPDU that is lost, as of any partner.
                    drop(sockopt::send(&socket, &frame));
                }
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

/// Where somebody will be an LACP partner, LACPDUs are not frames without a receiver: also those before that.
///
/// # Errors
/// As [`sink`].
pub async fn take_lacpdus(bed: &mut Testbed, ops: &[Op]) -> Result<(), OpError> {
    for op in ops {
        if let Op::Inject { name, fault: Fault::Partner { peer, .. } } = op {
            let sink = sink(bed, peer).await?;
            bed.held.insert(format!("{name}, until it is there"), Guard::Descriptor(sink));
        }
    }
    Ok(())
}

/// Tells the other side what it has said last: only then does it believe that it is meant (`__choose_matched()`).
fn hear(socket: &OwnedFd, frame: &mut [u8; FRAME_BYTES]) {
    let mut heard = [0; 2 * FRAME_BYTES];
    while let Ok(Some(bytes)) = sockopt::receive(socket, &mut heard) {
        if bytes >= FRAME_BYTES && heard[12..16] == [0x88, 0x09, 1, 1] {
            frame[PARTNER].copy_from_slice(&heard[ACTOR]);
        }
    }
}

/// The state that a flapping partner has in its LACPDU of this number, from 0, one a second.
fn state_of(number: u32, flap_s: u16) -> u8 {
    if (number / u32::from(flap_s.max(1))).is_multiple_of(2) { IN_SYNC } else { NEVER_IN_SYNC }
}

fn lacpdu(source: Mac, script: &PartnerScript) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    frame[..6].copy_from_slice(&SLOW_PROTOCOLS);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&SLOW_PROTOCOLS_ETHERTYPE.to_be_bytes());
    let body = &mut frame[14..];
    body[..4].copy_from_slice(&[1, 1, 1, 20]); // LACP, version 1; actor information
    body[4..6].copy_from_slice(&0xffff_u16.to_be_bytes()); // system priority
    body[6..12].copy_from_slice(&script.system.unwrap_or(source).0); // system
    body[12..14].copy_from_slice(&script.key.unwrap_or(1).to_be_bytes()); // key
    body[14..16].copy_from_slice(&0xff_u16.to_be_bytes()); // port priority
    body[16..18].copy_from_slice(&1_u16.to_be_bytes()); // port
    body[STATE - 14] = if script.in_sync { IN_SYNC } else { NEVER_IN_SYNC };
    body[22..24].copy_from_slice(&[2, 20]); // partner information: it has received no LACPDU
    body[42..44].copy_from_slice(&[3, 16]); // collector information
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lacpdu_is_never_in_sync() {
        let frame = lacpdu(Mac([2, 0, 0x5e, 0, 0, 1]), &PartnerScript::default());
        assert_eq!(frame[..18], [1, 0x80, 0xc2, 0, 0, 2, 2, 0, 0x5e, 0, 0, 1, 0x88, 9, 1, 1, 1, 20]);
        assert_eq!(frame[32], 0x05);
        assert_eq!(frame[36..38], [2, 20]);
        assert_eq!(frame[56..58], [3, 16]);
    }

    #[test]
    fn a_flapping_partner_is_in_sync_and_out_of_it_in_turn() {
        let states: Vec<u8> = (0..7).map(|number| state_of(number, 2)).collect();
        assert_eq!(states, [0x3d, 0x3d, 0x05, 0x05, 0x3d, 0x3d, 0x05]);
    }

    #[test]
    fn a_script_decides_on_system_key_and_state() {
        let script = PartnerScript {
            in_sync: true,
            key: Some(0x1234),
            system: Some(Mac([2, 0, 0x5e, 0, 0, 9])),
            ..PartnerScript::default()
        };
        let frame = lacpdu(Mac([2, 0, 0x5e, 0, 0, 1]), &script);
        assert_eq!(frame[6..12], [2, 0, 0x5e, 0, 0, 1]);
        assert_eq!(frame[ACTOR], [0xff, 0xff, 2, 0, 0x5e, 0, 0, 9, 0x12, 0x34, 0, 0xff, 0, 1, 0x3d]);
    }
}
