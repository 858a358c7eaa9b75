//! What a trial's links are at its end, and what its kernel said, as lines.
//!
//! The first trial that came to its end tells of all links; each other one of those that are otherwise there. Features are
//! listed once for each kind of device, and then what other devices of that kind have beside or without them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::net::link_state::LinkReport;
use crate::report::behaviour::{Item, Label, Line};
use crate::report::document::{Document, TrialDocument};
use crate::report::snapshot::worded;

/// The trial that others are compared with.
pub fn first(document: &Document) -> Option<&TrialDocument> {
    document.trials.iter().find(|trial| !trial.links.is_empty())
}

/// What is reported of a trial's end.
pub fn lines(trial: &TrialDocument, first: Option<&TrialDocument>) -> Vec<Line> {
    let mut lines: Vec<Line> = trial.captured.iter().map(|one| capture(trial, one)).collect();
    let is_first = first.is_some_and(|first| first.name == trial.name);
    let known = |device: &str| first.filter(|_| !is_first).and_then(|first| first.links.get(device));
    for (device, report) in &trial.links {
        let unsettled = !report.is_settled || known(device).is_some_and(|known| !known.is_settled);
        let label = || Label::Link(device.clone());
        if unsettled {
            lines.push(Line::not_compared(label(), "its state had not caught up with its carrier"));
        } else if known(device).is_none_or(|known| link(known) != link(report)) {
            lines.push(worded(label(), &link(report)));
        }
        if let Some(told) = lacp(report)
            && known(device).and_then(lacp) != Some(told.clone())
        {
            lines.push(worded(Label::Lacp(device.clone()), &told));
        }
    }
    if let Some(first) = first.filter(|_| !is_first && !trial.links.is_empty()) {
        let gone = first.links.keys().filter(|device| !trial.links.contains_key(*device));
        lines.extend(gone.map(|device| worded(Label::Link(device.clone()), "gone")));
    }
    for (said, requests) in &trial.acknowledged {
        let requests = Item::Count((*requests).into(), "requests".into());
        lines.push(Line::new(Label::Acknowledged(label(said)), vec![requests]));
    }
    lines
}

fn capture(trial: &TrialDocument, (capture, count): (&String, &u64)) -> Line {
    let is_some = trial.captured_by_timer.contains(capture);
    let told = match count {
        0 if is_some => "none".to_owned(),
        _ if is_some => "some".to_owned(),
        count => count.to_string(),
    };
    Line::new(Label::Capture(capture.clone()), vec![Item::Words(told)])
}

fn link(report: &LinkReport) -> String {
    let flags = if report.flags.is_empty() { "none".to_owned() } else { report.flags.join(" ") };
    // A link with carrier is UNKNOWN until linkwatch has looked (`rfc2863_policy()`), and some for ever: both mean that it may
    // be used (Documentation/networking/operstates.rst), and which of them it is by then is a matter of time.
    let may_be_used = report.operstate == "UNKNOWN" && report.flags.iter().any(|flag| flag == "LOWER_UP");
    let operstate = if may_be_used { "UP" } else { &report.operstate };
    let mut told = format!("operstate {operstate}, flags {flags}");
    if let Some(failures) = report.failures.filter(|failures| *failures > 0) {
        let _ = write!(told, ", link failures {failures}");
    }
    told
}

fn lacp(report: &LinkReport) -> Option<String> {
    let port = report.lacp.as_ref()?;
    let words = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let others: Vec<String> = port.aggregated_with.iter().map(ToString::to_string).collect();
    Some(format!(
        "actor {}, partner {}, aggregated with {}",
        words(&port.actor),
        words(&port.partner),
        words(&others)
    ))
}

/// What devices of the first trial can offload.
pub fn features(document: &Document) -> Option<Line> {
    let trial = first(document).filter(|trial| trial.links.values().any(|it| it.features.is_some()))?;
    let mut lines = Vec::new();
    let mut kinds: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for (device, report) in &trial.links {
        let Some(features) = &report.features else { continue };
        let here: BTreeSet<&String> = features.iter().collect();
        let word = |word: String| Item::Words(word);
        // A device of a driver is a kind of its own.
        let kind = if report.kind.is_empty() { device } else { &report.kind };
        let Some(known) = kinds.get(kind.as_str()) else {
            let told = here.iter().map(|name| word((*name).clone())).collect();
            lines.push(Line::new(Label::Name(kind.clone()), told));
            kinds.insert(kind, here);
            continue;
        };
        let more = here.difference(known).map(|name| word(format!("with {name}")));
        let less = known.difference(&here).map(|name| word(format!("without {name}")));
        let all: Vec<Item> = more.chain(less).collect();
        if !all.is_empty() {
            lines.push(Line::new(Label::Name(device.clone()), all));
        }
    }
    Some(Line::heading(Label::Features, lines))
}

/// What the kernel logged in all trials: in which of them it printed a line may be a matter of its rate limit.
pub fn log(document: &Document) -> Option<Line> {
    let logs: Vec<_> = document.trials.iter().map(|trial| trial.kernel_log.as_ref()).collect();
    if logs.iter().any(Option::is_none) {
        return Some(Line::not_compared(Label::KernelLog, "it was not read"));
    }
    if logs.iter().flatten().any(|log| log.is_cut) {
        return Some(Line::not_compared(Label::KernelLog, "it has more lines than are read"));
    }
    let printed: BTreeSet<&String> = logs.iter().flatten().flat_map(|log| &log.lines).collect();
    let lines: Vec<Line> =
        printed.into_iter().map(|line| worded(Label::Name(label(line)), "printed")).collect();
    (!lines.is_empty()).then(|| Line::heading(Label::KernelLog, lines))
}

