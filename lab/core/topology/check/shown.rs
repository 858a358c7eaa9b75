//! Conditions on what the kernel shows: which thing is meant, and words that it can be compared with.

use std::ops::Range;

use crate::net::link_extras::FeatureName;
use crate::net::link_show::{self, BRIDGE_PORT_STATES, LACP_STATES, OPERSTATES};
use crate::net::mdb;
use crate::net::qdisc_xstats;
use crate::net::snmp;
use crate::topology::check::Checker;
use crate::topology::check::conditions::known_word;
use crate::topology::condition::{Bounds, QDISC_COUNTERS};
use crate::topology::file::{At, ConditionTable};
use crate::topology::observation::{Shown, Test};

/// A pattern or a line of more characters than the kernel writes in one line is a mistake.
const TEXT_CHARS_MAX: usize = 200;

/// States of a neighbour as `ip neighbour` prints them, and `none`.
const NEIGHBOUR_STATES: [&str; 9] =
    ["INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED", "NOARP", "PERMANENT", "none"];
const FEATURE_STATES: [&str; 4] = ["on", "off", "on [fixed]", "off [fixed]"];
const VLAN_WORDS: [&str; 4] = ["member", "pvid", "untagged", "none"];
const FDB_WORDS: [&str; 9] =
    ["self", "master", "permanent", "static", "extern_learn", "offload", "sticky", "locked", "none"];

const MDB_WORDS: [&str; 3] = ["permanent", "temp", "none"];

/// Whether a table looks at what the kernel shows.
pub fn is_shown(table: &ConditionTable) -> bool {
    shown(table).is_some()
}

/// What it looks at.
pub fn shown(table: &ConditionTable) -> Option<Shown> {
    let whole = whole(table)?;
    Some(match &table.detail {
        Some(field) if !whole.details().is_empty() => {
            Shown::Detail { of: Box::new(whole), field: field.value.clone() }
        }
        _ => whole,
    })
}

/// The same without `detail`.
fn whole(table: &ConditionTable) -> Option<Shown> {
    let device = || table.device.as_ref().map(|at| at.value.clone());
    let ns = || table.ns.as_ref().map(|at| at.value.clone());
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    if let Some(what) = text(&table.show) {
        return Some(Shown::Link { device: device()?, what });
    }
    if let Some(line) = text(&table.proc_bonding) {
        return Some(Shown::ProcBonding { device: device()?, line });
    }
    if let Some(name) = text(&table.feature) {
        return Some(Shown::Feature { device: device()?, name });
    }
    if let Some(to) = &table.neighbour {
        return Some(Shown::Neighbour { device: device()?, to: to.value });
    }
    if let Some(id) = &table.bridge_vlan {
        return Some(Shown::BridgeVlan { device: device()?, id: id.value });
    }
    if let Some(mac) = &table.fdb {
        return Some(Shown::Fdb { device: device()?, mac: mac.value.clone() });
    }
    if let Some(group) = &table.mdb {
        return Some(Shown::Mdb { device: device()?, group: group.value });
    }
    if let Some(parent) = text(&table.parent) {
        let device = table.qdisc.as_ref()?.value.clone();
        return Some(Shown::Qdisc { device, parent, counter: text(&table.counter)? });
    }
    if let Some(name) = &table.sysctl {
        return Some(Shown::Sysctl { ns: ns()?, name: name.value.clone() });
    }
    if let Some(counter) = text(&table.snmp) {
        return Some(Shown::Snmp { ns: ns()?, counter });
    }
    Some(Shown::KernelLog { pattern: text(&table.kernel_log)? })
}

/// The words it is compared with, each with its place.
fn tests(table: &ConditionTable) -> Vec<(Test, &Range<usize>)> {
    let ConditionTable { is, is_not, has, lacks, .. } = table;
    let of =
        |at: &'_ Option<At<String>>, make: fn(String) -> Test| at.as_ref().map(|at| make(at.value.clone()));
    let all = [
        (of(is, Test::Is), is),
        (of(is_not, Test::IsNot), is_not),
        (of(has, Test::Has), has),
        (of(lacks, Test::Lacks), lacks),
    ];
    all.into_iter().filter_map(|(test, at)| Some((test?, &at.as_ref()?.span))).collect()
}

/// How it is compared.
pub fn test(table: &ConditionTable) -> Test {
    tests(table).into_iter().next().map_or(Test::Number, |(test, _)| test)
}

