//! `ip route` and `ip neigh` as text, also inside a sentence.

use std::net::Ipv4Addr;

use crate::import::model::{Model, Route};
use crate::import::text::Line;
use crate::net::name::IfName;

const STATES: [&str; 8] =
    ["FAILED", "INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"];

/// Reads all that is there.
pub fn read(lines: &[Line<'_>], model: &mut Model) {
    for line in lines {
        let words: Vec<&str> = line.words().map(|word| word.trim_matches(['`', '"', ',', '\''])).collect();
        for at in 0..words.len().min(64) {
            let rest = &words[at..];
            if let Some((address, dev)) = neighbour(rest) {
                model.found("ip neigh", line.number);
                model.neighbours.push((address, dev));
                model.neighbours.truncate(64);
            } else if at == 0
                && let Some(route) = route(rest)
            {
                model.found("ip route", line.number);
                model.route(route);
            }
        }
    }
}

/// `192.0.2.1 dev eth0 lladdr 00:00:5e:00:53:01 REACHABLE`, `192.0.2.1 dev eth0 FAILED`.
fn neighbour(words: &[&str]) -> Option<(Ipv4Addr, IfName)> {
    let [address, "dev", dev, rest @ ..] = words else { return None };
    let (address, dev) = (address.parse().ok()?, dev.parse().ok()?);
    let first = rest.first()?;
    (*first == "lladdr" || STATES.contains(first)).then_some((address, dev))
}

/// `default via 192.0.2.1 dev eth0 ...`, `192.0.2.0/24 dev eth0 ...`.
pub fn route(words: &[&str]) -> Option<Route> {
    let to = match *words.first()? {
        "default" | "0.0.0.0/0" => None,
        to => Some(to.parse().ok()?),
    };
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1)
    };
    let via = value("via").and_then(|via| via.parse().ok());
    let dev = value("dev").and_then(|dev| dev.parse().ok());
    // The kernel's own routes follow from the addresses.
    let is_own = value("proto") == Some(&"kernel");
    ((via.is_some() || dev.is_some()) && !is_own && words.len() >= 3).then_some(Route { to, via, dev })
}
