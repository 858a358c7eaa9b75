//! Rules of lint that a file silences: each is there, and has a word why.

use crate::topology::check::Checker;
use crate::topology::file::TopologyFile;
use crate::topology::lint::{RULES, rule};

/// Checks `[lint.allow]`.
pub fn check(file: &TopologyFile, checker: &mut Checker<'_>) {
    for (name, why) in file.lint.iter().flat_map(|lint| &lint.allow) {
        if rule(&name.value).is_none() {
            let known: Vec<String> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
            checker.dangling(&name.span, "rule of lint", &name.value, &known);
        } else if why.value.trim().is_empty() {
            let message = format!("`{}` is allowed without a reason", name.value);
            checker.problem(&why.span, message, "say why it is meant");
        }
    }
}
