//! The result of one topology on one kernel.

use std::fmt;

use crate::testing::flow::FlowAccount;
use crate::testing::trial::Trial;
use crate::testing::{fail, known};
use bondlab_core::judge::outcome::Outcome;
use bondlab_core::report::document::Document;
use bondlab_core::report::{snapshot, terminal};

/// The result of one topology on one kernel.
///
/// `Display` is the canonical text that the command `lab` keeps as a snapshot: no times, no addresses, nothing that chance
/// decides. So `insta::assert_snapshot!(run)` compares behaviour.
#[derive(Debug, Clone)]
pub struct Run {
    document: Document,
    about: Option<String>,
}

impl Run {
    pub(crate) fn new(document: Document, about: Option<&str>) -> Self {
        Self { document, about: about.map(str::to_owned) }
    }

    /// Whether everything that the topology expects holds, and every frame is accounted for.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        self.document.outcome.is_expected()
    }

    /// The verdict in a word: `pass`, `fail`, `xfail`, `panic`, `hang`, `boot-fail` or `error`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.document.outcome.word()
    }

    /// What ended the run early, such as the kernel's panic; nothing for a run that came to its end.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.document.reason.as_deref()
    }

    /// `uname -r` of the kernel.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.document.kernel.release
    }

    /// A trial by its name: `main`, `control`, or an explanation's.
    ///
    /// # Panics
    /// If there is no such trial.
    #[must_use]
    #[track_caller]
    pub fn trial(&self, name: &str) -> Trial<'_> {
        match self.document.trials.iter().find(|trial| trial.name == name) {
            Some(trial) => Trial::new(trial),
            None => {
                let trials = known(self.document.trials.iter().map(|trial| trial.name.as_str()));
                fail(&format!("there is no trial `{name}`; there are: {trials}\n\n{}", self.account()))
            }
        }
    }

    /// The trial with the topology's steps, or the control where it has none.
    ///
    /// # Panics
    /// If the run did not come to its end.
    #[must_use]
    #[track_caller]
    pub fn main(&self) -> Trial<'_> {
        match self.document.trials.first() {
            Some(trial) => Trial::new(trial),
            None => fail(&format!("the run has no trial\n\n{}", self.account())),
        }
    }

    /// What became of a flow's frames in the main trial.
    ///
    /// # Panics
    /// As [`Run::main`] and [`Trial::flow`].
    #[must_use]
    #[track_caller]
    pub fn flow(&self, name: &str) -> FlowAccount<'_> {
        self.main().flow(name)
    }

    /// A state after the last step of the main trial, of those that the topology's conditions name; what is true or false is 1
    /// or 0. `run.state("node:bond0", "carrier")`
    ///
    /// # Panics
    /// If no condition names it.
    #[must_use]
    #[track_caller]
    pub fn state(&self, device: &str, state: &str) -> u64 {
        match self.document.states.get(&format!("{device} {state}")) {
            Some(value) => *value,
            None => {
                let states = known(self.document.states.keys().map(String::as_str));
                fail(&format!(
                    "the topology does not ask for `{device} {state}`; it asks for: {states}\nhint: a condition with \
                     `device` and `state` has it read"
                ))
            }
        }
    }

    /// The explanations that fit all the evidence of the topology's report.
    #[must_use]
    pub fn explanations(&self) -> Vec<&str> {
        let fitting = self.document.hypotheses.iter().filter(|hypothesis| hypothesis.fits);
        fitting.map(|hypothesis| hypothesis.name.as_str()).collect()
    }

    /// The account for people, as `lab run` prints it.
    #[must_use]
    pub fn account(&self) -> String {
        terminal::render(&self.document, self.about.as_deref())
    }

    /// The machine-readable result, as `lab run --format json` prints it. Fields may be added, and are never renamed.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(&self.document).expect("a result has text keys only")
    }

    /// Asserts that everything that the topology expects holds, and that every frame is accounted for.
    ///
    /// # Panics
    /// If not, with the account.
    #[track_caller]
    pub fn assert_expected(&self) {
        if let Some(failure) = self.failure() {
            fail(&failure);
        }
    }

    /// What is not as expected, with the account.
    pub(crate) fn failure(&self) -> Option<String> {
        let Document { topology, outcome, .. } = &self.document;
        (!self.is_expected()).then(|| format!("{topology}: {outcome}\n\n{}", self.account()))
    }

    /// Why the kernel could not run the topology, if it could not.
    pub(crate) fn skipped(&self) -> Option<&str> {
        let reason = self.document.reason.as_deref();
        (self.document.outcome == Outcome::Skip).then(|| reason.unwrap_or("no reason was given"))
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(snapshot::text(&self.document).trim_end())
    }
}
