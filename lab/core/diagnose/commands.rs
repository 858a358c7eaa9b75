//! Commands that would tell causes apart which the evidence leaves: chosen by what was measured of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::diagnose::blanks::Blanks;
use crate::diagnose::feature::{Feature, LOSSES, QUEUE, Role, Way};
use crate::diagnose::observed::Devices;
use crate::diagnose::rank::Ranked;

/// As many are printed.
pub const COMMANDS_MAX: usize = 3;
/// Bits that a command has to bring to be worth it.
const BITS_MIN: f64 = 0.05;

/// The answer of a cause whose measurements do not have it.
const NOT_MEASURED: &str = "not measured";

/// A command, and what its answer would be under each cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextCommand {
    /// To be run on the machine, unless it says where.
    pub command: String,
    /// Answers, with the causes that give them.
    pub answers: Vec<(String, Vec<String>)>,
}

struct Candidate {
    command: String,
    features: Vec<Feature>,
}

/// The commands that divide the causes best, one after the other.
pub fn next(
    left: &[Ranked<'_>],
    is_seen: impl Fn(Feature) -> bool,
    devices: &Devices,
    blanks: &Blanks,
) -> Vec<NextCommand> {
    let mut candidates = candidates(devices, blanks);
    candidates.iter_mut().for_each(|one| one.features.retain(|feature| !is_seen(*feature)));
    let mut keys: Vec<String> = vec![String::new(); left.len()];
    let mut chosen = Vec::new();
    while chosen.len() < COMMANDS_MAX {
        // The first of the best: cheaper commands are first.
        let mut best: Option<(f64, usize)> = None;
        for (at, one) in candidates.iter().enumerate() {
            let gain = bits(left, &keys, one);
            if gain > BITS_MIN && best.is_none_or(|(most, _)| gain > most + 1e-9) {
                best = Some((gain, at));
            }
        }
        let Some((_, at)) = best else { break };
        let one = candidates.remove(at);
        keys = joined(&keys, left, &one);
        chosen.push(answers(left, one, devices));
    }
    chosen
}

fn answers(left: &[Ranked<'_>], one: Candidate, devices: &Devices) -> NextCommand {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for ranked in left {
        by.entry(answer(ranked, &one.features, devices)).or_default().push(ranked.cause.name.clone());
    }
    let mut answers: Vec<(String, Vec<String>)> = by.into_iter().collect();
    // The likeliest answer first: causes are in the order of their ranks.
    let place = |names: &[String]| left.iter().position(|ranked| names.contains(&ranked.cause.name));
    answers.sort_by_key(|(_, names)| place(names));
    NextCommand { command: one.command, answers }
}

/// What a command would show of a cause: what moves, and states.
fn answer(ranked: &Ranked<'_>, features: &[Feature], devices: &Devices) -> String {
    let mut words = Vec::new();
    let mut is_known = false;
    for feature in features {
        let Some(value) = ranked.value(*feature) else { continue };
        is_known = true;
        let said = value.to_string();
        match feature {
            _ if said == "none" => {}
            Feature::Counter(_, name) => words.push(format!("{name} moves")),
            Feature::Queue(_, name) => words.push(format!("{name} moves")),
            Feature::Hook(_) => words.push("clsact drops".to_owned()),
            Feature::State(role) => words.push(format!("{} is {said}", devices.named(*role))),
            Feature::Failures => words.push("link failures".to_owned()),
            Feature::Lacp => words.push(format!("LACP is {said}")),
            Feature::LostAt => words.push(named(&said, devices)),
            _ => words.push(said),
        }
    }
    match (is_known, words.is_empty()) {
        (false, _) => NOT_MEASURED.to_owned(),
        (true, true) => "nothing moves".to_owned(),
        (true, false) => words.join(", "),
    }
}

/// Roles by the names of their devices.
fn named(place: &str, devices: &Devices) -> String {
    let roles = Role::ALL.into_iter();
    roles.fold(place.to_owned(), |place, role| place.replace(&role.to_string(), &devices.named(role)))
}

fn joined(keys: &[String], left: &[Ranked<'_>], one: &Candidate) -> Vec<String> {
    let none = Devices::default();
    let own = left.iter().map(|ranked| answer(ranked, &one.features, &none));
    keys.iter().zip(own).map(|(key, own)| format!("{key}|{own}")).collect()
}

/// How many bits a command's answer brings, weighted with the causes' shares: Shannon's entropy of the answers within each group that
/// is not distinguished yet. A cause whose answer was not measured adds nothing.
fn bits(left: &[Ranked<'_>], keys: &[String], one: &Candidate) -> f64 {
    let none = Devices::default();
    let sum: f64 = left.iter().map(|ranked| ranked.share).sum();
    let mut groups: BTreeMap<&str, BTreeMap<String, f64>> = BTreeMap::new();
    for (ranked, key) in left.iter().zip(keys) {
        let said = answer(ranked, &one.features, &none);
        if said != NOT_MEASURED {
            *groups.entry(key.as_str()).or_default().entry(said).or_default() +=
                ranked.share / sum.max(f64::MIN_POSITIVE);
        }
    }
    let of_group = |answers: &BTreeMap<String, f64>| -> f64 {
        let whole: f64 = answers.values().sum();
        answers.values().filter(|part| **part > 0.0).map(|part| -part * (part / whole).log2()).sum()
    };
    groups.values().map(of_group).sum()
}

/// All that could be asked, the cheapest first.
fn candidates(devices: &Devices, blanks: &Blanks) -> Vec<Candidate> {
    let Blanks { id, neighbour, untagged, other } = blanks;
    let mut all = Vec::new();
    let mut push = |command: String, features: Vec<Feature>| all.push(Candidate { command, features });
    for role in Role::ALL {
        let names = devices.of(role);
        let [first, rest @ ..] = &names[..] else { continue };
        let mut features: Vec<Feature> = LOSSES.iter().map(|name| Feature::Counter(role, name)).collect();
        features.push(Feature::State(role));
        let of_ports = match (&devices.bond, rest) {
            (Some(bond), [_, ..]) if role == Role::Port => format!("master {bond}"),
            _ => (*first).to_owned(),
        };
        push(format!("ip -s -d link show {of_ports}"), features);
        let mut features: Vec<Feature> = QUEUE.iter().map(|name| Feature::Queue(role, name)).collect();
        features.push(Feature::Hook(role));
        push(format!("tc -s qdisc show dev {first}"), features);
    }
    if let Some(bond) = &devices.bond {
        push(format!("cat /proc/net/bonding/{bond}"), vec![Feature::Failures, Feature::Lacp]);
    }
    let sender = devices.vlan.as_ref().or(devices.bond.as_ref());
    if let Some(sender) = sender {
        push(
            format!("ping -c 3 -I {sender} {neighbour}    # with a static neighbour entry"),
            vec![Feature::Told],
        );
    }
    if let Some(bond) = &devices.bond {
        push(format!("ping -c 3 -I {bond} {untagged}    # untagged"), vec![Feature::Arrives(Way::Untagged)]);
        let by_other = match other {
            Some((other, address)) => format!("ping -c 3 -I {other} {address}    # another VLAN of {bond}"),
            None => format!("ping -c 3 by another VLAN of {bond}"),
        };
        push(by_other, vec![Feature::Arrives(Way::OtherVlan)]);
        push(
            format!(
                "mausezahn {bond} -c 10 -Q {id} -b bc -B {neighbour} -t icmp ping    # the VLAN's tag, by the bond"
            ),
            vec![Feature::Arrives(Way::InBand)],
        );
    }
    push("ip -s link    # on the switch or the gateway".to_owned(), vec![Feature::Far]);
    push("perf record -a -e skb:kfree_skb -- sleep 10; perf script".to_owned(), vec![Feature::LostAt]);
    if let Some(port) = devices.ports.first() {
        push(
            format!(
                "ip link add link {port} name probe type vlan id {id}; ping by it    # changes the machine"
            ),
            vec![Feature::Arrives(Way::NicVlan)],
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_vlan_and_addresses_are_in_the_commands() {
        let devices = Devices {
            vlan: Some("bond0.312".into()),
            bond: Some("bond0".into()),
            ports: vec!["eth0".into()],
        };
        let blanks = Blanks {
            id: "312".into(),
            neighbour: "192.0.2.9".into(),
            untagged: "198.51.100.1".into(),
            other: Some(("bond0.80".into(), "203.0.113.1".into())),
        };
        let commands: Vec<String> =
            candidates(&devices, &blanks).into_iter().map(|one| one.command).collect();
        let has = |begin: &str| commands.iter().any(|command| command.starts_with(begin));
        for begin in [
            "mausezahn bond0 -c 10 -Q 312 -b bc -B 192.0.2.9 ",
            "ping -c 3 -I bond0.312 192.0.2.9 ",
            "ping -c 3 -I bond0 198.51.100.1 ",
            "ping -c 3 -I bond0.80 203.0.113.1 ",
            "ip link add link eth0 name probe type vlan id 312;",
        ] {
            assert!(has(begin), "{begin} in {commands:#?}");
        }
        let blank = commands.iter().find(|command| command.contains(" ID") || command.contains("NEIGHBOUR"));
        assert_eq!(blank, None);
    }
}
