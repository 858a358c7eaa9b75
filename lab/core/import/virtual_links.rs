//! VRF, VXLAN, Geneve, GRE, MACsec, team and IFB as `ip -d link` shows them, in text and JSON: words of iproute2 as keys of a topology.

use toml::Value as Toml;

use crate::import::model::{Kind, Link, Model};
use crate::import::value::Value;
use crate::net::link_option::rows_of;
use crate::net::link_option::words::VirtualKind;
use crate::net::option::{OptionRow, Wire};

/// The words that begin a line of a kind, with one that follows in what `ip` prints: a sentence has the first one, too.
const KINDS: [(VirtualKind, &[&str]); 8] = [
    (VirtualKind::Ifb, &["addrgenmode", "numtxqueues"]),
    (VirtualKind::Vrf, &["table"]),
    (VirtualKind::Vxlan, &["id", "external"]),
    (VirtualKind::Geneve, &["id", "external"]),
    (VirtualKind::Gre, &["remote", "external"]),
    (VirtualKind::Gretap, &["remote", "external"]),
    (VirtualKind::Macsec, &["sci"]),
    (VirtualKind::Team, &["addrgenmode", "numtxqueues"]),
];

/// Words that stand for a value, in iproute2's `*_print_opt()`.
const FLAGS: [(&str, &str, bool); 22] = [
    ("learning", "learning", true),
    ("nolearning", "learning", false),
    ("proxy", "proxy", true),
    ("rsc", "rsc", true),
    ("l2miss", "l2miss", true),
    ("l3miss", "l3miss", true),
    ("external", "external", true),
    ("udpcsum", "udpcsum", true),
    ("udp_csum", "udpcsum", true),
    ("noudpcsum", "udpcsum", false),
    ("udp6zerocsumtx", "udp6zerocsumtx", true),
    ("udp_zero_csum6_tx", "udp6zerocsumtx", true),
    ("noudp6zerocsumtx", "udp6zerocsumtx", false),
    ("udp6zerocsumrx", "udp6zerocsumrx", true),
    ("udp_zero_csum6_rx", "udp6zerocsumrx", true),
    ("noudp6zerocsumrx", "udp6zerocsumrx", false),
    ("localbypass", "localbypass", true),
    ("nolocalbypass", "localbypass", false),
    ("pmtudisc", "pmtudisc", true),
    ("nopmtudisc", "pmtudisc", false),
    ("ignore-df", "ignore_df", true),
    ("ignore_df", "ignore_df", true),
];

/// Words before a value; the second spelling is that of `-j`, or of the command that makes the link.
const VALUES: [(&str, &str); 31] = [
    ("id", "id"),
    ("table", "table"),
    ("ttl", "ttl"),
    ("tos", "tos"),
    ("ageing", "ageing"),
    ("maxaddr", "maxaddress"),
    ("maxaddress", "maxaddress"),
    ("limit", "maxaddress"),
    ("dstport", "dstport"),
    ("port", "dstport"),
    ("df", "df"),
    ("key", "key"),
    ("cipher", "cipher"),
    ("cipher_suite", "cipher"),
    ("icvlen", "icvlen"),
    ("icv_len", "icvlen"),
    ("encodingsa", "encodingsa"),
    ("encoding_sa", "encodingsa"),
    ("validate", "validate"),
    ("validation", "validate"),
    ("offload", "offload"),
    ("encrypt", "encrypt"),
    ("protect", "protect"),
    ("send_sci", "send_sci"),
    ("inc_sci", "send_sci"),
    ("end_station", "end_station"),
    ("es", "end_station"),
    ("scb", "scb"),
    ("replay", "replay"),
    ("replay_protect", "replay"),
    ("window", "window"),
];

/// The kind of a word.
fn kind_of(word: &str) -> Option<VirtualKind> {
    KINDS.iter().find(|(kind, _)| kind.word() == word).map(|(kind, _)| *kind)
}

/// Reads the line of `ip -d link` with a kind's own attributes; whether it was one.
pub fn line(device: &str, text: &str, model: &mut Model) -> bool {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let Some((kind, next)) = KINDS.iter().find(|(kind, _)| kind.word() == first) else { return false };
    let is_line = match words.clone().next() {
        Some(word) => next.contains(&word),
        None => next.contains(&"addrgenmode"),
    };
    if is_line && begin(device, *kind, model) {
        options(device, *kind, words, model);
    }
    is_line
}

