//! Where a file says what a result speaks of: lines of conditions and explanations, by the names of their checks.

use crate::topology::Topology;
use crate::topology::file::TopologyFile;
use crate::topology::parse::read;
use crate::topology::scenario::Step;
use crate::topology::source::{Place, Source};

/// Places in a topology file and those that it includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// By the name of a check. The first of a name is it.
    exact: Vec<(String, Place)>,
    /// By the beginning of one.
    prefixes: Vec<(String, Place)>,
}

impl Places {
    /// The places of a topology in the text it was read from.
    pub fn of(topology: &Topology, source: &Source) -> Self {
        let Some(file) = read::read(source, &[], 0).file else { return Self::default() };
        let mut places = Self::default();
        places.expectations(topology, &file, source);
        places.steps(topology, &file, source);
        places.explanations(&file, source);
        places
    }

    /// Where a check is written.
    pub fn place(&self, check: &str) -> Option<&Place> {
        let exact = self.exact.iter().find(|(name, _)| name == check);
        let begins = || self.prefixes.iter().find(|(name, _)| check.starts_with(name.as_str()));
        exact.or_else(begins).map(|(_, place)| place)
    }

    fn expectations(&mut self, topology: &Topology, file: &TopologyFile, source: &Source) {
        for (condition, table) in topology.scenario.expect.iter().zip(&file.expect) {
            self.exact.push((condition.name.clone(), source.place(table.span.start)));
        }
    }

    fn steps(&mut self, topology: &Topology, file: &TopologyFile, source: &Source) {
        for (step, table) in topology.scenario.steps.iter().zip(&file.step) {
            if let Step::Wait { until, .. } = step {
                self.exact.push((format!("wait: {}", until.name), source.place(table.span.start)));
            }
        }
    }

    fn explanations(&mut self, file: &TopologyFile, source: &Source) {
        for name in file.hypothesis.keys() {
            let here = source.place(name.span.start);
            self.exact.push((format!("hypothesis {}", name.value), here.clone()));
            self.prefixes.push((format!("hypothesis {}: ", name.value), here.clone()));
            self.prefixes.push((format!("{}: ", name.value), here.clone()));
        }
        if let Some(report) = &file.report {
            self.prefixes.push(("control: ".to_owned(), source.place(report.span.start)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[ns.a.veth.p]
peer = "b:p"
addresses = ["192.0.2.1/24"]
[ns.b.veth.p]
peer = "a:p"
addresses = ["192.0.2.2/24"]
[fault.down.cut]
device = "b:p"
[flow.f]
from = "a:p"
to = "b:p"
frames = 3
[[step]]
flood = "f"
[[step]]
wait = { device = "b:p", state = "carrier", equals = 1, name = "the cable is in" }
within_ms = 10

[[expect]]
name = "all arrive"
flow = "f"
field = "delivered"
equals = 3

[[expect]]
name = "none is lost"
flow = "f"
field = "lost"
equals = 0

[report]
floods = ["f"]
evidence = [
  { name = "nothing arrives", flow = "f", field = "delivered", equals = 0 },
]
[hypothesis.cut]
about = "The cable is out."
inject = ["cut"]
"#;

    #[test]
    fn a_check_is_on_the_line_of_what_it_checks() {
        let topology = Topology::parse("t", "t.toml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
        let places = Places::of(&topology, &Source::of("t.toml", TEXT));
        let line = |check: &str| places.place(check).map(|place| place.line);
        let at =
            |check: &str| line(check).map(|line| TEXT.lines().nth(line - 1).unwrap_or_default().to_owned());
        assert_eq!(line("all arrive"), Some(20));
        assert_eq!(line("none is lost"), Some(26));
        assert!(at("all arrive").is_some_and(|line| line == "[[expect]]"), "{:?}", at("all arrive"));
        assert_eq!(at("hypothesis cut").as_deref(), Some("[hypothesis.cut]"));
        assert_eq!(at("hypothesis cut: nothing arrives").as_deref(), Some("[hypothesis.cut]"));
        assert_eq!(at("cut: every frame is accounted for").as_deref(), Some("[hypothesis.cut]"));
        assert_eq!(at("control: with nothing broken, every frame arrives").as_deref(), Some("[report]"));
        assert_eq!(line("wait: the cable is in"), Some(16));
        assert_eq!(at("main: every frame is accounted for"), None);
    }
}
