//! What sentences say: devices and modes where no command shows them, counters that do not move, what still works.
//!
//! Only a few forms are understood, and each is an observation of its own; what a sentence explains is not read.

use crate::import::ip_text::vlan_of_name;
use crate::import::model::{Kind, Model, Place, Seen, shortened};
use crate::import::options::MODES;
use crate::import::text::Line;
use crate::import::{options, tried};
use crate::net::name::IfName;

/// Characters of one sentence that are looked at.
const SENTENCE_MAX: usize = 2000;

/// Reads all sentences.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let sentences = sentences(lines);
    let mut left = Vec::new();
    for (number, text) in &sentences {
        let (number, lower) = (*number, text.to_lowercase());
        let devices = devices(text);
        stack(&lower, text, &devices, model);
        pod(&lower, text, &devices, model);
        let before = (model.seen.len(), model.tried.len());
        observations(&lower, &devices, model);
        if tried::sentence(&lower, text, &devices, model) {
            model.found("attempts and their results", number);
        } else if before == (model.seen.len(), model.tried.len()) && is_outcome(&lower, &devices) {
            left.push((number, text.as_str()));
        }
    }
    left_out(&left, model);
    lacp(&sentences, model);
}

/// Whether a sentence says of a device that something works or does not.
fn is_outcome(lower: &str, devices: &[String]) -> bool {
    let words = [
        " succeed",
        " works",
        " worked",
        " fails",
        " failed",
        "is lost",
        "are lost",
        " arrives",
        "arrive ",
        "no answer",
        "no reply",
        "does not work",
        "doesn't work",
        "stops working",
        "stopped working",
        "unreachable",
        "is reachable",
        "packet loss",
    ];
    // Output without a mark around it is joined as sentences are.
    let is_output = lower.starts_with(['$', '#', '[', '%'])
        || ["mtu ", ": <", "[ "].iter().any(|mark| lower.contains(mark));
    let is_about_links =
        !devices.is_empty() || [" vlan", " bond", " interface"].iter().any(|word| lower.contains(word));
    is_about_links && !is_output && words.iter().any(|word| lower.contains(word))
}

/// Sentences that are shown, for whoever reads the topology to see what is not in it.
const LEFT_SHOWN: usize = 5;

/// What was said to work, or not to, and is in no observation.
fn left_out(left: &[(usize, &str)], model: &mut Model) {
    for (number, text) in left.iter().take(LEFT_SHOWN) {
        model.note(format!("line {number}: said, and not carried over: {}", shortened(text, 140)));
    }
    if let Some(more) = left.len().checked_sub(LEFT_SHOWN).filter(|more| *more > 0) {
        model.note(format!("{more} more sentences about what works or does not are not carried over"));
    }
}

/// The mode of the only bond, where no sentence with its name has one: the text speaks of LACP and of no other mode.
fn lacp(sentences: &[(usize, String)], model: &mut Model) {
    let bonds = model.bonds();
    let [bond] = bonds.as_slice() else { return };
    if model.links[bond].options.contains_key("mode") || model.links[bond].is_configuration {
        return;
    }
    let says = |words: &[&str]| {
        sentences.iter().any(|(_, text)| {
            let lower = text.to_lowercase();
            words.iter().any(|word| lower.contains(word))
        })
    };
    let others: Vec<&str> =
        MODES.iter().copied().filter(|mode| !["broadcast", "802.3ad"].contains(mode)).collect();
    if says(&["lacp", "802.3ad"]) && !says(&others) {
        model.found("sentences", 0);
        options::set(model, bond.as_str(), "mode", "802.3ad");
        model.note(format!(
            "{bond}: its mode is 802.3ad, because the text speaks of LACP and of no other mode"
        ));
    }
}

