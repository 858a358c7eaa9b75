//! `lab doctor`: what this machine has and lacks, what does not work without it, and the command that mends it.

use std::process::ExitCode;

use bondlab_core::report::terminal::wrap;
use bondlab_host::cache::Cache;
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
    /// Debian's name of what is to be installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'static str>,
}

/// Looks at the machine.
pub fn doctor(args: &DoctorArgs) -> Result<ExitCode, Failure> {
    // A cache that cannot be used is a finding as others are.
    let cache = Cache::open();
    let kernels = provision::kernels(None)?;
    let default = kernels.select(DEFAULT_KERNELS).map_err(|error| Failure::internal(&error))?;
    let look = || inventory::take(cache.as_ref(), &kernels, &default, args.mirror.as_deref());
    let mut findings = look();
    let mut failed = None;
    if args.fix {
        let provision = ProvisionArgs { no_install: false, mirror: args.mirror.clone() };
        // What fails keeps nothing else from being mended.
        for finding in findings.iter().filter(|finding| finding.mend.is_some()) {
            if let Err(failure) = fix(finding, &provision) {
                let failure = failure.of(&finding.part);
                if finding.required && failed.is_none() {
                    failed = Some(failure);
                } else {
                    eprintln!("{failure}");
                }
            }
        }
        findings = look();
    }
    let complete = findings.iter().all(|finding| !finding.required || finding.state != State::Missing);
    match args.format {
        Format::Text => print!("{}", text(&findings, look::width())),
        Format::Json => {
            let shown = |finding| Shown { finding, command: command(finding), package: package(finding) };
            let findings = findings.iter().map(shown);
            let document = Document { complete, findings: findings.collect() };
            let json = serde_json::to_string_pretty(&document).map_err(|error| Failure::internal(&error))?;
            println!("{json}");
        }
    }
    match failed {
        Some(failure) => Err(failure),
        None if complete => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(UNAVAILABLE)),
    }
}

/// Installs or downloads what is missing; the next look says what is still missing.
fn fix(finding: &Finding, args: &ProvisionArgs) -> Result<(), Failure> {
    match &finding.mend {
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
    }
}

/// What to type for a finding, if that is known.
fn command(finding: &Finding) -> Option<String> {
    match finding.mend.as_ref()? {
        Mend::Package(package) => {
            install::has_apt().then(|| install::as_root(&install::command_line(package)))
        }
        Mend::Kernel(name) => Some(format!("lab kernels fetch {name}")),
        Mend::Command(command) => Some(command.clone()),
    }
}

fn package(finding: &Finding) -> Option<&'static str> {
    match finding.mend {
        Some(Mend::Package(package)) => Some(package),
        _ => None,
    }
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
        let mend = command(finding).or_else(|| {
            Some(format!("install what Debian has as {}; there is no apt-get here", package(finding)?))
        });
        if let Some(mend) = mend {
            text += &format!("{:indent$}mend it: {mend}\n", "");
        }
    }
    text += "\n";
    text += &wrap(&end(findings), 0, width);
    text
}

/// Whether topologies run, which of sixteen lines do not say at a glance, and what `--fix` would do.
fn end(findings: &[Finding]) -> String {
    let lacking = findings.iter().filter(|finding| finding.required && finding.state == State::Missing);
    let lacking: Vec<&str> = lacking.map(|finding| finding.part.as_str()).collect();
    let mut text = if lacking.is_empty() {
        "`lab run` has what it needs.".to_owned()
    } else {
        format!("`lab run` lacks: {}.", lacking.join(", "))
    };
    let has = |is: fn(&Mend) -> bool| findings.iter().filter_map(|finding| finding.mend.as_ref()).any(is);
    let packages = install::has_apt() && has(|mend| matches!(mend, Mend::Package(_)));
    let kernels = has(|mend| matches!(mend, Mend::Kernel(_)));
    // A kernel goes to the cache of whoever fetches it.
    text += match (packages, kernels) {
        (true, true) => {
            " `lab doctor --fix` downloads the kernel to your own cache and, as root, installs the packages."
        }
        (true, false) => " `lab doctor --fix`, as root, installs the missing packages.",
        (false, true) => " `lab doctor --fix` downloads the kernel.",
        (false, false) => "",
    };
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

`lab run` has what it needs.
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

`lab run` has what it needs.
";
        assert_eq!(text(&findings(), 40), narrow);
    }

    #[test]
    fn the_end_names_what_is_required_and_missing() {
        let mut findings = findings();
        findings[0] = Finding { state: State::Missing, required: true, ..findings[0].clone() };
        assert_eq!(end(&findings), "`lab run` lacks: privileges.");
        findings[0].mend = Some(Mend::Kernel("6.12.57".to_owned()));
        assert!(end(&findings).ends_with(" `lab doctor --fix` downloads the kernel."), "{}", end(&findings));
    }
}
