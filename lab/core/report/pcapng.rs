//! Files of `lab run --pcap`: one pcapng for each end of the flows of a trial, as tcpdump and Wireshark read them.
//!
//! A file has one section (draft-ietf-opsawg-pcapng): the interface is the device, time stamps are in ns, each frame says whether the
//! device sent or received it, and the statistics at the end say what is missing.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::net::clean;
use crate::net::name::DeviceRef;
use crate::plan::Plan;
use crate::plan::op::Op;
use crate::plan::record::Record;
use crate::plan::tapped::{FRAME_BYTES_MAX, Missed, TappedFrame};
use crate::report::plural::s;

/// Block types.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const FRAME: u32 = 6;
/// Read as something else where the order of bytes is another one.
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
/// `LINKTYPE_ETHERNET`; of a tun or GRE tunnel `LINKTYPE_RAW`, packets of IPv4 and IPv6.
const ETHERNET: u16 = 1;
const RAW: u16 = 101;
/// Options of any block, and of an interface, a frame, the statistics.
const COMMENT: u16 = 1;
const SECTION_OS: u16 = 3;
const SECTION_APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_TIME: u16 = 9;
const FRAME_FLAGS: u16 = 2;
const STATISTICS_RECEIVED: u16 = 4;
const STATISTICS_LOST: u16 = 5;
/// Directions of a frame's flags.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;
/// Time stamps are in units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// What a file's name has of a trial's role, in characters.
const ROLE_CHARACTERS_MAX: usize = 60;

/// What one end of flows saw in one trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndFile {
    /// Without a folder; letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
    /// How many frames are in it.
    pub frames: usize,
    /// How many are not.
    pub missed: Missed,
}

/// The files of a run, by trial and device; `system` is the kernel that ran it.
#[must_use]
pub fn files(plan: &Plan, system: &str, records: &[Record]) -> Vec<EndFile> {
    let mut ends: IndexMap<(u16, &DeviceRef), (Vec<&TappedFrame>, Missed)> = IndexMap::new();
    for record in records {
        if let Record::Tapped { trial, device, frames, missed } = record {
            let (all, all_missed) = ends.entry((*trial, device)).or_default();
            all.extend(frames);
            all_missed.add(missed);
        }
    }
    let mut names = BTreeSet::new();
    let file = |((trial, device), (mut frames, missed)): ((u16, &DeviceRef), (Vec<&TappedFrame>, Missed))| {
        // A received frame is stamped before it waits for its softirq; another may be sent meanwhile.
        frames.sort_by_key(|frame| frame.ns);
        let role = plan.trials.get(usize::from(trial)).map(|trial| trial.role.to_string());
        let role = role.unwrap_or_default();
        let about = format!("{}, {role}: {device}", plan.topology);
        let bytes = encode(&about, system, (device, link_type(plan, trial, device)), &frames, &missed);
        let short: String = role.chars().take(ROLE_CHARACTERS_MAX).collect();
        let stem = file_stem(&format!("{trial:03}-{short}.{}.{}", device.ns, device.name));
        let same = (2..).map(|number| format!("{stem}-{number}"));
        let name = std::iter::once(stem.clone()).chain(same).find(|name| names.insert(name.clone()));
        EndFile { name: name.unwrap_or(stem) + ".pcapng", bytes, frames: frames.len(), missed }
    };
    ends.into_iter().map(file).collect()
}

/// What the frames of a device begin with.
fn link_type(plan: &Plan, trial: u16, device: &DeviceRef) -> u16 {
    let ops = plan.trials.get(usize::from(trial)).map(|trial| &trial.ops);
    let mut links = ops.into_iter().flatten().filter_map(|op| match op {
        Op::Create { link, .. } if link.device == *device => Some(link),
        _ => None,
    });
    if links.any(|link| !link.has_ethernet_header()) { RAW } else { ETHERNET }
}