/// Sentences of the prose: paragraphs are joined, and items of lists and rows of tables stay apart. Code is left out, unless
/// there is nothing else.
fn sentences(lines: &[Line<'_>]) -> Vec<(usize, String)> {
    let has_code = lines.iter().any(|line| line.is_code) && lines.iter().any(|line| !line.is_code);
    let mut units: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for line in lines.iter().filter(|line| !has_code || !line.is_code) {
        let text = line.text.trim();
        let begins = text.starts_with(['-', '*', '|', '#', '+']);
        if text.is_empty() {
            is_open = false;
            continue;
        }
        match units.last_mut() {
            Some((_, unit)) if is_open && !begins && unit.len() + text.len() < SENTENCE_MAX => {
                unit.push(' ');
                unit.push_str(text);
            }
            _ => units.push((line.number, text.chars().take(SENTENCE_MAX).collect())),
        }
        is_open = !text.starts_with(['|', '#']);
    }
    let split = |(number, unit): (usize, String)| {
        let parts: Vec<(usize, String)> = unit.split(". ").map(|part| (number, part.to_owned())).collect();
        parts
    };
    units.into_iter().flat_map(split).collect()
}

/// Words that are names of devices, in their order.
fn devices(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in text.split([' ', '\t', '(', ')', ',', '`', '/', '"', '*', ';', '|', '\u{2014}', '\u{2192}']) {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_device(word) && !found.contains(&word.to_owned()) && found.len() < 32 {
            found.push(word.to_owned());
        }
    }
    found
}

/// Names as udev, Talos and the kernel give them to NICs, bonds and VLANs.
fn is_device(word: &str) -> bool {
    let Ok(name) = word.parse::<IfName>() else { return false };
    let (stem, vlan) = match name.as_str().split_once('.') {
        Some((stem, vlan)) => (stem, Some(vlan)),
        None => (name.as_str(), None),
    };
    let is_vlan = vlan.is_none_or(|vlan| vlan.parse().is_ok_and(|id: u16| (1..=4094).contains(&id)));
    let has_digit = stem.bytes().any(|byte| byte.is_ascii_digit());
    let is_plain = stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let begins = ["bond", "eth", "eno", "ens", "enp", "enx", "em", "net", "vpn", "vlan", "ib", "br"];
    is_vlan && has_digit && is_plain && begins.iter().any(|begin| stem.starts_with(begin))
}

fn is_bond(name: &str) -> bool {
    name.starts_with("bond") && !name.contains('.')
}

/// Bonds with mode and ports, and VLANs by their names.
fn stack(lower: &str, text: &str, devices: &[String], model: &mut Model) {
    let bond = devices.iter().find(|name| is_bond(name)).cloned();
    let Some(bond) = bond
        .or_else(|| devices.iter().find_map(|name| name.split_once('.')).map(|(stem, _)| stem.to_owned()))
    else {
        return;
    };
    // One of them is a word of every language of networks: counters of received broadcasts are no mode.
    let is_said = |mode: &str| match mode {
        "broadcast" => {
            ["broadcast mode", "mode broadcast", "mode `broadcast`", "(broadcast)", "mode: broadcast"]
                .iter()
                .any(|words| lower.contains(words))
        }
        mode => lower.contains(mode),
    };
    let mode = MODES.iter().find(|mode| is_said(mode)).copied();
    let mode = mode.or_else(|| lower.contains("lacp").then_some("802.3ad"));
    if is_bond(&bond) {
        model.kind(&bond, Kind::Bond);
        let is_known = model.link(&bond).is_some_and(|link| link.options.contains_key("mode"));
        if let Some(mode) = mode.filter(|_| !is_known) {
            model.found("sentences", 0);
            options::set(model, &bond, "mode", mode);
        }
        ports(lower, text, &bond, model);
    }
    for name in devices.iter().filter(|name| name.contains('.')) {
        let Some((stem, _)) = name.split_once('.') else { continue };
        let (Some(id), Ok(parent)) = (vlan_of_name(name), stem.parse::<IfName>()) else { continue };
        if model.link(stem).is_none() {
            continue;
        }
        if is_bond(stem) {
            model.kind(stem, Kind::Bond);
        }
        if let Some(link) = model.link(name).filter(|link| link.kind <= Kind::Nic) {
            (link.kind, link.vlan_id) = (Kind::Vlan, Some(id));
            link.parent = link.parent.take().or(Some(parent));
        }
    }
}

/// `with a single slave (enp2s0 or enp3s0 depending on node)`.
fn ports(lower: &str, text: &str, bond: &str, model: &mut Model) {
    let words = ["slave", "port ", "ports", "member", "nics"];
    let Some(at) = words.iter().filter_map(|word| lower.find(word)).min() else { return };
    // Small letters may be longer or shorter in bytes.
    let Some(rest) = text.get(at..) else { return };
    let Some(list) = rest.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(list, _)| list)
    else {
        return;
    };
    let has_ports =
        model.links.values().any(|link| link.controller.as_ref().is_some_and(|owner| owner.as_str() == bond));
    let mut names = self::devices(list);
    names.retain(|name| !is_bond(name) && !name.contains('.'));
    if has_ports || names.is_empty() {
        return;
    }
    if list.contains(" or ") && names.len() > 1 {
        model.note(format!("{bond}: the port is one of {}: {} is taken", names.join(", "), names[0]));
        names.truncate(1);
    }
    for name in names {
        model.kind(&name, Kind::Nic);
        model.port(bond, &name);
    }
}

