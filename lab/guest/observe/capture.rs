//! Counts frames of one kind that arrive at a device.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use indexmap::IndexMap;

use crate::agent::testbed::{Testbed, netns_error};
use crate::device::addresses;
use crate::syscall::sockopt;
use bondlab_core::net::frame_class::Filter;
use bondlab_core::plan::FlowPlan;
use bondlab_core::plan::record::OpError;
use bondlab_core::topology::scenario::Capture;

/// Room for what arrives between two looks, the lab's own frames included.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;
/// Longest part of a frame that is looked at.
const FRAME_HEAD_BYTES: usize = 128;

/// Watches one device.
pub struct Tap {
    socket: OwnedFd,
    filter: Filter,
    count: u64,
    overrun: u32,
}

impl Tap {
    /// Starts to watch. Must run in the device's namespace. A tap sees a frame before a bond takes it off its port
    /// (`__netif_receive_skb_core()`: ptype_all before rx_handler), and with its tag: the outermost one in the skb's metadata
    /// (`skb_vlan_untag()`), which PACKET_AUXDATA tells.
    ///
    /// # Errors
    /// When a socket call fails.
    pub fn open(filter: Filter, ifindex: u32) -> io::Result<Self> {
        let socket = sockopt::packet_socket(libc::ETH_P_ALL as u16, ifindex)?;
        sockopt::ignore_outgoing(&socket)?;
        sockopt::tell_tags(&socket)?;
        sockopt::receive_buffer(&socket, RECEIVE_BUFFER_BYTES)?;
        Ok(Self { socket, filter, count: 0, overrun: 0 })
    }

    /// Looks at everything that has arrived.
    ///
    /// # Errors
    /// When the socket fails. A device that went down is no failure.
    pub fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; FRAME_HEAD_BYTES];
        loop {
            match sockopt::receive_tagged(&self.socket, &mut buffer) {
                Ok(Some((len, tag))) => {
                    let head = &buffer[..len.min(FRAME_HEAD_BYTES)];
                    self.count += u64::from(self.filter.counts(head, tag));
                }
                Ok(None) => break,
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) => return Err(error),
            }
        }
        self.overrun += sockopt::packet_overrun(&self.socket)?;
        Ok(())
    }

    /// Frames of the kind so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Frames, of any kind, that the socket itself lost.
    pub fn overrun(&self) -> u32 {
        self.overrun
    }
}

/// Starts the capture of a topology.
///
/// # Errors
/// The device is not there, or a socket call fails.
pub async fn start(bed: &Testbed, capture: &Capture, flows: &[FlowPlan]) -> Result<Tap, OpError> {
    let index = bed.index(&capture.device).await?;
    let what = format!("capture {}", capture.name);
    let src_mac = match &capture.src_mac {
        Some(source) => Some(addresses::mac_from(bed, source).await?),
        None => None,
    };
    let number = |name: &String| flows.iter().position(|plan| plan.flow.name == *name);
    let flow = capture.flow.as_ref().and_then(number).and_then(|number| u16::try_from(number).ok());
    let Capture { what: class, vlan, src_ip, pcp, dscp, ecn, .. } = *capture;
    let open = || Tap::open(Filter { class, vlan, src_mac, src_ip, pcp, dscp, ecn, flow }, index);
    let tap = bed.namespaces.enter(&capture.device.ns, open).map_err(|error| netns_error(&what, &error))?;
    tap.map_err(|error| OpError { what, errno: None, text: Some(error.to_string()) })
}

/// What all have counted so far, by name.
///
/// # Errors
/// A tap cannot be read.
pub fn count(captures: &mut IndexMap<String, Tap>) -> Result<BTreeMap<String, u64>, OpError> {
    let count = |(name, tap): (&String, &mut Tap)| -> io::Result<(String, u64)> {
        tap.drain()?;
        Ok((name.clone(), tap.count()))
    };
    captures.iter_mut().map(count).collect::<Result<_, _>>().map_err(|error| OpError {
        what: "read a capture".into(),
        errno: None,
        text: Some(error.to_string()),
    })
}
