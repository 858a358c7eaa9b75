//! A result for a reader who has not read the kernel, in under 60 lines.

pub(crate) mod explanations;
pub mod look;
pub(crate) mod mitigations;
pub mod so_far;

use std::fmt::Write;

use indexmap::IndexMap;

use crate::judge::outcome::Outcome;
use crate::net::layer::Layer;
use crate::report::document::{
    AttachmentDocument, CheckDocument, Document, FateDocument, FlowDocument, QdiscDocument, ReplacedDocument,
    Timing, TrialDocument,
};
use crate::report::drawing::tree;
use crate::report::plural::s;
use crate::topology::scenario::{CountsAt, Socket};

pub use crate::report::terminal::look::{Detail, Look};

/// Lines are kept within this many columns.
const WIDTH: usize = 100;
/// What came before a run is named where it took as long, in ms.
const SHOWN_MS: u64 = 500;

/// Renders a result for a file or a pipe. `about` is the topology's own explanation.
pub fn render(document: &Document, about: Option<&str>) -> String {
    render_as(document, about, &Look::PLAIN)
}

/// Renders a result for a reader. `about` is the topology's own explanation.
pub fn render_as(document: &Document, about: Option<&str>, look: &Look) -> String {
    let about = about.filter(|_| look.detail != Detail::Quiet);
    let width = look.columns();
    let (mut out, is_finished) = head(document, about, width);
    if look.detail == Detail::Quiet {
        failed_checks(&mut out, document);
        return look.dress(&out);
    }
    if let Some(structure) = document.structure.as_ref().filter(|_| look.has_tree) {
        out.push('\n');
        out += &tree::render(structure, |_, text| text.to_owned());
    }
    if is_finished {
        body(&mut out, document, look.detail == Detail::Verbose, width);
    }
    look.dress(&out)
}

/// All that is said of a run that came to its end.
fn body(out: &mut String, document: &Document, is_verbose: bool, width: usize) {
    if let Some(main) = document.trials.iter().find(|trial| trial.name == "main") {
        let mut said = String::new();
        trial(&mut said, main, width);
        seen(&mut said, document, main);
        if !said.is_empty() {
            let _ = write!(out, "\n{said}");
        }
    }
    if is_verbose {
        for other in document.trials.iter().filter(|trial| trial.name != "main") {
            let _ = writeln!(out, "\nTrial {}", other.name);
            trial(out, other, width);
        }
    }
    explanations::table(out, document, width);
    explanations::next_checks(out, document);
    proofs(out, document);
    checks(out, document);
    if is_verbose {
        for check in document.checks.iter().filter(|check| check.outcome == Outcome::Pass) {
            let _ = writeln!(
                out,
                "  PASS {}\n    expected {}, observed {}",
                check.name, check.expected, check.observed
            );
        }
    }
}

/// Renders what was tried against a report.
pub fn render_fixes(document: &Document, look: &Look) -> String {
    let (mut out, is_finished) = head(document, None, look.columns());
    if is_finished {
        mitigations::table(&mut out, document, look.columns());
        checks(&mut out, document);
    }
    look.dress(&out)
}

/// What ran where and how it ended; and whether there is more to tell.
fn head(document: &Document, about: Option<&str>, width: usize) -> (String, bool) {
    let mut out = String::new();
    let kernel = &document.kernel;
    let place = match kernel.backend.as_str() {
        "vm" if kernel.clock == "virtual" => {
            format!("microVM, {}, virtual time", kernel.accelerator.to_uppercase())
        }
        "vm" => format!("microVM, {}", kernel.accelerator.to_uppercase()),
        _ => "this kernel".into(),
    };
    let time = time(&document.timing_ms);
    let head = format!("{} on Linux {} ({place})", document.topology, kernel.release);
    let _ = writeln!(out, "{head}: {} {time}", document.outcome.word().to_uppercase());
    if let Some(about) = about {
        out += &wrap(about, 2, width);
    }
    if !document.substitutions.is_empty() {
        let _ = writeln!(out, "  Substitutes, and no hardware: {}", document.substitutions.join(", "));
    }
    for (by, all) in attached(document) {
        out += &wrap(&format!("ADD by {by}: {}", all.join(", ")), 2, width);
    }
    if let Some(reason) = &document.reason {
        let _ = writeln!(out, "\n{reason}");
    }
    (out, document.reason.is_none())
}

