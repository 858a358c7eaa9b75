//! `lab run --pcap`: files that a reader of pcapng understands, with the frames that the account speaks of; and an account that
//! does not know whether somebody kept the frames.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use bondlab_core::net::probe::Probe;
use libtest_mimic::Trial;

use crate::lab_run::{assert_same, document, output_with, without_times};
use crate::machine::{self, trial};
use crate::{KERNEL, flagship, gallery_folder};

/// Echo requests into a queue that is held under each explanation, frames that the far end has no VLAN for, and TCP.
pub fn trials() -> Vec<Trial> {
    let pin = || machine::pins(KERNEL).remove(0);
    let gallery = gallery_folder();
    [flagship(), gallery.join("causes/gateway-lacks-vlan.toml"), gallery.join("tcp-way-cut.toml")]
        .into_iter()
        .map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            trial(format!("pcap/{name}"), pin(), move |_, _| keeps_frames_and_changes_nothing(&path))
        })
        .collect()
}

fn keeps_frames_and_changes_nothing(topology: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, without) = output_with(topology, KERNEL, &[]);
    let to = folder.path().join("new");
    let (_, with) = output_with(topology, KERNEL, &["--pcap", &to.to_string_lossy()]);
    let [without, with] = [without, with].map(|text| without_times(document(&text).expect("a document")));
    assert_same(&without, &with, "the document without --pcap | with it");

    let mut sent_somewhere = 0;
    for flow in with["flows"].as_array().expect("flows") {
        let end = |key: &str| {
            let device = flow[key].as_str().expect("a device").replace(':', ".");
            let find = |entry: std::io::Result<std::fs::DirEntry>| {
                let path = entry.expect("it can be read").path();
                let name = path.file_name()?.to_string_lossy().into_owned();
                (name.starts_with("000-") && name.ends_with(&format!(".{device}.pcapng"))).then_some(path)
            };
            let found = std::fs::read_dir(&to).expect("the lab made it").find_map(find);
            found.unwrap_or_else(|| panic!("no file of {device}"))
        };
        let (from, at) = (Pcapng::read(&end("from")), Pcapng::read(&end("to")));
        assert_eq!(from.device, flow["from"].as_str().expect("a device"));
        let numbers = |file: &Pcapng, out: bool| -> BTreeSet<(u16, u32)> {
            let probe =
                |frame: &Frame| (frame.out == out).then(|| Probe::parse_frame(&frame.bytes)).flatten();
            file.frames.iter().filter_map(probe).map(|probe| (probe.flow, probe.sequence)).collect()
        };
        if flow["socket"] != "tcp" {
            let (sent, seen) = (numbers(&from, true), numbers(&at, false));
            let count = |key: &str| flow[key].as_u64().expect("a number");
            assert!(sent.len() as u64 >= count("sent"), "{} of {flow:#}", sent.len());
            assert!(seen.len() as u64 >= count("delivered"), "{} of {flow:#}", seen.len());
            assert!(seen.iter().all(|number| sent.contains(number)), "what arrives was sent");
        }
        sent_somewhere += from.frames.iter().filter(|frame| frame.out).count();
        tcpdump_reads(&end("from"), from.frames.len());
    }
    assert!(sent_somewhere > 0, "nothing was sent");
}

/// Where tcpdump is installed it finds as many frames.
fn tcpdump_reads(path: &Path, frames: usize) {
    let Ok(output) = Command::new("tcpdump").args(["-nn", "-r"]).arg(path).output() else {
        eprintln!("tcpdump is not installed: only this test has read {}", path.display());
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lines =
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.starts_with('\t')).count();
    assert_eq!(lines, frames, "{said}");
}

struct Frame {
    out: bool,
    bytes: Vec<u8>,
}

/// What a file of one section and one interface has (draft-ietf-opsawg-pcapng), in the order of bytes of this machine.
struct Pcapng {
    device: String,
    frames: Vec<Frame>,
}

impl Pcapng {
    fn read(path: &Path) -> Self {
        let file = std::fs::read(path).expect("it can be read");
        let mut rest = file.as_slice();
        let (mut device, mut frames, mut last) = (None, Vec::new(), 0);
        let mut kinds = Vec::new();
        while !rest.is_empty() {
            let len = word(rest, 4) as usize;
            assert_eq!((len % 4, word(rest, len - 4) as usize), (0, len), "both lengths of a block");
            let (kind, body) = (word(rest, 0), &rest[8..len - 4]);
            kinds.push(kind);
            match kind {
                0x0a0d_0d0a => assert_eq!((word(body, 0), half(body, 4)), (0x1a2b_3c4d, 1)),
                1 => {
                    assert_eq!(half(body, 0), 1, "LINKTYPE_ETHERNET");
                    assert_eq!(option(&body[8..], 9), Some([9].as_slice()), "ns");
                    let name = option(&body[8..], 2).expect("if_name");
                    device = Some(String::from_utf8(name.to_vec()).expect("text"));
                }
                6 => {
                    let ns = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
                    assert!(ns > 1_500_000_000_000_000_000, "a guest's clock is right to some years: {ns}");
                    assert!(ns >= last, "frames are in the order of their times");
                    last = ns;
                    let kept = word(body, 12) as usize;
                    assert!(kept <= word(body, 16) as usize);
                    let flags = option(&body[20 + kept.next_multiple_of(4)..], 2).expect("epb_flags");
                    frames.push(Frame { out: word(flags, 0) & 3 == 2, bytes: body[20..20 + kept].to_vec() });
                }
                5 => assert_eq!(option(&body[12..], 5), Some([0; 8].as_slice()), "the tap lost nothing"),
                other => panic!("block {other:#x}"),
            }
            rest = &rest[len..];
        }
        assert_eq!((kinds.first(), kinds.get(1), kinds.last()), (Some(&0x0a0d_0d0a), Some(&1), Some(&5)));
        Self { device: device.expect("an interface"), frames }
    }
}

/// The first option of a code.
fn option(mut options: &[u8], code: u16) -> Option<&[u8]> {
    while options.len() >= 4 && half(options, 0) != 0 {
        let len = usize::from(half(options, 2));
        if half(options, 0) == code {
            return Some(&options[4..4 + len]);
        }
        options = &options[4 + len.next_multiple_of(4)..];
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
