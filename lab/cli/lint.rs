//! `lab lint`: what a kernel takes in topology files, and what surprises whoever runs them.

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_core::report::lint_rules;
use bondlab_core::topology::lint::{Finding, Severity};
use clap::Args;

use crate::cli::failure::{DIFFERS, Failure};
use crate::cli::run;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab lint topologies/vlan-over-bond-tx-drop.toml
  lab import report.md | lab lint -
  lab lint --rules

A rule is switched off in the file, with a reason:
  [lint.allow]
  miimon-off = \"the failure must not be detected\"

The exit status is 1 if there is a warning or an error.";

/// Arguments of `lab lint`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Topology files, or `-` for standard input
    #[arg(required_unless_present = "rules")]
    topologies: Vec<PathBuf>,
    /// Print the rules, with their severity and reason, as Markdown
    #[arg(long)]
    rules: bool,
}

/// Looks at each file.
pub fn lint(args: &LintArgs) -> Result<ExitCode, Failure> {
    if args.rules {
        print!("{}", lint_rules::page());
    }
    let mut worst = None;
    for path in &args.topologies {
        let (_, findings) = run::read_and_lint(path)?;
        for finding in &findings {
            println!("{}", shown(finding));
            worst = worst.max(Some(finding.rule.severity));
        }
    }
    Ok(match worst {
        Some(Severity::Warning | Severity::Error) => ExitCode::from(DIFFERS),
        Some(Severity::Info) | None => ExitCode::SUCCESS,
    })
}

/// A finding behind its place, as a compiler's messages begin with it.
pub fn shown(finding: &Finding) -> String {
    finding.place.as_ref().map_or_else(|| finding.to_string(), |place| format!("{place}: {finding}"))
}