/// How long the run took from the plan to the last record; what was before it is named apart.
fn time(timing: &Timing) -> String {
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    let run_ms = timing.build + timing.run;
    if run_ms == 0 {
        return format!("in {}", seconds(timing.total));
    }
    let fetch_ms = timing.total.saturating_sub(timing.start + run_ms);
    let mut before = Vec::new();
    if timing.start >= SHOWN_MS {
        before.push(format!("{} to start the machine", seconds(timing.start)));
    }
    if fetch_ms >= SHOWN_MS {
        before.push(format!("{} to install, fetch and prepare", seconds(fetch_ms)));
    }
    match before.is_empty() {
        true => format!("in {}", seconds(run_ms)),
        false => format!("in {}, after {}", seconds(run_ms), before.join(" and ")),
    }
}

/// Attachments, by who made them.
fn attached(document: &Document) -> IndexMap<&str, Vec<String>> {
    let mut all: IndexMap<&str, Vec<String>> = IndexMap::new();
    for AttachmentDocument { pod, network, interface, plugin, by } in &document.attachments {
        let one = format!("{pod} {interface} ({network}, {plugin})");
        all.entry(by).or_default().push(one);
    }
    all
}

fn trial(out: &mut String, trial: &TrialDocument, width: usize) {
    if let Some(refused) = &trial.refused {
        let _ = writeln!(out, "The kernel refused: {refused}");
    }
    for account in &trial.flows {
        flow(out, account);
    }
    let counted: Vec<String> = trial
        .devices
        .iter()
        .filter_map(|(device, counters)| {
            let dropped: Vec<String> = counters
                .iter()
                .filter(|(name, value)| tells_of_loss(name) && **value > 0)
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            (!dropped.is_empty()).then(|| format!("{device} {}", dropped.join(", ")))
        })
        .chain(trial.qdiscs.iter().chain(&trial.hooks).filter_map(|(device, qdisc)| {
            let drops = *qdisc.counters.get("drops")?;
            (drops > 0).then(|| format!("{} of {device} drops {drops}", qdisc.kind))
        }))
        .chain(trial.replaced_qdiscs.iter().filter_map(|ReplacedDocument { device, kind, counters }| {
            let drops = *counters.get("drops")?;
            (drops > 0).then(|| format!("{kind} of {device}, which was replaced, drops {drops}"))
        }))
        .collect();
    if !counted.is_empty() {
        out.push_str(&wrap(&format!("Who counted it: {}. All others: 0.", counted.join("; ")), 2, width));
    }
    for (device, qdisc) in &trial.qdiscs {
        out.push_str(&below_zero(device, qdisc, width));
    }
    let own = trial.kernel_frames.iter().map(|lost| {
        let place = [&lost.layer, &lost.device].map(|part| part.as_deref().unwrap_or("unknown"));
        let vlan = lost.vlan.map(|id| format!(" in VLAN {id}")).unwrap_or_default();
        format!("{} {}{vlan} at {} of {} ({})", lost.frames, lost.what, place[0], place[1], lost.reason)
    });
    let own: Vec<String> = own.collect();
    if !own.is_empty() {
        out.push_str(&wrap(
            &format!("The kernel's own frames that were lost: {}.", own.join("; ")),
            2,
            width,
        ));
    }
    if let Some(why) = &trial.unobserved {
        out.push_str(&wrap(
            &format!("Attributed by counters only; the drop tracepoint is not read: {why}"),
            2,
            width,
        ));
    }
}

/// What is said of numbers that cannot be.
fn below_zero(device: &str, qdisc: &QdiscDocument, width: usize) -> String {
    let signed = |name: &String| {
        let value = qdisc.counters.get(name).and_then(|value| u32::try_from(*value).ok());
        format!("{name} {}", value.unwrap_or(u32::MAX).cast_signed())
    };
    let all: Vec<String> = qdisc.below_zero.iter().map(signed).collect();
    if all.is_empty() {
        return String::new();
    }
    let fault = format!(
        "A fault of the kernel: it has taken more off the backlog of the {} of {device} than there was ({}), which is no number \
         of packets.",
        qdisc.kind,
        all.join(", ")
    );
    wrap(&fault, 2, width)
}

/// Whether a counter of `struct rtnl_link_stats64` tells of frames that went no further.
fn tells_of_loss(counter: &str) -> bool {
    counter.ends_with("dropped") || counter.ends_with("errors") || counter == "rx_nohandler"
}

/// What is neither sent nor counted by a device: states that were asked for, and what captures saw.
fn seen(out: &mut String, document: &Document, main: &TrialDocument) {
    for (subject, value) in &document.states {
        let _ = writeln!(out, "{subject}: {value}");
    }
    for (capture, count) in &main.captured {
        let _ = writeln!(out, "capture {capture}: {count} frame{}", s(*count));
    }
}