/// Reads what stands behind `type` in a command that makes a link; whether topologies have such a kind.
pub fn command<'t>(device: &str, mut words: impl Iterator<Item = &'t str>, model: &mut Model) -> bool {
    let Some(kind) = words.next().and_then(kind_of) else { return false };
    if begin(device, kind, model) {
        let mut rest = words.peekable();
        // A MACsec's own port, which `ip -d link` shows as a part of the channel's name.
        if kind == VirtualKind::Macsec && rest.peek() == Some(&"port") {
            rest.next();
            let port = rest.next().unwrap_or_default();
            set(device, kind, "port", port, model);
        }
        options(device, kind, rest, model);
    }
    true
}

/// Reads `linkinfo` of `ip -d -j link`; whether topologies have such a kind.
pub fn json(device: &str, word: &str, data: Option<&Value>, model: &mut Model) -> bool {
    let Some(kind) = kind_of(word) else { return false };
    if !begin(device, kind, model) {
        return true;
    }
    let mut keys = Keys::default();
    for (key, value) in data.map_or(&[][..], Value::entries) {
        let text = value.joined();
        match key.as_str() {
            // A range of ports is two numbers, and 0 where the kernel chooses.
            "port_range" if value.number_of("high").unwrap_or(0_u32) == 0 => {}
            "link" => parent(device, &text, model),
            key => option(device, kind, key, &text, &mut keys, model),
        }
    }
    keys.settle(device, kind, model);
    true
}

/// Makes it one of this kind.
fn begin(device: &str, kind: VirtualKind, model: &mut Model) -> bool {
    let Some(link) = model.link(device) else { return false };
    link.kind = Kind::Virtual(kind);
    link.kind_word.clear();
    link.settings.clear();
    true
}

fn parent(device: &str, name: &str, model: &mut Model) {
    if let Some(link) = model.link(device) {
        link.parent = name.parse().ok().or(link.parent.take());
    }
}

/// Keys of a GRE tunnel, which has one for each direction.
#[derive(Default)]
struct Keys {
    inward: Option<String>,
    outward: Option<String>,
}

impl Keys {
    fn settle(self, device: &str, kind: VirtualKind, model: &mut Model) {
        match (self.inward, self.outward) {
            (Some(inward), Some(outward)) if inward == outward => set(device, kind, "key", &inward, model),
            (None, None) => {}
            _ => model.note(format!("{device}: GRE tunnels of topologies have one key for both directions")),
        }
    }
}

fn options<'t>(device: &str, kind: VirtualKind, mut words: impl Iterator<Item = &'t str>, model: &mut Model) {
    let mut keys = Keys::default();
    while let Some(word) = words.next() {
        match word {
            // Attributes of every link follow the kind's own.
            "addrgenmode" | "numtxqueues" => break,
            "srcport" => {
                let range = [words.next(), words.next()];
                if range.iter().any(|port| *port != Some("0")) {
                    unknown(device, "srcport", model);
                }
            }
            word if FLAGS.iter().any(|(flag, ..)| *flag == word) => {
                option(device, kind, word, "true", &mut keys, model);
            }
            word => {
                let has_value = VALUES.iter().any(|(known, _)| *known == word)
                    || ["remote", "group", "local", "dev", "sci", "ikey", "okey"].contains(&word);
                let value = if has_value { words.next().unwrap_or_default() } else { "" };
                option(device, kind, word, value, &mut keys, model);
            }
        }
    }
    keys.settle(device, kind, model);
}

fn option(device: &str, kind: VirtualKind, word: &str, value: &str, keys: &mut Keys, model: &mut Model) {
    match word {
        "dev" => parent(device, value, model),
        "ikey" => keys.inward = Some(value.to_owned()),
        "okey" => keys.outward = Some(value.to_owned()),
        "remote" | "remote6" | "group" | "group6" => {
            address(device, kind, ["remote", "remote6"], value, model)
        }
        "local" | "local6" => address(device, kind, ["local", "local6"], value, model),
        // Eight bytes, of which the last two are the port (macsec_fill_info()).
        "sci" => {
            let port =
                value.get(value.len().saturating_sub(4)..).and_then(|hex| u16::from_str_radix(hex, 16).ok());
            set(device, kind, "port", &port.unwrap_or(1).to_string(), model);
        }
        _ => {
            if let Some((_, key, on)) = FLAGS.iter().find(|(flag, ..)| *flag == word) {
                let on = if value == "false" { !on } else { *on };
                set(device, kind, key, if on { "true" } else { "false" }, model);
            } else if let Some((_, key)) = VALUES.iter().find(|(known, _)| *known == word) {
                set(device, kind, key, value, model);
            } else if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
                unknown(device, word, model);
            }
        }
    }
}

