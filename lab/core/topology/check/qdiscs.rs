//! Queueing disciplines, resolved and checked: which keys go with which kind.

use std::ops::Range;

use crate::net::qdisc::Qdisc;
use crate::topology::check::{Checker, join};
use crate::topology::file::{At, QdiscTable};

/// A kind, the keys it must have, and those it may have.
type Keys = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Which keys each queueing discipline takes.
const QDISC_KEYS: [Keys; 13] = [
    ("pfifo", &["limit"], &[]),
    ("bfifo", &["limit"], &[]),
    ("pfifo_head_drop", &["limit"], &[]),
    ("pfifo_fast", &[], &[]),
    ("plug", &["limit"], &[]),
    ("tbf", &["rate", "burst", "limit"], &["child"]),
    ("netem", &["limit"], &["delay_us", "loss_percent"]),
    ("sfq", &["limit"], &[]),
    ("codel", &[], &["limit"]),
    ("fq", &[], &["limit", "flow_limit"]),
    ("fq_codel", &[], &["limit"]),
    ("cake", &[], &["rate", "limit"]),
    ("noqueue", &[], &[]),
];

/// Checks a queueing discipline's keys.
pub fn resolve(table: &At<QdiscTable>, checker: &mut Checker<'_>) -> Option<Qdisc> {
    let kind = table.value.kind.value.as_str();
    let Some(keys) = QDISC_KEYS.iter().find(|(word, _, _)| *word == kind) else {
        let known: Vec<String> = QDISC_KEYS.iter().map(|(word, _, _)| (*word).to_owned()).collect();
        checker.dangling(&table.value.kind.span, "queueing discipline", kind, &known);
        return None;
    };
    check_keys(table, keys, checker);
    check_values(table, checker);
    let QdiscTable { limit, rate, burst, delay_us, loss_percent, flow_limit, child, .. } = &table.value;
    let child = child.as_ref().map(|child| resolve_child(child, checker));
    let limit = limit.as_ref().map(|at| at.value);
    let or_0 = |number: &Option<At<u32>>| number.as_ref().map_or(0, |at| at.value);
    Some(match kind {
        "pfifo" => Qdisc::Pfifo { limit: limit? },
        "bfifo" => Qdisc::Bfifo { limit: limit? },
        "pfifo_head_drop" => Qdisc::PfifoHeadDrop { limit: limit? },
        "pfifo_fast" => Qdisc::PfifoFast,
        "plug" => Qdisc::Plug { limit: limit? },
        "tbf" => {
            let (rate, burst) = (rate.as_ref()?.value, burst.as_ref()?.value);
            let child = match child {
                Some(child) => Some(Box::new(child?)),
                None => None,
            };
            Qdisc::Tbf { rate, burst, limit: limit?, child }
        }
        "netem" => Qdisc::Netem { limit: limit?, delay_us: or_0(delay_us), loss_percent: or_0(loss_percent) },
        "sfq" => Qdisc::Sfq { limit: limit? },
        "codel" => Qdisc::Codel { limit },
        "fq" => Qdisc::Fq { limit, flow_limit: flow_limit.as_ref().map(|at| at.value) },
        "fq_codel" => Qdisc::FqCodel { limit },
        "cake" => Qdisc::Cake { rate: rate.as_ref().map(|at| at.value), limit },
        _ => Qdisc::Noqueue,
    })
}

/// What a tbf holds: any kind that has a queue, and none that holds another.
fn resolve_child(table: &At<QdiscTable>, checker: &mut Checker<'_>) -> Option<Qdisc> {
    let kind = &table.value.kind;
    if matches!(kind.value.as_str(), "tbf" | "noqueue") {
        let hint = "name one that has a queue of its own";
        checker.problem(&kind.span, format!("`{}` cannot be inside another", kind.value), hint);
        return None;
    }
    resolve(table, checker)
}

/// Checks that a table has the keys of its kind and no others.
fn check_keys(table: &At<QdiscTable>, (kind, required, optional): &Keys, checker: &mut Checker<'_>) {
    fn span<T>(key: &Option<At<T>>) -> Option<&Range<usize>> {
        key.as_ref().map(|at| &at.span)
    }
    let QdiscTable { kind: _, limit, rate, burst, delay_us, loss_percent, flow_limit, child } = &table.value;
    let given = [
        ("limit", span(limit)),
        ("rate", span(rate)),
        ("burst", span(burst)),
        ("delay_us", span(delay_us)),
        ("loss_percent", span(loss_percent)),
        ("flow_limit", span(flow_limit)),
        ("child", child.as_ref().map(|at| &at.span)),
    ];
    let takes = join(required.iter().chain(*optional));
    let hint = if takes.is_empty() { "it takes no keys".into() } else { format!("it takes: {takes}") };
    for (key, span) in given {
        match span {
            Some(span) if !required.contains(&key) && !optional.contains(&key) => {
                checker.problem(span, format!("`{kind}` has no `{key}`"), hint.as_str());
            }
            None if required.contains(&key) && !checker.lost.any_field(&table.span) => {
                checker.problem(&table.span, format!("`{kind}` needs `{key}`"), hint.as_str());
            }
            _ => {}
        }
    }
}

/// Checks the values that a kernel would refuse, or take for something else.
fn check_values(table: &At<QdiscTable>, checker: &mut Checker<'_>) {
    let QdiscTable { kind, limit, loss_percent, .. } = &table.value;
    if let Some(percent) = loss_percent.as_ref().filter(|percent| percent.value > 100) {
        let message = format!("{} percent are out of range: 0 to 100", percent.value);
        checker.problem(&percent.span, message, "100 loses every frame, anything between is random");
    }
    let least = match kind.value.as_str() {
        // sfq_change() refuses 1 since 6.14 and its stable relatives, and takes 0 for "as it is".
        "sfq" => 2,
        // codel_change(), fq_codel_change() and cake_reconfigure() keep or invent another for 0.
        "codel" | "fq_codel" | "cake" => 1,
        _ => 0,
    };
    if let Some(limit) = limit.as_ref().filter(|limit| limit.value < least) {
        let message = format!("`{}` takes no limit of {}", kind.value, limit.value);
        checker.problem(&limit.span, message, format!("{least} is the least"));
    }
}
