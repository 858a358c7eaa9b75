//! How much one file may ask for. The limits are far above what one report needs, and keep a run within a guest's memory and
//! minutes: each trial has all namespaces and links of its own, and each hypothesis is a trial.

use std::ops::Range;

use crate::topology::file::{At, Named, NsTable, TopologyFile};
use crate::topology::parse::diagnostic::Diagnostic;

const NAMESPACES_MAX: usize = 64;
const LINKS_MAX: usize = 2048;
const STEPS_MAX: usize = 1000;
const FLOWS_MAX: usize = 256;
const FAULTS_MAX: usize = 256;
const CAPTURES_MAX: usize = 256;
const CONDITIONS_MAX: usize = 1000;
const HYPOTHESES_MAX: usize = 64;
const MITIGATIONS_MAX: usize = 64;

/// Tells of what a file has too much of; the rest of it is not worth a look then.
pub fn check(file: &TopologyFile, problems: &mut Vec<Diagnostic>) -> bool {
    let before = problems.len();
    let mut bounded = |places: Vec<Range<usize>>, max: usize, what: &str| {
        if let Some(span) = places.get(max) {
            problems.push(Diagnostic {
                span: span.clone(),
                message: format!("{} {what}, {max} at the most in one file", places.len()),
                hint: "make several topologies of it".into(),
            });
        }
    };
    bounded(file.ns.keys().map(|name| name.span.clone()).collect(), NAMESPACES_MAX, "namespaces");
    bounded(file.ns.values().flat_map(links).collect(), LINKS_MAX, "links");
    bounded(file.step.iter().map(|step| step.span.clone()).collect(), STEPS_MAX, "steps");
    bounded(places(&file.flow), FLOWS_MAX, "flows");
    bounded(faults(file), FAULTS_MAX, "faults");
    bounded(places(&file.capture), CAPTURES_MAX, "captures");
    bounded(file.expect.iter().map(|one| one.span.clone()).collect(), CONDITIONS_MAX, "expectations");
    bounded(places(&file.hypothesis), HYPOTHESES_MAX, "hypotheses");
    bounded(places(&file.mitigation), MITIGATIONS_MAX, "mitigations");
    problems.len() == before
}

fn places<T>(table: &Named<T>) -> Vec<Range<usize>> {
    spans(table.keys()).collect()
}

fn spans<'a, T: 'a>(names: impl Iterator<Item = &'a At<T>>) -> impl Iterator<Item = Range<usize>> {
    names.map(|name| name.span.clone())
}

fn links(ns: &NsTable) -> Vec<Range<usize>> {
    spans(ns.link_names().into_iter()).collect()
}

fn faults(file: &TopologyFile) -> Vec<Range<usize>> {
    spans(file.fault.names().into_iter()).collect()
}

#[cfg(test)]
mod tests {
    use crate::topology::Topology;

    /// As many tables as `max` and one more, each from a text in which `N` is its number.
    fn said(table: &str, count: usize) -> String {
        let text: String = (0..count).map(|n| table.replace('N', &n.to_string())).collect();
        match Topology::parse("t", "t.toml", &text) {
            Ok(_) => String::new(),
            Err(errors) => errors.lines(),
        }
    }

    #[rstest::rstest]
    #[case("[ns.nN]\n", 64, "namespaces")]
    #[case("[ns.a.dummy.dN]\n", 2048, "links")]
    #[case("[[step]]\npause_ms = N\n", 1000, "steps")]
    #[case("[flow.fN]\nfrom = 'a:b'\nto = 'c:d'\nframes = 1\nsocket = 'udp'\n", 256, "flows")]
    #[case("[fault.down.fN]\ndevice = 'a:b'\n", 256, "faults")]
    #[case("[fault.closed.fN]\ndevice = 'a:b'\n", 256, "faults")]
    #[case("[[expect]]\nflow = 'f'\nfield = 'delivered'\nequals = N\n", 1000, "expectations")]
    #[case("[hypothesis.hN]\nabout = 'x'\ninject = ['f']\n", 64, "hypotheses")]
    fn a_limit_is_reported_with_its_number(#[case] table: &str, #[case] max: usize, #[case] what: &str) {
        let tables = max / table.matches("dummy").count().max(1);
        let expected = format!("{what}, {max} at the most in one file");
        let over = said(table, tables + 1);
        assert!(over.contains(&expected), "{over}");
        assert_eq!(over.lines().count(), 2, "and nothing else is: {over}");
        let at_most = said(table, tables);
        assert!(!at_most.contains("at the most in one file"), "{at_most}");
    }
}