/// A pod's interface with its address, and what it is.
fn pod(lower: &str, text: &str, devices: &[String], model: &mut Model) {
    for (word, kind) in [("ipvlan", Kind::Ipvlan), ("macvlan", Kind::Macvlan)] {
        if lower.contains(word) {
            model.attached.get_or_insert((kind, None));
            let id = after_number(lower, "vlan ").or_else(|| after_number(lower, "vlan"));
            if let (Some((known, vlan @ None)), Some(id)) = (&mut model.attached, id)
                && *known == kind
            {
                *vlan = Some(id);
            }
        }
    }
    let cidr = text
        .split([' ', '(', ')', ',', '`'])
        .find(|word| word.contains('/') && word.parse::<crate::net::address::Cidr>().is_ok());
    let (Some(cidr), Some(device)) = (cidr, devices.first()) else { return };
    if lower.contains("pod") && !model.links.keys().any(|name| name.as_str() == device) {
        model.address(device, cidr);
        if let Some(link) = model.link(device) {
            link.place = Place::Pod;
        }
    }
}

/// The number behind a word: `on VLAN 70`.
pub fn after_number(lower: &str, word: &str) -> Option<u16> {
    for (at, _) in lower.match_indices(word) {
        let rest = lower[at + word.len()..].trim_start_matches(['=', ' ']);
        let digits = &rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())];
        if let Some(id) = digits.parse().ok().filter(|id| (1..=4094).contains(id)) {
            return Some(id);
        }
    }
    None
}

fn observations(lower: &str, devices: &[String], model: &mut Model) {
    let Some(name) = devices.first().and_then(|name| name.parse::<IfName>().ok()) else { return };
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if is_bond(name.as_str())
        && says(&["miimon"])
        && says(&["not set", "isn't set", "unset", "missing", "without miimon", "no miimon"])
    {
        options::set(model, name.as_str(), "miimon", "0");
    }
    if says(&[
        "not counted on",
        "no drops on",
        "no tx drops on",
        "zero drops on",
        "zero tx drops on",
        "none on ",
    ]) {
        model.saw(Seen::NoDrops(name.clone()));
    }
    let works = says(&["still handles", "still carries", "still works", "keeps working", "works fine"]);
    if works && lower.contains("untagged") {
        model.saw(Seen::UntaggedWorks(name.clone()));
        if let Some(id) = after_number(lower, "vlan ") {
            model.saw(Seen::VlanWorks(name.clone(), id));
        }
    }
    let is_in_band = says(&["explicitly tagged", "dot1q("]) && says(&["succeeds", "works", "arrives"]);
    let bond = devices.iter().find(|name| !name.contains('.')).and_then(|name| name.parse().ok());
    if is_in_band
        && let (Some(bond), Some(id)) =
            (bond, after_number(lower, "vlan ").or_else(|| after_number(lower, "vlan=")))
    {
        model.saw(Seen::TagInBandWorks(bond, id));
    }
}
