//! Reads what kselftest's runner prints (tools/testing/selftests/kselftest/runner.sh): `ok`, `not ok`, and what the script
//! said, each line after `# `.

use crate::report::selftests::Outcome;

/// What a tool prints whose option, command or syntax is none. One of these in a script's output means that a part of the
/// script did not do what it says.
const TOOL_ERRORS: [&str; 10] = [
    ": not found",
    "command not found",
    "unknown option",
    "unknown command",
    "Usage:",
    "Error: argument",
    "integer expression expected",
    "is a garbage",
    "syntax error",
    "Unknown device type",
];

/// The lines of a script's output that are shown of one that did not pass.
const LINES_SHOWN: usize = 3;

/// What the runner said of one script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ktap {
    /// By the runner's result line.
    pub outcome: Outcome,
    /// The cases within the script: `TEST: name [ OK ]` of net/lib.sh.
    pub cases: Vec<Case>,
    /// Lines in which tools complain.
    pub tool_errors: Vec<String>,
    /// The lines that say why a script did not pass.
    pub reasons: Vec<String>,
}

/// A case of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl Ktap {
    /// Reads the output of one script's run.
    #[must_use]
    pub fn read(output: &str) -> Self {
        let said: Vec<&str> =
            output.lines().filter_map(|line| line.strip_prefix("# ").or(line.strip_prefix('#'))).collect();
        let outcome = output.lines().rev().find_map(result).unwrap_or(Outcome::None);
        let is_error = |line: &&&str| TOOL_ERRORS.iter().any(|error| line.contains(error));
        let tool_errors: Vec<String> = said.iter().filter(is_error).map(ToString::to_string).collect();
        let cases: Vec<Case> = said.iter().filter_map(|line| case(line)).collect();
        let is_reason = |line: &&&str| {
            case(line).is_some_and(|case| case.outcome == Outcome::Fail)
                || ["FAIL", "SKIP", "Error", "error"].iter().any(|word| line.contains(word))
        };
        let mut reasons: Vec<String> = tool_errors.clone();
        reasons.extend(said.iter().filter(is_reason).map(|line| line.trim().to_owned()));
        reasons.dedup();
        reasons.truncate(LINES_SHOWN);
        Self { outcome, cases, tool_errors, reasons }
    }
}

/// A result line of the runner, which the guest's shell may have prefixed with nothing: `ok 1 selftests: ...`.
fn result(line: &str) -> Option<Outcome> {
    if let Some(rest) = line.strip_prefix("not ok ") {
        return Some(if rest.contains("# TIMEOUT") { Outcome::Timeout } else { Outcome::Fail });
    }
    let rest = line.strip_prefix("ok ")?;
    let directive = rest.rsplit_once('#').map(|(_, directive)| directive.trim().to_ascii_uppercase());
    Some(match directive.as_deref() {
        Some("SKIP") => Outcome::Skip,
        Some("XFAIL") => Outcome::Xfail,
        _ => Outcome::Pass,
    })
}

/// A line of net/lib.sh's `log_test`: `TEST: name   [ OK ]`.
fn case(line: &str) -> Option<Case> {
    let text = line.trim().strip_prefix("TEST: ")?;
    let (name, word) = text.strip_suffix(']')?.rsplit_once('[')?;
    let outcome = match word.trim() {
        "OK" => Outcome::Pass,
        "FAIL" => Outcome::Fail,
        "SKIP" => Outcome::Skip,
        "XFAIL" => Outcome::Xfail,
        _ => return None,
    };
    Some(Case { name: name.trim().to_owned(), outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_and_reasons_are_read() {
        let ktap = Ktap::read(
            "TAP version 13\n1..1\n# selftests: drivers/net/bonding: x.sh\n# TEST: bond option prio (a b)    [ OK ]\n\
             # TEST: grat arp      [FAIL]\n#     expected 10\n# TEST: vlan [SKIP]\n\
             not ok 1 selftests: drivers/net/bonding: x.sh # exit=1\n",
        );
        assert_eq!(ktap.outcome, Outcome::Fail);
        let cases: Vec<(&str, Outcome)> =
            ktap.cases.iter().map(|case| (case.name.as_str(), case.outcome)).collect();
        assert_eq!(
            cases,
            [("bond option prio (a b)", Outcome::Pass), ("grat arp", Outcome::Fail), ("vlan", Outcome::Skip)]
        );
        assert_eq!(ktap.reasons, ["TEST: grat arp      [FAIL]", "TEST: vlan [SKIP]"]);
        assert!(ktap.tool_errors.is_empty());
    }

    #[test]
    fn a_word_of_the_script_is_no_result() {
        assert_eq!(Ktap::read("# ok 1 selftests: x.sh\n").outcome, Outcome::None);
    }
}
