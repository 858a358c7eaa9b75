//! What the runs of a topology say: checks, explanations, and each trial's frames. What several kernels have alike is there once.

use maud::{Markup, PreEscaped, html};

use crate::report::behaviour;
use crate::report::document::{Document, TrialDocument};
use crate::report::html::places;
use crate::report::html::topology::One;
use crate::report::html::{flows, tables};
use crate::report::plural::s;

/// What a part of the account is of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Of<'a> {
    Checks,
    FirstTrial(&'a str),
    Conclusions,
    Trial(&'a str),
}

/// A part of the account.
struct Part<'a> {
    of: Of<'a>,
    pieces: Vec<Piece>,
}

/// One thing that is said, such as one flow's account, in each way in which kernels say it.
#[derive(PartialEq)]
struct Piece {
    key: String,
    variants: Vec<Variant>,
}

/// One way, and the kernels that say it so.
#[derive(PartialEq)]
struct Variant {
    body: String,
    kernels: Vec<String>,
}

/// The pieces of one document, each with its part, and a key that tells it from others of that part.
type Pieces<'a> = Vec<(Of<'a>, String, Markup)>;

/// The account of a topology.
pub fn all(one: &One<'_>) -> Markup {
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut ran = 0;
    for document in one.cells.iter().map(|cell| &cell.document).filter(|document| !document.trials.is_empty())
    {
        ran += 1;
        for (of, key, body) in pieces(document) {
            add(&mut parts, (of, key), body.into_string(), &document.kernel.id);
        }
    }
    let merged = merged(&parts);
    html! {
        @if ran > 0 {
            details.account open[one.is_alone] {
                summary { h3 { "Account of every frame" } }
                div.scroll role="group" aria-label={ "Account of " (one.name) } tabindex="0" {
                    @for (names, part) in &merged { (section(one, names, part, ran)) }
                }
            }
        }
    }
}

/// Trials of which the same is to be said are one part: what was tried and changed nothing.
fn merged<'p, 'a>(parts: &'p [Part<'a>]) -> Vec<(Vec<&'a str>, &'p Part<'a>)> {
    let mut merged: Vec<(Vec<&str>, &Part<'_>)> = Vec::new();
    for part in parts {
        let Of::Trial(name) = part.of else {
            merged.push((Vec::new(), part));
            continue;
        };
        let same = |known: &&mut (Vec<&str>, &Part<'_>)| {
            matches!(known.1.of, Of::Trial(_)) && known.1.pieces == part.pieces
        };
        match merged.iter_mut().find(same) {
            Some((names, _)) => names.push(name),
            None => merged.push((vec![name], part)),
        }
    }
    merged
}

/// The trials after the first one are shown on demand.
fn section(one: &One<'_>, names: &[&str], part: &Part<'_>, ran: usize) -> Markup {
    let pieces = html! { @for piece in &part.pieces { (variants(one, piece, ran)) } };
    match part.of {
        Of::Checks | Of::Conclusions => pieces,
        Of::FirstTrial(name) => html! { h4 { "Trial " (name) } (pieces) },
        Of::Trial(_) => {
            html! { details { summary { "Trial" (s(names.len())) " " (names.join(", ")) } (pieces) } }
        }
    }
}

fn variants(one: &One<'_>, piece: &Piece, ran: usize) -> Markup {
    html! {
        @for Variant { body, kernels } in &piece.variants {
            @if kernels.len() == ran {
                (PreEscaped(body))
            } @else {
                div.on data-k=(places::columns(one.kernels, kernels)) {
                    p.soft { "On " (behaviour::ranges(one.kernels, kernels)) ":" }
                    (PreEscaped(body))
                }
            }
        }
    }
}

fn add<'a>(parts: &mut Vec<Part<'a>>, (of, key): (Of<'a>, String), body: String, kernel: &str) {
    if body.is_empty() {
        return;
    }
    let part = match parts.iter().position(|part| part.of == of) {
        Some(number) => &mut parts[number],
        None => parts.push_mut(Part { of, pieces: Vec::new() }),
    };
    let piece = match part.pieces.iter().position(|piece| piece.key == key) {
        Some(number) => &mut part.pieces[number],
        None => part.pieces.push_mut(Piece { key, variants: Vec::new() }),
    };
    match piece.variants.iter_mut().find(|variant| variant.body == body) {
        Some(variant) => variant.kernels.push(kernel.to_owned()),
        None => piece.variants.push(Variant { body, kernels: vec![kernel.to_owned()] }),
    }
}

fn pieces(document: &Document) -> Pieces<'_> {
    let piece = |of: Of<'static>, key: &str, body| (of, key.to_owned(), body);
    let mut all: Pieces<'_> = vec![
        piece(Of::Checks, "substitutions", tables::substitutions(document)),
        piece(Of::Checks, "attachments", tables::attachments(document)),
        piece(Of::Checks, "checks", tables::checks(document)),
    ];
    let (first, rest) = document.trials.split_at(document.trials.len().min(1));
    first.iter().for_each(|trial| all.extend(frames(&Of::FirstTrial(&trial.name), trial)));
    all.extend([
        piece(Of::Conclusions, "states", tables::states(document)),
        piece(Of::Conclusions, "explanations", tables::explanations(document)),
        piece(Of::Conclusions, "commands", tables::next_checks(document)),
        piece(Of::Conclusions, "mitigations", tables::mitigations(document)),
        piece(Of::Conclusions, "proofs", tables::proofs(document)),
    ]);
    rest.iter().for_each(|trial| all.extend(frames(&Of::Trial(&trial.name), trial)));
    all
}

/// A trial's frames, its own and the kernel's.
fn frames<'a>(of: &Of<'a>, trial: &TrialDocument) -> Pieces<'a> {
    let piece = |key: &str, body| (of.clone(), key.to_owned(), body);
    let refused = html! {
        @if let Some(refused) = &trial.refused { p { b { "The kernel refused: " } (refused) } }
    };
    let mut all = vec![piece("refused", refused)];
    let flows = trial.flows.iter().enumerate();
    all.extend(
        flows.map(|(number, flow)| piece(&format!("flow {number} {}", flow.name), flows::diagram(flow))),
    );
    all.push(piece("kernel", kernel_frames(trial)));
    all.push(piece(
        "log",
        html! {
            @if let Some(log) = trial.kernel_log.as_ref().filter(|log| !log.lines.is_empty()) {
                details { summary { "Kernel log, level warning and above" } ul { @for line in &log.lines { li { code { (line) } } } } }
            }
        },
    ));
    all.push(piece(
        "unobserved",
        html! {
            @if let Some(why) = &trial.unobserved {
                p { "Attributed by counters only; the drop tracepoint is not read: " (why) }
            }
        },
    ));
    all
}

fn kernel_frames(trial: &TrialDocument) -> Markup {
    html! {
        @if !trial.kernel_frames.is_empty() {
            p { "The kernel's own frames that were lost:" }
            ul {
                @for lost in &trial.kernel_frames {
                    li {
                        (lost.frames) " " (lost.what)
                        @if let Some(vlan) = lost.vlan { " in VLAN " (vlan) }
                        " at " (lost.layer.as_deref().unwrap_or("an unknown layer"))
                        " of " (lost.device.as_deref().unwrap_or("an unknown device")) " (" (lost.reason) ")"
                    }
                }
            }
        }
    }
}
