//! Queueing disciplines, resolved and checked: which keys go with which kind.

use std::ops::Range;

use crate::net::qdisc::Qdisc;
use crate::topology::check::{Checker, join};
use crate::topology::file::{At, QdiscTable};

/// A kind, the keys it must have, and those it may have.
type Keys = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Which keys each queueing discipline takes.
const QDISC_KEYS: [Keys; 21] = [
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
    ("pie", &[], &["limit"]),
    ("red", &["limit", "min", "max"], &["probability_percent"]),
    ("htb", &["rate", "burst"], &["ceil", "child"]),
    ("hfsc", &["rate"], &["child"]),
    ("multiq", &[], &[]),
    ("mqprio", &["queues"], &["priorities"]),
    ("mq", &["children"], &[]),
    ("teql0", &[], &[]),
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
    if let Some(more) = resolve_more(kind, table, checker) {
        return more;
    }
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

/// Disciplines with classes, and those that look at more than one length; `None` for the others.
fn resolve_more(kind: &str, table: &At<QdiscTable>, checker: &mut Checker<'_>) -> Option<Option<Qdisc>> {
    let QdiscTable { limit, rate, burst, child, ceil, min, max, probability_percent, .. } = &table.value;
    let mut inside = |child: &Option<Box<At<QdiscTable>>>| match child {
        Some(child) => resolve_child(child, checker).map(|child| Some(Box::new(child))),
        None => Some(None),
    };
    let number = |key: &Option<At<u32>>| key.as_ref().map(|at| at.value);
    Some(match kind {
        "pie" => Some(Qdisc::Pie { limit: number(limit) }),
        "red" => (|| {
            let probability_percent = number(probability_percent).unwrap_or(2);
            Some(Qdisc::Red {
                limit: number(limit)?,
                min: number(min)?,
                max: number(max)?,
                probability_percent,
            })
        })(),
        "htb" => inside(child).and_then(|child| {
            let ceil = ceil.as_ref().map(|at| at.value);
            Some(Qdisc::Htb { rate: rate.as_ref()?.value, ceil, burst: number(burst)?, child })
        }),
        "hfsc" => inside(child).and_then(|child| Some(Qdisc::Hfsc { rate: rate.as_ref()?.value, child })),
        "multiq" => Some(Qdisc::Multiq),
        "teql0" => Some(Qdisc::Teql),
        "mqprio" => table.value.queues.as_ref().map(|queues| {
            let priorities = table.value.priorities.as_ref().map(|at| at.value.clone()).unwrap_or_default();
            Qdisc::Mqprio { queues: queues.value.clone(), priorities }
        }),
        "mq" => table.value.children.as_ref().and_then(|children| {
            let children: Option<Vec<Qdisc>> =
                children.value.iter().map(|child| resolve_child(child, checker)).collect();
            children.map(|children| Qdisc::Mq { children })
        }),
        _ => return None,
    })
}

/// What a tbf holds: any kind that has a queue, and none that holds another.
fn resolve_child(table: &At<QdiscTable>, checker: &mut Checker<'_>) -> Option<Qdisc> {
    let kind = &table.value.kind;
    if matches!(
        kind.value.as_str(),
        "tbf" | "htb" | "hfsc" | "multiq" | "mqprio" | "mq" | "teql0" | "noqueue"
    ) {
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
    let QdiscTable { kind: _, limit, rate, burst, delay_us, loss_percent, flow_limit, child, .. } =
        &table.value;
    let QdiscTable { ceil, min, max, probability_percent, queues, priorities, children, .. } = &table.value;
    let given = [
        ("limit", span(limit)),
        ("rate", span(rate)),
        ("burst", span(burst)),
        ("delay_us", span(delay_us)),
        ("loss_percent", span(loss_percent)),
        ("flow_limit", span(flow_limit)),
        ("child", child.as_ref().map(|at| &at.span)),
        ("ceil", span(ceil)),
        ("min", span(min)),
        ("max", span(max)),
        ("probability_percent", span(probability_percent)),
        ("queues", span(queues)),
        ("priorities", span(priorities)),
        ("children", span(children)),
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
    check_classes(table, checker);
    let least = match kind.value.as_str() {
        // sfq_change() refuses 1 since 6.14 and its stable relatives, and takes 0 for "as it is".
        "sfq" => 2,
        // codel_change(), fq_codel_change() and cake_reconfigure() keep or invent another for 0.
        "codel" | "fq_codel" | "cake" | "pie" => 1,
        _ => 0,
    };
    if let Some(limit) = limit.as_ref().filter(|limit| limit.value < least) {
        let message = format!("`{}` takes no limit of {}", kind.value, limit.value);
        checker.problem(&limit.span, message, format!("{least} is the least"));
    }
}

/// TC_QOPT_MAX_QUEUE of mqprio, and priorities of `prio_tc_map` (TC_QOPT_BITMASK).
const CLASSES_MAX: usize = 16;
/// More transmit queues than a topology's device has (numtxqueues).
const CHILDREN_MAX: usize = 4096;

/// Checks what is said of classes, queues and averaged lengths.
fn check_classes(table: &At<QdiscTable>, checker: &mut Checker<'_>) {
    let QdiscTable { rate, ceil, min, max, limit, probability_percent, queues, priorities, children, .. } =
        &table.value;
    if let (Some(min), Some(max)) = (min, max)
        && (min.value == 0 || min.value >= max.value)
    {
        let message = format!("min {} and max {} of the averaged length", min.value, max.value);
        checker.problem(
            &max.span,
            message,
            "some packets are dropped from min on, all from max on: min is the lower one, and not 0",
        );
    }
    if let (Some(max), Some(limit)) = (max, limit)
        && limit.value < max.value
    {
        checker.problem(
            &limit.span,
            format!("a limit of {} below max {}", limit.value, max.value),
            "it is never reached: raise it",
        );
    }
    if let Some(percent) = probability_percent.as_ref().filter(|percent| !(1..=100).contains(&percent.value))
    {
        let message = format!("{} percent are out of range: 1 to 100", percent.value);
        checker.problem(&percent.span, message, "100 drops every packet just below max");
    }
    if let (Some(rate), Some(ceil)) = (rate, ceil)
        && ceil.value < rate.value
    {
        let message = format!("ceil {} is below rate {}", ceil.value, rate.value);
        checker.problem(&ceil.span, message, "a class gets its rate in any case, and up to ceil beside");
    }
    if let Some(rate) = rate.as_ref().filter(|rate| rate.value < 8) {
        checker.problem(
            &rate.span,
            format!("a rate of {} bit/s", rate.value),
            "8 is the least: one byte a second",
        );
    }
    let classes = queues.as_ref().map_or(CLASSES_MAX, |queues| queues.value.len());
    if let Some(queues) = queues
        .as_ref()
        .filter(|queues| !(1..=CLASSES_MAX).contains(&queues.value.len()) || queues.value.contains(&0))
    {
        let message = format!("{} classes, or one without a queue", queues.value.len());
        checker.problem(&queues.span, message, "1 to 16 classes, each with one transmit queue or more");
    }
    if let Some(priorities) = priorities.as_ref().filter(|all| {
        all.value.len() > CLASSES_MAX || all.value.iter().any(|class| usize::from(*class) >= classes)
    }) {
        let message = format!("{} priorities, or one of a class that is not there", priorities.value.len());
        let hint = format!("16 at the most, each a class from 0 to {}", classes.saturating_sub(1));
        checker.problem(&priorities.span, message, hint);
    }
    if let Some(children) = children.as_ref().filter(|all| !(1..=CHILDREN_MAX).contains(&all.value.len())) {
        let message = format!("{} disciplines are out of range: 1 to {CHILDREN_MAX}", children.value.len());
        checker.problem(&children.span, message, "one for each transmit queue");
    }
}
