//! Keeps what the devices at both ends of flows send and receive (`--pcap`).
//!
//! A tap sees what tcpdump on the device would: outgoing frames in `dev_queue_xmit_nit()`, so after the device's own queueing
//! discipline, and incoming ones in `__netif_receive_skb_core()`. It decides nothing: what it misses is said, and no account
//! changes.

use std::os::fd::OwnedFd;

use indexmap::IndexMap;

use crate::agent::testbed::Testbed;
use crate::syscall::sockopt;
use crate::syscall::stamped;
use crate::syscall::stamped::Stamped;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::Plan;
use bondlab_core::plan::record::Record;
use bondlab_core::plan::tapped::{FRAME_BYTES_MAX, FrameBytes, Missed, RECORD_BYTES, TappedFrame};

/// Room for what is sent and received between two looks. A clone that does not fit is freed as lost (`packet_rcv()`), which the
/// drop observer would see: as much as the receivers have.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;

/// The tag goes behind both addresses.
const TAG_OFFSET: usize = 12;

/// The taps of a trial; none unless they were asked for.
#[derive(Debug, Default)]
pub struct EndTaps {
    ends: IndexMap<DeviceRef, EndTap>,
    /// Room of each end, in bytes.
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct EndTap {
    /// The socket, and the number of the device that it listens to.
    socket: Option<(OwnedFd, u32)>,
    frames: Vec<TappedFrame>,
    bytes: usize,
    missed: Missed,
}

impl EndTaps {
    /// Of one trial of a plan; no socket is open yet.
    pub fn of(plan: &Plan, trial: u16) -> Self {
        let bytes_max = plan.tapped_bytes_max();
        if bytes_max == 0 {
            return Self::default();
        }
        let ends = plan.ends(trial).into_iter().map(|end| (end.clone(), EndTap::default())).collect();
        Self { ends, bytes_max }
    }

    /// Listens to each device that is there and is not listened to: it may have been made anew.
    pub async fn open(&mut self, bed: &Testbed) {
        for (device, tap) in &mut self.ends {
            let Ok(index) = bed.index(device).await else { continue };
            if tap.socket.as_ref().is_some_and(|(_, listened)| *listened == index) {
                continue;
            }
            tap.drain(self.bytes_max);
            let open = || stamped::open(index, RECEIVE_BUFFER_BYTES);
            match bed.namespaces.enter(&device.ns, open) {
                Ok(Ok(socket)) => tap.socket = Some((socket, index)),
                Ok(Err(error)) => tap.fail(&error),
                Err(error) => tap.fail(&error),
            }
        }
    }

    /// Takes everything that was sent and received.
    pub fn drain(&mut self) {
        self.ends.values_mut().for_each(|tap| tap.drain(self.bytes_max));
    }

    /// What was kept, as records of a bounded size.
    pub fn take(&mut self, trial: u16) -> Vec<Record> {
        self.drain();
        let mut records = Vec::new();
        for (device, tap) in &mut self.ends {
            tap.socket = None;
            let mut missed = std::mem::take(&mut tap.missed);
            let mut rest = std::mem::take(&mut tap.frames).into_iter().peekable();
            loop {
                let (mut frames, mut bytes) = (Vec::new(), 0);
                while let Some(frame) = rest.next_if(|_| bytes < RECORD_BYTES) {
                    bytes += frame.size();
                    frames.push(frame);
                }
                let missed = std::mem::take(&mut missed);
                records.push(Record::Tapped { trial, device: device.clone(), frames, missed });
                if rest.peek().is_none() {
                    break;
                }
            }
        }
        records
    }
}

impl EndTap {
    fn drain(&mut self, bytes_max: usize) {
        let Some((socket, index)) = self.socket.take() else { return };
        let mut buffer = [0; FRAME_BYTES_MAX];
        loop {
            match stamped::receive(&socket, &mut buffer) {
                Ok(Some(stamped)) => self.keep(&buffer, stamped, bytes_max),
                Ok(None) => break,
                // A device that went down or away is no failure, and is said once (`packet_notifier()`).
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) => return self.fail(&error),
            }
        }
        match sockopt::packet_overrun(&socket) {
            Ok(overrun) => self.missed.overrun = self.missed.overrun.saturating_add(overrun),
            Err(error) => return self.fail(&error),
        }
        self.socket = Some((socket, index));
    }