/// A text as part of a file's name.
#[must_use]
pub fn file_stem(text: &str) -> String {
    let part = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    text.chars().map(part).collect()
}

fn encode(
    about: &str,
    system: &str,
    (device, link_type): (&DeviceRef, u16),
    frames: &[&TappedFrame],
    missed: &Missed,
) -> Vec<u8> {
    let mut section = Body::default();
    section.u32(BYTE_ORDER).u16(1).u16(0).u32(u32::MAX).u32(u32::MAX);
    section.text(COMMENT, about);
    section.text(SECTION_OS, &format!("Linux {system}"));
    section.text(SECTION_APPLICATION, concat!("bondlab ", env!("CARGO_PKG_VERSION")));
    let mut interface = Body::default();
    let snap = u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX);
    interface.u16(link_type).u16(0).u32(snap);
    interface.text(INTERFACE_NAME, &device.to_string());
    interface.option(INTERFACE_TIME, &[NANOSECONDS]);

    let mut file = Vec::new();
    section.close(SECTION, &mut file);
    interface.close(INTERFACE, &mut file);
    for frame in frames {
        let mut block = Body::default();
        block.u32(0).time(frame.ns);
        block.u32(u32::try_from(frame.bytes.0.len()).unwrap_or(u32::MAX)).u32(frame.len);
        block.padded(&frame.bytes.0);
        let flags = if frame.out { OUTBOUND } else { INBOUND };
        block.option(FRAME_FLAGS, &flags.to_le_bytes());
        block.close(FRAME, &mut file);
    }
    let mut statistics = Body::default();
    statistics.u32(0).time(frames.last().map_or(0, |frame| frame.ns));
    if let Some(text) = missing(missed) {
        statistics.text(COMMENT, &text);
    }
    let received = frames.len() as u64 + u64::from(missed.cut) + u64::from(missed.overrun);
    statistics.option(STATISTICS_RECEIVED, &received.to_le_bytes());
    statistics.option(STATISTICS_LOST, &u64::from(missed.overrun).to_le_bytes());
    statistics.close(STATISTICS, &mut file);
    file
}