fn flow(out: &mut String, flow: &FlowDocument) {
    let refused: Vec<String> =
        flow.errors.iter().map(|(errno, n)| format!("{n} refused ({errno})")).collect();
    let refused = if refused.is_empty() { "none refused".into() } else { refused.join(", ") };
    let _ = writeln!(
        out,
        "{}: {} frame{}, {} -> {} by {} socket\n  {} accepted, {refused}; {} delivered{}",
        flow.name,
        flow.asked,
        s(flow.asked),
        flow.from,
        flow.to,
        flow.socket,
        flow.sent,
        flow.delivered,
        counted_at(flow)
    );
    if let Some(silence) = flow.silence_ms {
        let _ = writeln!(out, "  the receiver got no frame for {silence} ms at the longest");
    }
    for fate in &flow.fates {
        let _ = writeln!(out, "  {:>7} {}", fate.frames, fate_in_words(fate));
    }
    if flow.duplicated > 0 {
        let _ = writeln!(out, "  {:>7} came more than once", flow.duplicated);
    }
    if flow.reordered > 0 {
        let _ = writeln!(out, "  {:>7} came behind a later one", flow.reordered);
    }
    if let Some(again) = flow.retransmitted.filter(|again| *again > 0) {
        let _ = writeln!(out, "  {again:>7} segments were sent again");
    }
    if flow.unattributed > 0 {
        let _ = writeln!(out, "  {:>7} UNATTRIBUTED: nothing accounts for them", flow.unattributed);
    }
}

/// Where frames of a flow count as delivered, in words.
fn counted_at(flow: &FlowDocument) -> String {
    match flow.counts_at {
        Some(CountsAt::Device) => format!(" at the device {}", flow.to),
        Some(CountsAt::Stack) if flow.socket == Socket::Ping => format!(" at the ICMP layer of {}", flow.to),
        Some(CountsAt::Stack) => format!(" at the UDP layer of {}", flow.to),
        Some(CountsAt::Socket) => format!(" at the socket of {}", flow.to),
        None => String::new(),
    }
}

fn fate_in_words(fate: &FateDocument) -> String {
    let device = fate.device_or("a device the kernel does not name");
    match (fate.layer, fate.reason.as_str()) {
        (Layer::Qdisc, "BACKLOG") => format!("still held in the queue of {device}"),
        (Layer::Qdisc, reason @ ("QUEUE_PURGE" | "__rtnl_unlock")) => {
            format!("in the queue of {device} when that was drained ({reason})")
        }
        (Layer::Qdisc, reason) if fate.queue.as_deref() == Some("noop") => {
            format!("dropped on {device}, which is down or has no carrier ({reason})")
        }
        (Layer::Qdisc, reason) => format!("dropped by the queue of {device} ({reason})"),
        (Layer::Backlog, reason @ ("CPU_BACKLOG" | "enqueue_to_backlog")) => {
            format!("dropped on the way into {device}: its processor's backlog was full ({reason})")
        }
        (Layer::Backlog, "HELD") => format!("still in the ring of {device}"),
        (Layer::Xdp, reason) => format!("dropped by an XDP program on {device} ({reason})"),
        (Layer::Backlog, reason) => format!("in the ring of {device} when it was let go ({reason})"),
        (Layer::Tc, reason) => format!("dropped by a traffic control filter on {device} ({reason})"),
        (Layer::Wire, "UNPLUGGED") => format!("sent by {device} into a cable that was out"),
        (Layer::Wire, _) => {
            format!("sent by {device}, or a VF of it, and not received at the cable's other end")
        }
        (Layer::Socket, "UNACKNOWLEDGED") => "written and not acknowledged: still in the send queue".into(),
        (Layer::Socket, reason) => format!("never left the socket ({reason})"),
        (Layer::Neighbour, "HELD") => format!("still wait for an answer to ARP on {device}"),
        (Layer::Ip, "HELD") => format!("still wait on {device} for fragments that were lost"),
        (Layer::Receiver, "OTHER_DEVICE") => format!("arrived by {device} instead"),
        (Layer::Driver, "DISCARDED") => format!("taken by {device}, which discards what it is given"),
        (Layer::Peer, reason) => format!("not taken by {device}, the other end of the cable ({reason})"),
        (Layer::Driver, "HELD") => format!("still held by the stopped driver of {device}"),
        (Layer::Nft, reason) => format!("dropped by a packet filter on {device} ({reason})"),
        (layer, reason) => format!("lost at {layer} of {device} ({reason})"),
    }
}

/// What breaks each expectation, wait and piece of evidence; the vacuous ones are among the checks that failed.
fn proofs(out: &mut String, document: &Document) {
    if document.proofs.is_empty() {
        return;
    }
    let proven = document.proofs.iter().filter(|proof| proof.proven).count();
    let _ = writeln!(
        out,
        "\n{proven} of {} expectations, waits and pieces of evidence can fail:",
        document.proofs.len()
    );
    for proof in &document.proofs {
        let by = match (&proof.broken_by, proof.observed) {
            (Some(by), Some(observed)) => format!("{observed} with {by}"),
            _ => "VACUOUS: nothing breaks it".to_owned(),
        };
        let _ = writeln!(out, "  {}: {by}", proof.name);
    }
}

