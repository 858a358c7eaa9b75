//! What a reporter tried, and whether it helped: rows of a table, or a sentence.

use crate::import::model::{Attempt, Change, Model, shortened};
use crate::net::name::IfName;

/// Attempts beyond these are left out.
const ATTEMPTS_MAX: usize = 24;

const IN_VAIN: [&str; 7] = [
    "did not help",
    "didn't help",
    "does not help",
    "no effect",
    "no change",
    "made no difference",
    "no improvement",
];

const QDISCS: [&str; 5] = ["fq_codel", "pfifo_fast", "pfifo", "cake", "noqueue"];

/// Reads a sentence, or a row of a table; whether it tells of an attempt.
pub fn sentence(lower: &str, text: &str, devices: &[String], model: &mut Model) -> bool {
    let Some(change) = change(lower, devices) else { return false };
    let timed_out = IN_VAIN.iter().any(|words| lower.contains(words));
    // Without a verdict only a table's row is an attempt; other sentences may be an explanation.
    if !timed_out && !text.starts_with('|') {
        return false;
    }
    if let Some(known) = model.tried.iter_mut().find(|attempt| attempt.change == change) {
        known.timed_out |= timed_out;
    } else if model.tried.len() < ATTEMPTS_MAX {
        let cells: Vec<&str> = text.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let words = shortened(&cells.join(": ").replace('`', ""), 160);
        model.tried.push(Attempt { change, timed_out, words });
    }
    true
}

fn change(lower: &str, devices: &[String]) -> Option<Change> {
    let device = devices.first().and_then(|name| name.parse::<IfName>().ok());
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if let Some(feature) = offload(lower) {
        return Some(Change::Offload(device, feature, !says(&["disabl", " off"])));
    }
    let device = device?;
    let qdisc = QDISCS.iter().find(|qdisc| lower.contains(**qdisc));
    if let Some(qdisc) = qdisc.filter(|_| says(&["add", "replac", "set", "chang", "switch"])) {
        return Some(Change::Qdisc(device, (*qdisc).into()));
    }
    if says(&["delet", "remov"]) && says(&["recreat", "re-creat", "again"]) {
        return Some(Change::Recreate(device));
    }
    says(&["bounc", "down/up", "flapp"]).then_some(Change::Bounce(device))
}

fn offload(lower: &str) -> Option<&'static str> {
    let names = [("tx-vlan-offload", "tx-vlan-offload"), ("txvlan", "tx-vlan-offload")];
    names.iter().find(|(word, _)| lower.contains(word)).map(|(_, name)| *name)
}
