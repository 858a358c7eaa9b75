//! `ethtool`, `ethtool -i`, `-k` and `-S`.

use crate::import::model::{Kind, Model};
use crate::import::text::{Line, command};
use crate::net::name::IfName;

/// Counters of one driver that are read.
const COUNTERS_MAX: usize = 8;
/// Features of one device that are read.
const FEATURES_MAX: usize = 12;

/// Drivers that say what a device is, and are no NIC's.
const VIRTUAL: [&str; 12] = [
    "bonding",
    "802.1Q VLAN Support",
    "bridge",
    "tun",
    "veth",
    "dummy",
    "macvlan",
    "ipvlan",
    "team",
    "vxlan",
    "openvswitch",
    "vrf",
];

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    None,
    Settings,
    Driver,
    Features,
    Statistics,
}

#[derive(Default)]
struct Reader {
    device: Option<String>,
    part: Part,
    /// Of the part that is being read: counters that are not zero, or features that are off.
    listed: Vec<String>,
    more: usize,
}

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for line in lines {
        if line.begins {
            reader.close(model);
            reader = Reader::default();
            if let Some(words) = command(line.text) {
                if words[0] == "ethtool" {
                    reader.asked(&words, line.number, model);
                }
                continue;
            }
        }
        reader.line(line.text.trim(), line.number, model);
    }
    reader.close(model);
}

impl Reader {
    fn asked(&mut self, words: &[&str], number: usize, model: &mut Model) {
        let device = words[1..].iter().find(|word| !word.starts_with('-'));
        let Some(device) = device.filter(|word| word.parse::<IfName>().is_ok()) else { return };
        self.device = Some((*device).to_owned());
        let flag = words[1..].iter().find(|word| word.starts_with('-')).copied();
        self.part = match flag {
            Some("-i" | "--driver") => Part::Driver,
            Some("-k" | "--show-features" | "--show-offload") => Part::Features,
            Some("-S" | "--statistics") => Part::Statistics,
            None => Part::Settings,
            Some(_) => Part::None,
        };
        if self.part != Part::None {
            model.found("ethtool", number);
        }
    }

    fn line(&mut self, text: &str, number: usize, model: &mut Model) {
        for (begin, part) in [("Settings for ", Part::Settings), ("Features for ", Part::Features)] {
            if let Some(name) = text.strip_prefix(begin).and_then(|rest| rest.strip_suffix(':')) {
                self.close(model);
                let is_device = name.parse::<IfName>().is_ok();
                *self = Self { device: is_device.then(|| name.to_owned()), part, ..Self::default() };
                model.found("ethtool", number);
                return;
            }
        }
        if text == "NIC statistics:" {
            self.part = Part::Statistics;
            return;
        }
        let (Some(device), Some((key, value))) = (self.device.clone(), text.split_once(':')) else { return };
        let (key, value) = (key.trim(), value.trim());
        match self.part {
            Part::Settings => settings(&device, key, value, model),
            Part::Driver => driver(&device, key, value, model),
            Part::Features => self.feature(key, value),
            Part::Statistics => self.counter(&device, key, value, model),
            Part::None => {}
        }
    }

    fn list(&mut self, word: String, max: usize) {
        if self.listed.len() < max {
            self.listed.push(word);
        } else {
            self.more += 1;
        }
    }

    /// What is off though it could be on; and what segmentation and VLAN tags go through.
    fn feature(&mut self, key: &str, value: &str) {
        if value == "off" || value.starts_with("off [requested on]") {
            self.list(key.to_owned(), FEATURES_MAX);
        }
    }

    fn counter(&mut self, device: &str, key: &str, value: &str, model: &mut Model) {
        let Some(number) = value.parse::<u64>().ok().filter(|number| *number > 0) else { return };
        let lower = key.to_lowercase();
        let words = ["drop", "err", "discard", "miss", "crc", "timeout", "fifo", "no_buf", "busy", "stop"];
        if !words.iter().any(|word| lower.contains(word)) {
            return;
        }
        self.list(format!("{key} {number}"), COUNTERS_MAX);
        // The driver's own name of the counter that `ip -s link` has too.
        if key == "tx_dropped"
            && let Some(link) = model.link(device)
        {
            link.counters.entry("tx_dropped").or_insert(number);
        }
    }

    fn close(&mut self, model: &mut Model) {
        let Some(device) = self.device.take().filter(|_| !self.listed.is_empty()) else { return };
        let more = if self.more > 0 { format!(" and {} more", self.more) } else { String::new() };
        let listed = std::mem::take(&mut self.listed).join(", ");
        match self.part {
            Part::Features => model.note(format!(
                "features of {device} that are off ({listed}{more}): cables' ends have the kernel's own"
            )),
            Part::Statistics => model.note(format!(
                "counters of {device}'s driver ({listed}{more}): hardware has them, a cable's end has not"
            )),
            Part::None | Part::Settings | Part::Driver => {}
        }
    }
}

fn settings(device: &str, key: &str, value: &str, model: &mut Model) {
    if device == "lo" {
        return;
    }
    match key {
        "Link detected" => {
            if let Some(link) = model.link(device) {
                link.carrier = link.carrier.or(Some(value.starts_with("yes")));
            }
        }
        "Speed" if value.starts_with(|c: char| c.is_ascii_digit()) => {
            let speed = value.replace("Mb/s", " Mbit/s");
            model.note(format!("{device}: its speed of {speed} is not carried over: a cable has none"));
        }
        "Duplex" if value == "Half" => model.note(format!("{device}: half duplex is not carried over")),
        _ => {}
    }
}

fn driver(device: &str, key: &str, value: &str, model: &mut Model) {
    if key != "driver" || value.is_empty() {
        return;
    }
    if VIRTUAL.contains(&value) {
        // The device is of a kind that another format shows better.
        if value == "bonding" {
            model.kind(device, Kind::Bond);
        }
        return;
    }
    model.kind(device, Kind::Nic);
    if let Some(link) = model.link(device) {
        link.driver = Some(value.to_owned());
    }
}
