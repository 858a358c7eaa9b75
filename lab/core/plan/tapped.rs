//! Frames that both ends of a flow saw, as they cross from guest to host (`--pcap`), and how much of them is kept.
//!
//! They are bounded: by [`FRAME_BYTES_MAX`] each, by [`END_BYTES_MAX`] for an end in a trial, and by [`RUN_BYTES_MAX`] for all ends
//! of a run. What is over a bound is counted and not kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::net::name::DeviceRef;
use crate::plan::Plan;
use crate::plan::op::Op;

/// The longest part of a frame that is kept, in bytes: more than the longest probe with two tags. Segments of TCP that a driver
/// is to divide (GSO) are longer.
pub const FRAME_BYTES_MAX: usize = 2048;

/// What an end keeps in one trial, in bytes.
pub const END_BYTES_MAX: usize = 4 << 20;

/// What all ends of a run keep, in bytes: the host holds it until the run ends.
pub const RUN_BYTES_MAX: usize = 64 << 20;

/// What a frame counts beside its bytes: as much as a block of a pcapng file has.
pub const FRAME_OVERHEAD_BYTES: usize = 32;

/// Frames of one record, in bytes.
pub const RECORD_BYTES: usize = 64 << 10;

/// One frame at one end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TappedFrame {
    /// When the kernel saw it, in ns since 1970 by the guest's clock (CLOCK_REALTIME).
    pub ns: u64,
    /// Whether the device was sending it.
    pub out: bool,
    /// Its length in bytes, of which `bytes` may be a part.
    pub len: u32,
    /// From the Ethernet header on, with the tag that the kernel keeps beside the frame.
    pub bytes: FrameBytes,
}

impl TappedFrame {
    /// What it counts of a bound.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.0.len() + FRAME_OVERHEAD_BYTES
    }
}

/// Bytes of a frame; in a record they are base64.
#[derive(Clone, PartialEq, Eq)]
pub struct FrameBytes(pub Vec<u8>);

impl fmt::Debug for FrameBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(&self.0))
    }
}

impl Serialize for FrameBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for FrameBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(D::Error::custom(format!("a frame of more than {FRAME_BYTES_MAX} bytes")));
        }
        Ok(Self(bytes))
    }
}

/// Frames that an end saw or should have seen and that are not kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missed {
    /// Over the bound.
    #[serde(default)]
    pub cut: u32,
    /// Lost by the tap's own socket (PACKET_STATISTICS).
    #[serde(default)]
    pub overrun: u32,
    /// Why the tap ended early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Missed {
    /// Whether nothing is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was missed later.
    pub fn add(&mut self, later: &Self) {
        self.cut = self.cut.saturating_add(later.cut);
        self.overrun = self.overrun.saturating_add(later.overrun);
        self.failed = self.failed.take().or_else(|| later.failed.clone());
    }
}

impl Plan {
    /// The devices at either end of what a trial sends, each once.
    #[must_use]
    pub fn ends(&self, trial: u16) -> Vec<&DeviceRef> {
        let mut ends: Vec<&DeviceRef> = Vec::new();
        let ops = self.trials.get(usize::from(trial)).into_iter().flat_map(|trial| &trial.ops);
        for op in ops {
            let Op::Flood { flow, .. } = op else { continue };
            let Some(flow) = self.flows.get(usize::from(*flow)) else { continue };
            for end in [&flow.flow.from, &flow.flow.to] {
                if !ends.contains(&end) {
                    ends.push(end);
                }
            }
        }
        ends
    }

    /// What an end may keep in one trial, in bytes; nothing without `--pcap`.
    #[must_use]
    pub fn tapped_bytes_max(&self) -> usize {
        let taps = if self.options.pcap { self.all_ends() } else { 0 };
        RUN_BYTES_MAX.checked_div(taps).unwrap_or(0).min(END_BYTES_MAX)
    }

    /// Records of frames that a run may have, and bytes of their lines.
    pub(crate) fn tapped_bounds(&self) -> (usize, u64) {
        let (taps, bytes) = (self.all_ends(), self.tapped_bytes_max());
        if bytes == 0 {
            return (0, 0);
        }
        // A record is closed by the frame that fills it.
        let records = taps * (bytes / RECORD_BYTES + 2);
        // Base64 makes 4 bytes of 3, and a frame's other fields have under 64.
        (records, taps as u64 * bytes as u64 * 2)
    }

    fn all_ends(&self) -> usize {
        (0..).take(self.trials.len()).map(|trial| self.ends(trial).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunOptions;
    use crate::plan::bounds::Bounds;
    use crate::plan::lower::lower_with;
    use crate::plan::record::Record;
    use crate::topology::Topology;

    const TEXT: &str = r#"
[ns.a.veth.p]
peer = "b:p"
addresses = ["192.0.2.1/24"]
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[flow.there]
from = "a:p"
to = "b:p"
frames = 3
[flow.back]
from = "b:p"
to = "a:p"
frames = 3
[[step]]
flood = "there"
[[step]]
flood = "back"
"#;

    fn plan(pcap: bool) -> Plan {
        let topology = Topology::parse("t", "t.toml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
        lower_with(&topology, &RunOptions { pcap, ..RunOptions::default() })
    }

    fn frame(len: usize) -> TappedFrame {
        let len_u32 = u32::try_from(len).expect("it is short");
        TappedFrame { ns: u64::MAX, out: false, len: len_u32, bytes: FrameBytes(vec![0xff; len]) }
    }

    #[test]
    fn a_device_is_an_end_once_and_all_ends_share_the_bound_of_a_run() {
        let ends: Vec<String> = plan(true).ends(0).into_iter().map(ToString::to_string).collect();
        assert_eq!(ends, ["a:p", "b:p"]);
        assert_eq!(plan(true).tapped_bytes_max(), END_BYTES_MAX);
        assert_eq!(plan(true).repeated(25).tapped_bytes_max(), RUN_BYTES_MAX / 50);
        assert_eq!(plan(false).tapped_bytes_max(), 0);
    }

    #[test]
    fn the_bounds_of_a_run_hold_for_the_smallest_and_the_longest_frames() {
        let plan = plan(true);
        let (records, bytes) = plan.tapped_bounds();
        let without = Bounds::of(&Plan { options: RunOptions::default(), ..plan.clone() });
        assert_eq!(Bounds::of(&plan).records, without.records + records);
        for len in [0, 14, 60, 1514, FRAME_BYTES_MAX] {
            let line = serde_json::to_string(&frame(len)).expect("plain data").len() + 1;
            let frames = plan.tapped_bytes_max() / frame(len).size();
            assert!((frames * line) as u64 * 2 <= bytes, "{len}: {line} bytes a line");
        }
    }

    #[test]
    fn a_frame_crosses_as_base64_and_one_that_is_too_long_is_refused() {
        let record = Record::Tapped {
            trial: 0,
            device: "a:p".parse().expect("it is one"),
            frames: vec![TappedFrame { ns: 7, out: true, len: 3, bytes: FrameBytes(vec![0, 0xff, 0x10]) }],
            missed: Missed { cut: 1, ..Missed::default() },
        };
        let line = serde_json::to_string(&record).expect("plain data");
        assert!(line.contains(r#"{"ns":7,"out":true,"len":3,"bytes":"AP8Q"}"#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).expect("it is one"), record);
        let long = serde_json::to_string(&frame(FRAME_BYTES_MAX + 1)).expect("plain data");
        assert!(serde_json::from_str::<TappedFrame>(&long).is_err());
    }
}