/// A text that is a label: what follows its colon would be taken for a value.
fn label(text: &str) -> String {
    text.trim_end_matches(':').replace(": ", " - ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::outcome::Outcome;
    use crate::net::kernel_log::KernelLog;
    use crate::net::link_state::LacpPort;
    use crate::report::matrix::tests::finished;
    use crate::report::snapshot;

    fn report(operstate: &str, features: &[&str]) -> LinkReport {
        LinkReport {
            kind: "veth".into(),
            operstate: operstate.into(),
            flags: vec!["UP".into()],
            features: Some(features.iter().map(|name| (*name).into()).collect()),
            is_settled: true,
            ..LinkReport::default()
        }
    }

    /// A control in which both links are up, and a trial in which one is down.
    fn document() -> Document {
        let mut document = finished("t", "6.12.57", Outcome::Pass, 0, 0);
        let control = &mut document.trials[0];
        control.links = [("a:x", report("UP", &["tso", "gro"])), ("a:y", report("UP", &["gro", "lro"]))]
            .map(|(device, report)| (device.to_owned(), report))
            .into();
        control.kernel_log = Some(KernelLog::default());
        let mut broken = control.clone();
        broken.name = "broken".into();
        broken.links["a:y"].operstate = "DOWN".into();
        broken.links["a:y"].failures = Some(1);
        document.trials.push(broken);
        document
    }

    fn lines(document: &Document, label: &str) -> Vec<String> {
        let text = snapshot::text(document);
        text.lines().map(str::trim).filter(|line| line.starts_with(label)).map(str::to_owned).collect()
    }

    #[test]
    fn a_later_trial_tells_of_links_that_are_otherwise_than_in_the_first() {
        let mut document = document();
        let up = |device: &str| format!("link {device}: operstate UP, flags UP");
        let down = "link a:y: operstate DOWN, flags UP, link failures 1".to_owned();
        assert_eq!(lines(&document, "link "), [up("a:x"), up("a:y"), down]);
        document.trials[1].links.shift_remove("a:y");
        assert_eq!(lines(&document, "link ")[2], "link a:y: gone");
    }

    #[test]
    fn a_link_with_carrier_is_up_whether_linkwatch_has_looked_or_not() {
        let with = |operstate: &str, flags: &[&str]| {
            link(&LinkReport {
                operstate: operstate.into(),
                flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
                ..report("UP", &[])
            })
        };
        assert_eq!(with("UNKNOWN", &["UP", "LOWER_UP"]), with("UP", &["UP", "LOWER_UP"]));
        assert_ne!(with("UNKNOWN", &["UP"]), with("UP", &["UP"]));
    }

    #[test]
    fn a_link_that_has_not_settled_is_held_against_no_other() {
        let document = document();
        for trial in 0..2 {
            let mut late = document.clone();
            late.trials[trial].links["a:y"].is_settled = false;
            late.trials[trial].links["a:y"].operstate = "DORMANT".into();
            assert!(
                snapshot::same(&snapshot::behaviour(&late), &snapshot::behaviour(&document)),
                "trial {trial}"
            );
            late.trials[0].links["a:x"].operstate = "DOWN".into();
            assert!(
                !snapshot::same(&snapshot::behaviour(&late), &snapshot::behaviour(&document)),
                "trial {trial}"
            );
        }
    }

    #[test]
    fn features_are_reported_once_a_kind_and_then_by_device() {
        assert_eq!(
            snapshot::behaviour(&document()).split_features().1.unwrap().to_string(),
            "veth: gro, tso\na:y: with lro, without tso\n"
        );
    }

    #[test]
    fn lacp_is_reported_by_the_names_of_its_bits() {
        let mut document = document();
        document.trials[0].links["a:x"].lacp = Some(LacpPort {
            bond: "a:b".parse().unwrap(),
            actor: vec!["activity".into(), "collecting".into()],
            partner: Vec::new(),
            aggregated_with: vec!["y".parse().unwrap()],
        });
        let expected = "lacp a:x: actor activity collecting, partner none, aggregated with y";
        assert_eq!(lines(&document, "lacp "), [expected]);
    }

    #[test]
    fn captures_of_what_timers_send_are_only_some() {
        let mut document = document();
        let control = &mut document.trials[0];
        control.captured = [("garps".to_owned(), 3), ("pdus".to_owned(), 17), ("none".to_owned(), 0)].into();
        control.captured_by_timer = ["pdus".to_owned(), "none".to_owned()].into();
        assert_eq!(
            lines(&document, "capture "),
            ["capture garps: 3", "capture none: none", "capture pdus: some"]
        );
    }

    #[test]
    fn the_log_is_of_all_trials_and_only_where_all_of_them_have_one() {
        let behaviour = |document: &Document| snapshot::behaviour(document).split_features().0;
        let mut document = document();
        let mut log = KernelLog::default();
        log.take("4,1,2,-;p0: late");
        document.trials.iter_mut().for_each(|trial| trial.kernel_log = Some(log.clone()));
        assert!(behaviour(&document).to_string().ends_with("\nkernel log\n  warning p0 - late: printed\n"));
        // Some lines a kernel prints once: rounds are compared without them.
        assert!(!snapshot::of_round(&document).to_string().contains("late"));
        document.trials[1].kernel_log = None;
        let unread = behaviour(&document);
        assert!(unread.to_string().ends_with("\nkernel log: not compared: it was not read\n"), "{unread}");
        log.is_cut = true;
        document.trials[1].kernel_log = Some(log);
        assert!(snapshot::same(&unread, &behaviour(&document)));
    }
}
