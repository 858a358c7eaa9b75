//! `lab doctor`: what this machine has and lacks, what does not work without it, and the command that mends it.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use lab::host::install;
use lab::host::inventory::{self, Finding, Mend, State};
use serde::Serialize;

use crate::cli::failure::{Failure, UNAVAILABLE};
use crate::cli::{ProvisionArgs, provision};

pub const EXAMPLES: &str = "Examples:\n  lab doctor\n  sudo lab doctor --fix\n  lab doctor --format json";

/// The set a new user needs.
const DEFAULT_KERNELS: &str = "default";

/// Column of what was found.
const FOUND_AT: usize = 26;

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
        Format::Text => print!("{}", text(&findings)),
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

/// A line for each finding, and below it what does not work and what mends it.
fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let state = match finding.state {
            State::Ok => "ok",
            State::Limited => "limited",
            State::Missing => "missing",
        };
        text += &format!("{state:8}{:18}{}\n", finding.part, finding.found);
        for (label, more) in [("without it: ", finding.without.clone()), ("mend it: ", command(finding))] {
            if let Some(more) = more {
                text += &format!("{:FOUND_AT$}{label}{more}\n", "");
            }
        }
    }
    if findings.iter().any(|finding| matches!(finding.mend, Some(Mend::Package(_) | Mend::Kernel(_)))) {
        text += "\n`lab doctor --fix`, as root, installs and downloads what is missing.\n";
    }
    text
}