    fn keep(&mut self, buffer: &[u8], stamped: Stamped, bytes_max: usize) {
        let frame = tapped(&buffer[..stamped.len.min(buffer.len())], stamped);
        // What comes after the first one that did not fit is not kept either: a file has no holes.
        if self.missed.cut > 0 || self.bytes + frame.size() > bytes_max {
            self.missed.cut = self.missed.cut.saturating_add(1);
            return;
        }
        self.bytes += frame.size();
        self.frames.push(frame);
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        self.missed.failed.get_or_insert(error.to_string());
    }
}

/// A frame with its tag, as it would be on a wire.
fn tapped(bytes: &[u8], stamped: Stamped) -> TappedFrame {
    let mut bytes = bytes.to_vec();
    let mut len = stamped.len;
    if let Some(tag) = stamped.tag.filter(|_| bytes.len() >= TAG_OFFSET) {
        let [t0, t1] = tag.tpid.to_be_bytes();
        let [c0, c1] = tag.tci.to_be_bytes();
        bytes.splice(TAG_OFFSET..TAG_OFFSET, [t0, t1, c0, c1]);
        len += 4;
    }
    bytes.truncate(FRAME_BYTES_MAX);
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    TappedFrame { ns: stamped.ns, out: stamped.is_outgoing, len, bytes: FrameBytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::stamped::Tag;

    fn stamped(len: usize, tag: Option<Tag>) -> Stamped {
        Stamped { len, ns: 5, is_outgoing: true, tag }
    }

    #[test]
    fn a_tag_beside_the_frame_is_put_into_it() {
        let tag = Tag { tpid: 0x88a8, tci: 0x6046 };
        let frame = tapped(&[7; 14], stamped(14, Some(tag)));
        assert_eq!(frame.len, 18);
        assert_eq!(frame.bytes.0[10..], [7, 7, 0x88, 0xa8, 0x60, 0x46, 7, 7]);
        let long = tapped(&[7; FRAME_BYTES_MAX], stamped(60_000, Some(tag)));
        assert_eq!((long.len, long.bytes.0.len()), (60_004, FRAME_BYTES_MAX));
    }

    #[test]
    fn an_end_keeps_the_first_frames_and_counts_the_others() {
        let mut tap = EndTap::default();
        let bytes_max = 2 * tapped(&[7; 100], stamped(100, None)).size();
        for len in [100, 100, 100, 1] {
            tap.keep(&[7; 100], stamped(len, None), bytes_max);
        }
        assert_eq!((tap.frames.len(), tap.missed.cut), (2, 2), "the short one would have fitted");
    }

    #[test]
    fn records_of_an_end_have_a_bounded_size_and_one_that_saw_nothing_says_so() {
        let device = |text: &str| text.parse::<DeviceRef>().expect("it is one");
        let mut taps = EndTaps::default();
        let mut tap = EndTap { missed: Missed { cut: 3, ..Missed::default() }, ..EndTap::default() };
        tap.frames = (0..100).map(|_| tapped(&[7; 1500], stamped(1500, None))).collect();
        taps.ends.insert(device("a:p"), tap);
        taps.ends.insert(device("b:p"), EndTap::default());
        let records = taps.take(4);
        let parts: Vec<(String, usize, u32)> = records
            .iter()
            .map(|record| match record {
                Record::Tapped { trial: 4, device, frames, missed } => {
                    (device.to_string(), frames.len(), missed.cut)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let part = |device: &str, frames, cut| (device.to_owned(), frames, cut);
        assert_eq!(parts, [part("a:p", 43, 3), part("a:p", 43, 0), part("a:p", 14, 0), part("b:p", 0, 0)]);
        assert!(taps.ends.values().all(|tap| tap.frames.is_empty()));
    }
}