/// What a word or `forbid` says of the number; the outer `None` where neither is given.
#[expect(clippy::option_option, reason = "not given, and given wrongly, are two things")]
pub fn bounds(table: &At<ConditionTable>, checker: &mut Checker<'_>) -> Option<Option<Bounds>> {
    let ConditionTable { equals, at_least, at_most, forbid, .. } = &table.value;
    let tests = tests(&table.value);
    let places: Vec<&Range<usize>> = tests.iter().map(|(_, span)| *span).collect();
    let forbidden = forbid.as_ref().map(|at| &at.span);
    let first = *places.first().or(forbidden.as_ref())?;
    let numbers = [equals, at_least, at_most].into_iter().flatten().map(|at| &at.span);
    let others: Vec<&Range<usize>> = places.iter().skip(1).copied().chain(numbers).collect();
    let others: Vec<&Range<usize>> =
        others.into_iter().chain(forbidden.filter(|_| !places.is_empty())).collect();
    if let Some(other) = others.first() {
        let hint = "give one of `is`, `is_not`, `has`, `lacks`, `forbid`, or bounds of a number";
        checker.problem(other, "two things that it must be", hint);
        return Some(None);
    }
    if let Some(forbid) = forbid {
        if table.value.kernel_log.is_none() {
            let hint = "use it with `kernel_log`; a number that must be 0 has `equals = 0`";
            checker.problem(&forbid.span, "`forbid` is of the kernel's log", hint);
        } else if !forbid.value {
            checker.problem(&forbid.span, "`forbid = false` has no effect", "remove it, or give a bound");
        }
        return Some(Some(Bounds { at_least: 0, at_most: Some(0) }));
    }
    if !is_shown(&table.value) {
        if checker.lost.any_field(&table.span) {
            return Some(None);
        }
        let hint = "use it with `show`, `proc_bonding`, `feature`, `neighbour`, `bridge_vlan`, `fdb`, `mdb` or `sysctl`";
        checker.problem(first, "a word to compare with, and nothing that is shown", hint);
        return Some(None);
    }
    Some(Some(Bounds { at_least: 1, at_most: Some(1) }))
}

/// Checks names, and the words that can come of it.
pub fn check(shown: &Shown, test: &Test, table: &At<ConditionTable>, checker: &mut Checker<'_>) {
    let it = &table.value;
    let word = [&it.is, &it.is_not, &it.has, &it.lacks].into_iter().flatten().next();
    let known = |words: &[&str], checker: &mut Checker<'_>| {
        if let Some(word) = word {
            known_word(word, "such value", words, checker);
        }
    };
    match shown {
        Shown::Link { what, .. } => {
            if let Some(show) = &it.show {
                let keys: Vec<&str> = link_show::keys().into_iter().collect();
                known_word(show, "word of `ip -d link`", &keys, checker);
            }
            if let Some(words) = words_of(what) {
                known(&words, checker);
            }
        }
        Shown::Feature { name, .. } => {
            if let (Some(at), Err(error)) = (&it.feature, name.parse::<FeatureName>()) {
                checker.problem(&at.span, error, "`ethtool -k` lists them: tx-checksum-ip-generic");
            }
            known(&FEATURE_STATES, checker);
        }
        Shown::Detail { of, .. } => {
            it.detail.iter().for_each(|at| known_word(at, "detail of it", of.details(), checker));
            entry(of, table, checker);
        }
        Shown::Neighbour { .. } => known(&NEIGHBOUR_STATES, checker),
        Shown::BridgeVlan { .. } if matches!(test, Test::Has(_) | Test::Lacks(_)) => {
            known(&VLAN_WORDS, checker);
        }
        Shown::Fdb { .. } => {
            entry(shown, table, checker);
            if matches!(test, Test::Has(_) | Test::Lacks(_)) {
                known(&FDB_WORDS, checker);
            }
        }
        Shown::Mdb { .. } => {
            entry(shown, table, checker);
            known(&MDB_WORDS, checker);
        }
        Shown::Qdisc { parent, .. } => {
            if let Some(at) = it.parent.as_ref().filter(|_| !is_class(parent)) {
                let hint = "write it as `tc qdisc` does: root, 1:2, ffff:fff1";
                checker.problem(&at.span, format!("`{parent}` is no parent of a discipline"), hint);
            }
            let what = "queueing discipline's counter";
            let known: Vec<&str> = QDISC_COUNTERS.into_iter().chain(qdisc_xstats::words()).collect();
            it.counter.iter().for_each(|word| known_word(word, what, &known, checker));
        }
        Shown::Snmp { counter, .. } => {
            namespace(table, checker);
            if let Some(at) = it.snmp.as_ref().filter(|_| !snmp::is_name(counter)) {
                let hint =
                    "write it as `nstat -az` does: IpOutDiscards, TcpExtTCPLostRetransmit, Ip6OutDiscards";
                checker.problem(&at.span, format!("`{counter}` is no SNMP counter"), hint);
            }
        }
        Shown::ProcBonding { line, .. } => text_of(line, it.proc_bonding.as_ref(), checker),
        Shown::KernelLog { pattern } => text_of(pattern, it.kernel_log.as_ref(), checker),
        Shown::Sysctl { .. } => namespace(table, checker),
        Shown::BridgeVlan { .. } => {}
    }
    let is_number = matches!(shown, Shown::Snmp { .. } | Shown::KernelLog { .. } | Shown::Qdisc { .. });
    if let Some(word) = word.filter(|_| is_number) {
        let hint = "give `equals`, `at_least` or `at_most` in place of a word";
        checker.problem(&word.span, "it is a number", hint);
    }
}

