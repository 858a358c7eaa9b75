//! Failures as workflow commands of GitHub Actions (`::error file=...,line=...::...`), which it shows at the line of the file.
//!
//! The syntax and what is escaped in it are those of the toolkit's `command.ts`. GitHub shows ten errors of a step.

use std::fmt::Write;

use crate::judge::outcome::Outcome;
use crate::report::document::Document;
use crate::topology::places::Places;
use crate::topology::source::Place;

/// Where a result's topology is.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The file, from the top of the repository; none where it came from standard input.
    pub file: Option<String>,
    /// Places in it and in what it includes, as far as they could be read.
    pub places: Places,
}

/// An error for each check that failed. What failed without one (a panic, a difference from what was accepted) is `otherwise`.
pub fn render(document: &Document, origin: &Origin, otherwise: &str) -> String {
    let mut out = String::new();
    if !document.outcome.is_failure() {
        return out;
    }
    let name = format!("{} on {}", document.topology, document.kernel.id);
    let failed = document.checks.iter().filter(|it| matches!(it.outcome, Outcome::Fail | Outcome::Error));
    for check in failed {
        let text = format!("{}\nexpected {}\nobserved {}", check.name, check.expected, check.observed);
        command(&mut out, origin, origin.places.place(&check.name), &name, &text);
    }
    if out.is_empty() {
        command(&mut out, origin, None, &name, otherwise.trim_end());
    }
    out
}

fn command(out: &mut String, origin: &Origin, place: Option<&Place>, title: &str, text: &str) {
    let mut properties = Vec::new();
    if let Some(file) = &origin.file {
        let (file, line) = place.map_or((file, 1), |place| (&place.path, place.line));
        properties.push(format!("file={}", property(file)));
        properties.push(format!("line={line}"));
    }
    properties.push(format!("title={}", property(title)));
    let _ = writeln!(out, "::error {}::{}", properties.join(","), data(text));
}

/// `escapeData()`: a line end would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// `escapeProperty()`: a colon would end the properties, a comma one of them.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::matrix::tests::{ended, finished};
    use crate::topology::Topology;
    use crate::topology::source::Source;

    const TEXT: &str = "[ns.a.dummy.x]\n[[step]]\npause_ms = 1\n[[expect]]\nname = \"all, 100%: arrive\"\ndevice = \"a:x\"\ncounter = \"tx_packets\"\nequals = 1\n";

    fn origin() -> Origin {
        let topology = Topology::parse("t", "t.toml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
        Origin {
            file: Some("a,b:c.toml".into()),
            places: Places::of(&topology, &Source::of("a,b:c.toml", TEXT)),
        }
    }

    #[test]
    fn a_failed_check_is_at_its_line_and_nothing_in_it_ends_the_command() {
        let mut document = finished("t", "6.1", Outcome::Fail, 3, 0);
        document.checks.truncate(1);
        let check = &mut document.checks[0];
        check.name = "all, 100%: arrive".into();
        (check.outcome, check.expected, check.observed) =
            (Outcome::Fail, "1\r".into(), "2\n::error::x".into());
        assert_eq!(
            render(&document, &origin(), "no"),
            "::error file=a%2Cb%3Ac.toml,line=4,title=t on 6.1::all, 100%25: arrive%0Aexpected 1%0D%0Aobserved 2%0A\
             ::error::x\n"
        );
    }

    #[test]
    fn what_fails_without_a_check_is_at_the_first_line_and_what_passes_is_nowhere() {
        let panicked = ended("t", "6.1", Outcome::Panic, "it died\nnext: look");
        let said = render(&panicked, &origin(), "PANIC t on 6.1: it died\n  next: look\n");
        assert!(
            said.starts_with("::error file=a%2Cb%3Ac.toml,line=1,title=t on 6.1::PANIC t on 6.1: it died%0A")
        );
        assert_eq!(said.lines().count(), 1);
        let said = render(&panicked, &Origin::default(), "it died");
        assert_eq!(said, "::error title=t on 6.1::it died\n");
        for outcome in [Outcome::Pass, Outcome::Xfail, Outcome::Skip, Outcome::Unsupported] {
            assert_eq!(render(&ended("t", "6.1", outcome, "x"), &origin(), "x"), "");
        }
    }
}