/// What is missing, in words; nothing where all is there.
#[must_use]
pub fn missing(missed: &Missed) -> Option<String> {
    let mut parts = Vec::new();
    if missed.cut > 0 {
        parts.push(format!("cut: {} later frame{} did not fit", missed.cut, s(missed.cut)));
    }
    if missed.overrun > 0 {
        parts.push(format!(
            "the tap's own buffer was full for {} frame{}",
            missed.overrun,
            s(missed.overrun)
        ));
    }
    if let Some(why) = &missed.failed {
        parts.push(format!("the tap ended early: {}", clean::line(why)));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A block without its type and lengths.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    has_options: bool,
}

impl Body {
    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// The upper half comes first, whatever the order of bytes is.
    fn time(&mut self, ns: u64) -> &mut Self {
        let [upper, lower] = [ns >> 32, ns & u64::from(u32::MAX)];
        self.u32(u32::try_from(upper).unwrap_or(u32::MAX)).u32(u32::try_from(lower).unwrap_or(u32::MAX))
    }

    fn padded(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, value: &[u8]) {
        self.has_options = true;
        // Texts are cut before they get here.
        self.u16(code).u16(u16::try_from(value.len()).unwrap_or(u16::MAX));
        self.padded(value);
    }

    fn text(&mut self, code: u16, text: &str) {
        const CHARACTERS_MAX: usize = 1000;
        let text: String = text.chars().take(CHARACTERS_MAX).collect();
        self.option(code, text.as_bytes());
    }

    fn close(mut self, kind: u32, file: &mut Vec<u8>) {
        if self.has_options {
            self.u32(0);
        }
        let len = u32::try_from(self.bytes.len() + 12).unwrap_or(u32::MAX);
        file.extend(kind.to_le_bytes());
        file.extend(len.to_le_bytes());
        file.extend(self.bytes);
        file.extend(len.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lower::lower;
    use crate::plan::tapped::FrameBytes;
    use crate::topology::Topology;

    fn frame(ns: u64, out: bool, bytes: &[u8]) -> TappedFrame {
        let len = u32::try_from(bytes.len()).expect("it is short");
        TappedFrame { ns, out, len, bytes: FrameBytes(bytes.to_vec()) }
    }

    fn tapped(device: &str, frames: Vec<TappedFrame>, missed: Missed) -> Record {
        Record::Tapped { trial: 0, device: device.parse().expect("a device"), frames, missed }
    }

    fn plan() -> Plan {
        let topology = Topology::parse("t", "t.toml", "[ns.a.dummy.x]\n");
        lower(&topology.unwrap_or_else(|errors| panic!("{errors}")))
    }

    #[test]
    fn packets_of_a_tun_are_no_ethernet_frames() {
        let topology = Topology::parse("t", "t.toml", "[ns.a.dummy.x]\n[ns.a.tun.t]\n");
        let plan = lower(&topology.unwrap_or_else(|errors| panic!("{errors}")));
        let of = |device: &str| {
            let found = files(&plan, "6.12.57", &[tapped(device, Vec::new(), Missed::default())]);
            let blocks = blocks(&found[0].bytes);
            u16::from_le_bytes([blocks[1].1[0], blocks[1].1[1]])
        };
        assert_eq!((of("a:x"), of("a:t")), (ETHERNET, RAW));
    }

    /// The blocks, each with its two lengths checked.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        let mut blocks = Vec::new();
        while !bytes.is_empty() {
            let len = word(&bytes[4..]) as usize;
            assert_eq!((len % 4, word(&bytes[len - 4..]) as usize), (0, len));
            blocks.push((word(bytes), &bytes[8..len - 4]));
            bytes = &bytes[len..];
        }
        blocks
    }

    #[test]
    fn a_file_has_a_section_an_interface_each_frame_and_the_statistics() {
        let frames =
            vec![frame(0x1_0000_0002, true, &[1, 2, 3, 4, 5]), frame(0x1_0000_0003, false, &[9; 60])];
        let missed = Missed { cut: 2, overrun: 1, failed: None };
        let files = files(&plan(), "6.12.57", &[tapped("a:x", frames, missed)]);
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].name.as_str(), files[0].frames), ("000-main.a.x.pcapng", 2));
        let blocks = blocks(&files[0].bytes);
        assert_eq!(blocks.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [SECTION, 1, 6, 6, 5]);
        assert_eq!(
            blocks[0].1[..16],
            [0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(blocks[1].1[..8], [1, 0, 0, 0, 0, 8, 0, 0], "Ethernet, 2048 bytes of a frame");
        let sent = [
            [0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0].as_slice(),
            &[2, 0, 4, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        ];
        assert_eq!(blocks[2].1, sent.concat());
        let statistics = String::from_utf8_lossy(blocks[4].1).into_owned();
        assert!(statistics.contains("2 later frames did not fit; the tap's own buffer was full for 1 frame"));
    }

    #[test]
    fn records_of_one_end_make_one_file_and_names_are_safe_and_different() {
        let records = [
            tapped("a:x", vec![frame(1, true, &[0; 20])], Missed::default()),
            tapped("a:\u{1b}[", vec![], Missed::default()),
            tapped("a:x", vec![frame(2, true, &[0; 20])], Missed { cut: 1, ..Missed::default() }),
            tapped("a:__", vec![], Missed::default()),
        ];
        let files = files(&plan(), "6.12.57", &records);
        let of = |file: &EndFile| (file.name.clone(), file.frames, file.missed.cut);
        let expected = [("000-main.a.x", 2, 1), ("000-main.a.__", 0, 0), ("000-main.a.__-2", 0, 0)];
        let expected = expected.map(|(stem, frames, cut)| (format!("{stem}.pcapng"), frames, cut));
        assert_eq!(files.iter().map(of).collect::<Vec<_>>(), expected);
    }
}