/// Everything that held is one line; everything that did not is shown in full.
fn checks(out: &mut String, document: &Document) {
    let is_judged = |check: &&CheckDocument| check.outcome != Outcome::Skip;
    let (judged, skipped): (Vec<_>, Vec<_>) = document.checks.iter().partition(is_judged);
    let held = judged.iter().filter(|check| check.outcome == Outcome::Pass).count();
    let flows = || document.trials.iter().flat_map(|trial| &trial.flows);
    let (frames, unattributed, rounds) = match &document.repetitions {
        Some(all) => (all.frames, all.unattributed, format!(" of each of {} rounds", all.rounds)),
        None => (
            flows().map(|flow| u64::from(flow.asked)).sum(),
            flows().map(|flow| u64::from(flow.unattributed)).sum(),
            String::new(),
        ),
    };
    let _ = writeln!(
        out,
        "\n{held} of {} checks hold; {frames} frame{} in {} trial{}{rounds}, {unattributed} unattributed",
        judged.len(),
        s(frames),
        document.trials.len(),
        s(document.trials.len())
    );
    for check in skipped {
        let _ = writeln!(out, "  SKIP {}\n    {}, {}", check.name, check.expected, check.observed);
    }
    failed_checks(out, document);
}

fn failed_checks(out: &mut String, document: &Document) {
    let did_not_hold = |check: &&CheckDocument| !matches!(check.outcome, Outcome::Pass | Outcome::Skip);
    for check in document.checks.iter().filter(did_not_hold) {
        let _ = writeln!(
            out,
            "  {} {}\n    expected {}, observed {}",
            check.outcome.word().to_uppercase(),
            check.name,
            check.expected,
            check.observed
        );
    }
}

/// Breaks a text into lines of so many columns, each indented.
#[must_use]
pub fn wrap(text: &str, indent: usize, width: usize) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() + 1 + indent > width {
            let _ = writeln!(out, "{:indent$}{line}", "");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        let _ = writeln!(out, "{:indent$}{line}", "");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::drawing::{LinkDocument, Structure};
    use crate::report::matrix::tests::finished;

    fn document() -> Document {
        let link = LinkDocument { device: "node:p0".into(), kind: "dummy".into(), ..LinkDocument::default() };
        let mut document = finished("t", "6.1", Outcome::Fail, 3, 0);
        document.structure = Some(Structure { namespaces: vec!["node".into()], links: vec![link] });
        document.checks = [Outcome::Pass, Outcome::Fail]
            .map(|outcome| CheckDocument {
                name: format!("check that is {outcome}"),
                outcome,
                expected: "1".into(),
                observed: "2".into(),
            })
            .to_vec();
        document.timing_ms = Timing { start: 6200, build: 400, run: 1700, total: 38_400 };
        document
    }

    #[test]
    fn the_headline_has_the_time_of_the_run_and_apart_what_was_before_it() {
        let text = render(&document(), None);
        let head = text.lines().next().unwrap_or_default();
        let time = "FAIL in 2.1 s, after 6.2 s to start the machine and 30.1 s to install, fetch and prepare";
        assert!(head.ends_with(time), "{head}");
        let mut quick = document();
        quick.timing_ms = Timing { start: 200, build: 100, run: 100, total: 420 };
        assert!(render(&quick, None).lines().next().unwrap_or_default().ends_with(": FAIL in 0.2 s"));
    }

    #[test]
    fn a_reader_gets_as_much_as_asked_for() {
        let with = |detail| {
            render_as(&document(), Some("About it."), &Look { detail, has_tree: true, ..Look::PLAIN })
        };
        let quiet = with(Detail::Quiet);
        assert_eq!(quiet.lines().count(), 3, "{quiet}");
        assert!(quiet.contains("  FAIL check that is fail\n"), "{quiet}");
        let normal = with(Detail::Normal);
        assert!(normal.contains("About it.") && normal.contains("node\n└─ p0 dummy\n"), "{normal}");
        assert!(!normal.contains("PASS check that is pass"), "{normal}");
        assert!(with(Detail::Verbose).contains("  PASS check that is pass\n"));
    }

    #[test]
    fn a_run_without_a_flow_has_no_empty_paragraph_and_one_frame_is_no_frames() {
        let mut document = document();
        document.trials[0].flows.clear();
        let empty = render(&document, None);
        assert!(!empty.contains("\n\n\n"), "{empty}");
        document.trials[0].captured.insert("announced".into(), 1);
        let seen = render(&document, None);
        assert!(seen.contains("\n\ncapture announced: 1 frame\n\n"), "{seen}");
    }
}
