//! `lab doctor`: what this machine has and lacks, what does not work without it, and the command that mends it.

use std::process::ExitCode;

use bondlab_core::report::terminal::wrap;
use bondlab_host::install;
use bondlab_host::inventory::{self, Finding, Mend, State};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::cli::failure::{Failure, UNAVAILABLE};
use crate::cli::{ProvisionArgs, look, provision};

pub const EXAMPLES: &str = "Examples:\n  lab doctor\n  sudo lab doctor --fix\n  lab doctor --format json";

/// The set a new user needs.
const DEFAULT_KERNELS: &str = "default";

/// Column of what was found, and the one on a narrow terminal.
const FOUND_AT: usize = 26;
const NARROW_AT: usize = 4;

/// Arguments of `lab doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Install and download what is missing, then check again
    #[arg(long, visible_alias = "install")]
    fix: bool,
    /// Address of a Debian mirror; default: the one of apt
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// How to print the findings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The machine-readable form.
#[derive(Serialize)]
struct Document<'a> {
    complete: bool,
    findings: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
}

/// Looks at the machine.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    let cache = provision::cache()?;
    let kernels = provision::kernels(None)?;
    let default = kernels.select(DEFAULT_KERNELS).map_err(|error| Failure::internal(&error))?;
    let look = || inventory::take(&cache, &kernels, &default, args.mirror.as_deref());
    let mut findings = look();
    if args.fix {
        let provision = ProvisionArgs { no_install: false, mirror: args.mirror.clone() };
        for finding in &findings {
            fix(finding, &provision)?;
        }
        findings = look();
    }
    let complete = findings.iter().all(|finding| !finding.required || finding.state != State::Missing);
    match args.format {
        Format::Text => print!("{}", text(&findings, look::width())),
        Format::Json => {
            let findings = findings.iter().map(|finding| Shown { finding, command: command(finding) });
            let document = Document { complete, findings: findings.collect() };
            let json = serde_json::to_string_pretty(&document).map_err(|error| Failure::internal(&error))?;
            println!("{json}");
        }
    }
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(UNAVAILABLE) })
}

/// What is required has to succeed; for the rest the next look says what is still missing.
fn fix(finding: &Finding, args: &ProvisionArgs) -> Result<(), Failure> {
    let done = match &finding.mend {
        None | Some(Mend::Command(_)) => Ok(()),
        Some(Mend::Package(install::QEMU_PACKAGE)) => provision::qemu(args).map(drop),
        Some(Mend::Package(package)) => provision::package(package, &finding.part),
        Some(Mend::Kernel(name)) => {
            let kernels = provision::kernels(None)?;
            let cache = provision::cache()?;
            provision::select(&kernels, name)?
                .into_iter()
                .try_for_each(|pin| provision::kernel(pin, args, &cache).map(drop))
        }
    };
    match done {
        Err(failure) if !finding.required => {
            eprintln!("{}: {failure}", finding.part);
            Ok(())
        }
        done => done,
    }
}

/// What to type for a finding.
fn command(finding: &Finding) -> Option<String> {
    Some(match finding.mend.as_ref()? {
        Mend::Package(package) => install::command_line(package),
        Mend::Kernel(name) => format!("lab kernels fetch {name}"),
        Mend::Command(command) => command.clone(),
    })
}

/// A line for each finding, and below it what does not work and what mends it. Sentences are broken at `width`; a command stays in one
/// line, so that it can be copied.
fn text(findings: &[Finding], width: usize) -> String {
    let mut text = String::new();
    // What was found begins in a column of its own where there is room for it.
    let indent = if width >= 2 * FOUND_AT { FOUND_AT } else { NARROW_AT };
    for finding in findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        let head = format!("{state:8}{:18}", finding.part);
        let head = if indent == FOUND_AT { head } else { format!("{}\n{:indent$}", head.trim_end(), "") };
        text += &format!("{head}{}", wrap(&finding.found, indent, width).trim_start());
        if let Some(without) = &finding.without {
            text += &wrap(&format!("without it: {without}"), indent, width);
        }
        if let Some(command) = command(finding) {
            text += &format!("{:indent$}mend it: {command}\n", "");
        }
    }
    if findings.iter().any(|finding| matches!(finding.mend, Some(Mend::Package(_) | Mend::Kernel(_)))) {
        text += "\n`lab doctor --fix`, as root, installs and downloads what is missing.\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |part: &str, state, found: &str| Finding {
            part: part.to_owned(),
            state,
            found: found.to_owned(),
            without: None,
            mend: None,
            required: false,
        };
        let without = Some("a word and another word and a third one that does not fit any more".to_owned());
        let mend = Some(Mend::Command(
            "a command that is longer than the terminal is wide, and stays whole".to_owned(),
        ));
        vec![
            finding("privileges", State::Ok, "root"),
            Finding { without, mend, ..finding("kvm", State::Limited, "/dev/kvm: No such file") },
        ]
    }

    #[test]
    fn sentences_are_broken_and_commands_are_not() {
        let expected = "\
ok      privileges        root
limited kvm               /dev/kvm: No such file
                          without it: a word and another word
                          and a third one that does not fit any
                          more
                          mend it: a command that is longer than the terminal is wide, and stays whole
";
        assert_eq!(text(&findings(), 64), expected);
        let narrow = "\
ok      privileges
    root
limited kvm
    /dev/kvm: No such file
    without it: a word and another word
    and a third one that does not fit
    any more
    mend it: a command that is longer than the terminal is wide, and stays whole
";
        assert_eq!(text(&findings(), 40), narrow);
    }
}