/// An address of either family; `any` is none.
fn address(device: &str, kind: VirtualKind, keys: [&'static str; 2], value: &str, model: &mut Model) {
    if value != "any" {
        set(device, kind, if value.contains(':') { keys[1] } else { keys[0] }, value, model);
    }
}

fn unknown(device: &str, word: &str, model: &mut Model) {
    model.note(format!("option {word} of {device}: a topology has none of this name"));
}

/// Keeps a value under its key, unless it is what the kernel has without it.
fn set(device: &str, kind: VirtualKind, key: &str, value: &str, model: &mut Model) {
    let rows = rows_of(kind.word());
    // What one kind has by a word, another one has not (udp6zerocsumrx of Geneve).
    let Some(row) = rows.iter().find(|row| row.key == key) else { return };
    let is_gre = matches!(kind, VirtualKind::Gre | VirtualKind::Gretap);
    let value = match (key, value) {
        // 0 in GRE, and an attribute of its own in VXLAN and Geneve, which topologies do not have.
        ("ttl", "inherit") if is_gre => "0",
        ("ttl", "inherit") => return unknown(device, "ttl inherit", model),
        (_, value) => value,
    };
    match typed(row, value) {
        Some(value) => {
            let Some(link) = model.link(device) else { return };
            let is_default = match &value {
                Toml::String(text) => text == row.default,
                other => other.to_string() == row.default,
            };
            if !is_default {
                link.settings.insert(row.key, value);
            }
            if kind == VirtualKind::Geneve && link.settings.contains_key("remote") {
                // It is of IPv6, and shown as set beside a remote of IPv4 (geneve_nl2info() clears it for IPv6 alone).
                link.settings.shift_remove("udp6zerocsumrx");
            }
            if link.settings.contains_key("external") {
                // The network is in each packet's metadata, and 0 is shown.
                link.settings.shift_remove("id");
            }
        }
        None => model.note(format!("option {key} of {device}: {value:?} is none of its values")),
    }
}

/// A value as the file has it.
pub fn typed(row: &OptionRow, value: &str) -> Option<Toml> {
    let lower = value.to_lowercase();
    match row.wire {
        Wire::Flag => match lower.as_str() {
            "1" | "on" | "true" => Some(true.into()),
            "0" | "off" | "false" => Some(false.into()),
            _ => None,
        },
        Wire::Word8(words) => words.iter().find(|(_, word)| *word == lower).map(|(_, word)| (*word).into()),
        Wire::Word64(words) => words.iter().find(|(_, word)| *word == lower).map(|(_, word)| (*word).into()),
        Wire::Ipv4 => lower.parse::<std::net::Ipv4Addr>().ok().map(|address| address.to_string().into()),
        Wire::Ipv6 => lower.parse::<std::net::Ipv6Addr>().ok().map(|address| address.to_string().into()),
        Wire::GreKey => number(&lower)
            .or_else(|| lower.parse::<std::net::Ipv4Addr>().ok().map(|key| u32::from(key).into())),
        wire => {
            let most = match wire {
                Wire::U8 => u8::MAX.into(),
                Wire::U16 | Wire::U16Be => u16::MAX.into(),
                _ => u32::MAX.into(),
            };
            let (least, most) = row.range.unwrap_or((0, most));
            number(&lower).filter(|number| (least..=most).contains(&number.as_integer().unwrap_or(-1)))
        }
    }
}

/// A number, in hexadecimal where it begins with `0x`, and the words that iproute2 has for 0 and for 1.
fn number(text: &str) -> Option<Toml> {
    let number = match text {
        "auto" | "none" => 0,
        // Of tos: 1 copies the inner packet's.
        "inherit" => 1,
        _ => match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?.into(),
            None => text.parse::<u32>().ok()?.into(),
        },
    };
    Some(Toml::Integer(number))
}

/// Of a VRF that was shown without `-d`.
pub const VRF_WITHOUT_TABLE: &str = "a VRF whose table the text does not show (ip -d link does)";

/// Why a kind of these cannot be carried over.
pub fn obstacle(name: &str, kind: VirtualKind, link: &Link) -> Option<&'static str> {
    let has = |key: &str| link.settings.contains_key(key);
    let has_remote = has("remote") || has("remote6");
    match kind {
        VirtualKind::Vrf if !has("table") => Some(VRF_WITHOUT_TABLE),
        VirtualKind::Vxlan | VirtualKind::Geneve if !has("id") && !has("external") => {
            Some("a tunnel whose network (VNI) the text does not show")
        }
        VirtualKind::Geneve if !has_remote && !has("external") => {
            Some("a geneve whose other end the text does not show")
        }
        VirtualKind::Gre | VirtualKind::Gretap if ["gre0", "gretap0"].contains(&name) => {
            Some("the module of the tunnels makes it (ip_tunnel_init_net())")
        }
        VirtualKind::Macsec if link.parent.is_none() => Some("the text does not show what it stands on"),
        _ => None,
    }
}