/// Checks the address of an entry of a database.
fn entry(shown: &Shown, table: &At<ConditionTable>, checker: &mut Checker<'_>) {
    match shown {
        Shown::Fdb { mac, .. } => {
            let at = table.value.fdb.as_ref().map(|at| At { value: mac.clone(), span: at.span.clone() });
            at.iter().for_each(|at| checker.mac(at));
        }
        Shown::Mdb { group, .. } => {
            if let (Some(at), Some(why)) = (&table.value.mdb, mdb::unfit(*group)) {
                checker.problem(&at.span, format!("{group} {why}"), "no entry of it can be there");
            }
        }
        _ => {}
    }
}

/// Checks that there is such a namespace: one that has a device.
fn namespace(table: &At<ConditionTable>, checker: &mut Checker<'_>) {
    let Some(ns) = &table.value.ns else { return };
    let mut known: Vec<String> = checker.devices.keys().map(|device| device.ns.to_string()).collect();
    known.sort();
    known.dedup();
    if !known.iter().any(|name| name == ns.value.as_str()) {
        checker.dangling(&ns.span, "namespace", ns.value.as_str(), &known);
    }
}

fn text_of(text: &str, at: Option<&At<String>>, checker: &mut Checker<'_>) {
    let Some(at) = at else { return };
    let is_empty = text.chars().all(|c| c == '*' || c.is_whitespace());
    if is_empty {
        checker.problem(&at.span, "it fits every line", "write what the line has");
    } else if text.chars().count() > TEXT_CHARS_MAX {
        let hint = format!("{TEXT_CHARS_MAX} characters at the most");
        checker.problem(&at.span, "it is longer than a line", hint);
    } else if text.contains(['\n', '\r']) {
        checker.problem(&at.span, "it is more than one line", "give each line a condition of its own");
    }
}

/// Whether a text is `root`, or a handle in hexadecimal digits: `1:2`, `8001:`.
fn is_class(text: &str) -> bool {
    let is_part = |part: &str| part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text == "root"
        || text.split_once(':').is_some_and(|(major, minor)| {
            !major.is_empty() && is_part(major) && !minor.is_empty() && is_part(minor)
        })
}

/// All that a word of `show` can show, where that is known.
fn words_of(what: &str) -> Option<Vec<&'static str>> {
    match what {
        "operstate" => return Some(OPERSTATES.to_vec()),
        "ad_actor_oper_port_state" | "ad_partner_oper_port_state" => return Some(LACP_STATES.to_vec()),
        "slave_state" => return Some(vec!["ACTIVE", "BACKUP"]),
        "slave_mii_status" => return Some(vec!["UP", "GOING_DOWN", "DOWN", "GOING_BACK"]),
        "state" => return Some(BRIDGE_PORT_STATES.iter().map(|(_, word)| *word).collect()),
        "vlan_filtering" | "topology_change" | "topology_change_detected" => {
            return Some(vec!["true", "false"]);
        }
        _ => {}
    }
    link_show::option_words(what)
}
