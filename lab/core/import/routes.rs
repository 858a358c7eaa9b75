//! `ip route` and `ip neigh` as text, also inside a sentence.

use std::net::IpAddr;

use crate::import::model::{Model, Neighbour};
use crate::import::routing::{self, Written};
use crate::import::text::{Line, command};

const STATES: [&str; 8] =
    ["FAILED", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"];

/// What a command asked for, and the route whose next hops are on the next lines.
#[derive(Default)]
struct Reader<'t> {
    /// `-6`.
    is_ipv6: bool,
    /// `table 100`, which the lines do not show then.
    table: Option<&'t str>,
    /// The first line of a route with several next hops.
    several: Option<Vec<&'t str>>,
}

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    let mut reader = Reader::default();
    for (at, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.words().map(|word| word.trim_matches(['`', '"', ',', '\''])).collect();
        if line.begins {
            reader = heading(line).unwrap_or_default();
        }
        for at in 0..words.len().min(64) {
            if let Some(entry) = neighbour(&words[at..]) {
                model.found("ip neigh", line.number);
                model.neighbour(entry);
            }
        }
        permanent(&words, model);
        // `ip route get` adds what the kernel found, not a route of its own.
        let is_answer = words.contains(&"uid")
            || lines.get(at + 1).is_some_and(|next| next.words().next() == Some("cache"));
        if !is_answer && reader.line(&words, model) {
            model.found("ip route", line.number);
        }
    }
}

/// What the command above its output asks for.
fn heading<'t>(line: &Line<'t>) -> Option<Reader<'t>> {
    let words = command(line.text)?;
    let at = words.iter().position(|word| ["route", "ro", "r"].contains(word)).unwrap_or(words.len());
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let is_ipv6 = words[..at].contains(&"-6") || after("-f") == Some("inet6");
    Some(Reader { is_ipv6, table: after("table").filter(|table| *table != "all"), several: None })
}

impl<'t> Reader<'t> {
    /// Whether a line is a route, or one of the next hops of the route above it.
    fn line(&mut self, words: &[&'t str], model: &mut Model) -> bool {
        if let (["nexthop", hop @ ..], Some(first)) = (words, self.several.take()) {
            let all: Vec<&str> = first.iter().chain(hop).copied().collect();
            model.note(format!("route to {}: it has several next hops; the first is taken", first[0]));
            return route(&all, self.is_ipv6, self.table, model);
        }
        if let [to, "proto" | "metric" | "table", ..] = words
            && !words.contains(&"dev")
            && (*to == "default" || to.contains(['.', ':']))
        {
            self.several = Some(words.to_vec());
        }
        route(words, self.is_ipv6, self.table, model)
    }
}

/// `192.0.2.1 dev eth0 lladdr 00:00:5e:00:53:01 REACHABLE`, `fe80::1 dev eth0 router FAILED`.
fn neighbour(words: &[&str]) -> Option<Neighbour> {
    let [address, "dev", dev, rest @ ..] = words else { return None };
    let (address, dev) = (address.parse().ok()?, dev.parse().ok()?);
    let is_state = |word: &&str| STATES.contains(word);
    let first = rest.first()?;
    let is_one = *first == "lladdr" || is_state(first) || (*first == "router" && rest.iter().any(is_state));
    let has_answered = has_answered(rest.iter().copied().take(8));
    is_one.then_some(Neighbour { address, dev, has_answered })
}

/// What the states of a neighbour say. One that is looked for (`INCOMPLETE`) has not answered yet, and `PERMANENT` and `NOARP` are never
/// asked (`NUD_CONNECTED`).
pub fn has_answered<'t>(mut states: impl Iterator<Item = &'t str>) -> Option<bool> {
    states.find_map(|state| match state.trim_end_matches([',', '.', '`']) {
        "REACHABLE" | "STALE" | "DELAY" | "PROBE" => Some(true),
        "FAILED" | "INCOMPLETE" => Some(false),
        _ => None,
    })
}

/// `192.0.2.1 dev eth0 lladdr 00:00:5e:00:53:01 PERMANENT`, `192.0.2.9 dev eth0 proxy`.
fn permanent(words: &[&str], model: &mut Model) {
    let [address, "dev", dev, rest @ ..] = words else { return };
    let (Ok(address), Ok(dev)) = (address.parse::<IpAddr>(), dev.parse()) else { return };
    // Groups have entries of their own that do not age (`arp_constructor()`), with NOARP.
    match rest {
        ["lladdr", mac, states @ ..] if states.contains(&"PERMANENT") => {
            if let Ok(mac) = mac.parse() {
                routing::add_neighbour(address, dev, Some(mac), model);
            }
        }
        ["proxy"] => routing::add_neighbour(address, dev, None, model),
        _ => {}
    }
}

/// `default via 192.0.2.1 dev eth0 ...`, `unreachable 2001:db8::/32 dev lo metric 1024`. Whether it was one.
pub fn route(words: &[&str], is_ipv6: bool, table: Option<&str>, model: &mut Model) -> bool {
    let (kind, words) = match words {
        [first, rest @ ..] if *first == "unicast" || routing::kind_of(first).is_some() => {
            (Some(*first), rest)
        }
        // The kernel's own tables have them.
        ["local" | "broadcast" | "anycast" | "multicast", ..] => return false,
        _ => (None, words),
    };
    let Some((to, rest)) = words.split_first() else { return false };
    let value = |name: &str| {
        let at = rest.iter().position(|word| *word == name)?;
        rest.get(at + 1).copied()
    };
    let is_network = match to.split_once('/') {
        Some((address, prefix)) => address.parse::<IpAddr>().is_ok() && prefix.parse::<u8>().is_ok(),
        // One host, as its neighbour's line begins, too.
        None if *to != "default" => {
            to.parse::<IpAddr>().is_ok()
                && ["via", "proto", "scope", "metric"].iter().any(|word| rest.contains(word))
        }
        None => true,
    };
    let is_blocked = kind.is_some_and(|kind| kind != "unicast");
    let leads = value("via").is_some() || value("dev").is_some() || (is_blocked && !rest.is_empty());
    // The kernel's own routes follow from the addresses.
    if !is_network || !leads || rest.len() < 2 || value("proto") == Some("kernel") {
        return false;
    }
    if rest.contains(&"encap") {
        model.note(format!("route to {to}: topologies have no encapsulating routes"));
        return true;
    }
    let written = Written {
        to,
        via: value("via"),
        dev: value("dev").unwrap_or_default(),
        kind,
        table: value("table").or(table),
        metric: value("metric"),
        src: value("src"),
        mtu: value("mtu").filter(|mtu| *mtu != "lock").or(value("lock")),
        is_onlink: rest.contains(&"onlink"),
        is_ipv6: is_ipv6 || rest.contains(&"pref"),
    };
    routing::add(&written, model);
    true
}
