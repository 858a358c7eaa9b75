//! The command line: one command for each thing a user would ask for by that word.

#[macro_use]
mod output;
mod accept;
pub mod allocator;
mod annotations;
mod bisect;
mod capture;
mod catalogue;
mod diagnose;
mod doctor;
#[cfg(test)]
mod documented;
mod drivers;
mod exec;
mod failure;
mod import;
mod init;
mod kernels;
mod lint;
mod look;
mod manual;
mod matrix;
mod other_format;
mod pcap;
mod progress;
mod provision;
mod report;
mod run;
mod selftests;
mod shell;
mod sources;
mod step;
mod steps;
mod substitutes;
mod testbench;
mod topology;
mod try_mitigations;
mod version;

use std::path::PathBuf;
use std::process::ExitCode;

use bondlab_host::run::local::AGENT_COMMAND;
use clap::{Args, CommandFactory, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cli::failure::Failure;

/// Reproduce bond, VLAN and VF bug reports on their own kernel, and account for every frame.
#[derive(Debug, Parser)]
#[command(name = "lab", version = version::SHORT.as_str(), long_version = version::LONG.as_str(), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a topology on one kernel
    #[command(after_help = run::EXAMPLES)]
    Run(run::RunArgs),
    /// Run a report with each mitigation that was tried, and show which one fixes it, hides it or has no effect
    #[command(after_help = try_mitigations::EXAMPLES)]
    Try(try_mitigations::TryArgs),
    /// Run topologies on many kernels, and show where their behaviour changes
    #[command(after_help = matrix::help())]
    Matrix(matrix::MatrixArgs),
    /// Accept new or changed behaviour of the last matrix as the expected behaviour (snapshots)
    #[command(after_help = accept::help())]
    Accept(accept::AcceptArgs),
    /// Find the kernel versions between which a topology's behaviour changes
    #[command(after_help = bisect::EXAMPLES)]
    Bisect(bisect::BisectArgs),
    /// Run a program of this host in a guest with another kernel, as root, with its streams and its exit status
    #[command(after_help = exec::EXAMPLES)]
    Exec(exec::ExecArgs),
    /// Start a shell of this host in a guest with another kernel and a topology
    #[command(after_help = shell::EXAMPLES)]
    Shell(shell::ShellArgs),
    /// Run the next step of a topology, inside `lab shell` or `lab exec --topology`, and print the account so far
    #[command(after_help = step::EXAMPLES)]
    Step(step::StepArgs),
    /// Run the kernel's own bonding selftests, unmodified, on pinned kernels
    #[command(after_help = selftests::EXAMPLES)]
    Selftests(selftests::SelftestsArgs),
    /// Manage the pinned kernels: list, fetch, add, remove, verify, prune
    #[command(after_help = "Example:\n  lab kernels fetch quick")]
    Kernels(kernels::KernelsArgs),
    /// Create a topology from a pasted report: output of ip, /proc/net/bonding, configurations, with text between them
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArgs),
    /// Check topology files for valid configurations with a likely mistake: bonds without a monitor, options without an effect, VLANs that a bridge drops
    #[command(after_help = lint::EXAMPLES)]
    Lint(lint::LintArgs),
    /// Rank the causes of lost frames by the counters and states in a text, and name the commands that distinguish the rest
    #[command(after_help = diagnose::EXAMPLES)]
    Diagnose(diagnose::DiagnoseArgs),
    /// Write the state of this machine's network into one text for `lab import` and `lab diagnose`; nothing is changed
    #[command(after_help = capture::EXAMPLES)]
    Capture(capture::CaptureArgs),
    /// Merge results of several machines into one grid, or print pages of results
    #[command(after_help = "Example:\n  lab report merge target/vagrant")]
    Report(report::ReportArgs),
    /// Show what this machine has, what it lacks, and the commands that install it
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(doctor::DoctorArgs),
    /// Create a folder for your own topologies: a first one that passes, and files for CI
    #[command(after_help = init::EXAMPLES)]
    Init(init::InitArgs),
    /// Print the JSON Schema of topology files, or their reference
    #[command(after_help = "Example:\n  lab schema > topology.schema.json")]
    Schema(topology::SchemaArgs),
    /// Show a topology file without running it: its mistakes, its plan, a drawing
    #[command(after_help = topology::EXAMPLES)]
    Topology(topology::TopologyArgs),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  lab completions bash > /etc/bash_completion.d/lab")]
    Completions(manual::CompletionsArgs),
    /// Print the manual page, or write a page of each command
    #[command(after_help = "Example:\n  lab man --dir /usr/local/share/man/man1")]
    Man(manual::ManArgs),
    /// What `--kernel host` starts in namespaces of its own
    #[command(name = AGENT_COMMAND, hide = true)]
    Agent,
}

/// Enough for a matrix, and not what walks over all numbers take long for.
const OPEN_FILES_MAX: u64 = 65_536;

/// Which kernels there are.
#[derive(Debug, Clone, Args)]
struct PinsArgs {
    /// Pins in the format of kernels.toml; default: those built into the lab
    #[arg(long, value_name = "FILE", global = true)]
    kernels_file: Option<PathBuf>,
}

/// How to get what is missing.
#[derive(Debug, Clone, Args)]
struct ProvisionArgs {
    /// Install and download nothing; report what is missing instead
    #[arg(long)]
    no_install: bool,
    /// Address of a Debian mirror (it has the directories dists and pool); default: the one of apt
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Reads the arguments, does what they say, and turns the result into an exit code.
pub fn main() -> ExitCode {
    output::end_without_threads();
    open_more_files();
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(said) => {
            // Help and version are results like others.
            if let Err(error) = said.print() {
                output::give_up(&error);
            }
            output::finish();
            return ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(u8::MAX));
        }
    };
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Try(args) => try_mitigations::attempt(&args),
        Command::Matrix(args) => matrix::matrix(&args),
        Command::Accept(args) => accept::accept(&args),
        Command::Bisect(args) => bisect::bisect(&args),
        Command::Exec(args) => exec::exec(&args),
        Command::Shell(args) => shell::shell(&args),
        Command::Step(args) => step::step(&args),
        Command::Selftests(args) => selftests::run(&args),
        Command::Kernels(args) => kernels::kernels(&args),
        Command::Import(args) => import::import(&args),
        Command::Lint(args) => lint::lint(&args),
        Command::Diagnose(args) => diagnose::diagnose(&args),
        Command::Capture(args) => capture::capture(&args),
        Command::Report(args) => report::report(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Init(args) => init::init(&args),
        Command::Schema(args) => topology::schema(&args),
        Command::Topology(args) => topology::topology(&args),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
        Command::Agent => agent(),
    };
    let code = done.unwrap_or_else(|failure| failure.report());
    output::finish();
    code
}

/// As many files as the system allows: the usual soft limit of 1024 is there for programs that use select(2), and each
/// machine and each namespace has some.
fn open_more_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it cannot be raised it is as before, and what it is too small for says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(OPEN_FILES_MAX), hard);
    }
}

fn agent() -> Result<ExitCode, Failure> {
    let (stdin, stdout) = (std::io::stdin().lock(), std::io::stdout().lock());
    let served = match bondlab_guest::agent::confine::confine() {
        Ok(()) => bondlab_guest::agent::serve(
            bondlab_guest::agent::prepare(),
            stdin,
            stdout,
            bondlab_core::judge::mutation::order,
        ),
        Err(error) => bondlab_guest::agent::refuse(&error.to_string(), stdout),
    };
    served.map_err(|error| Failure::internal(&error))?;
    Ok(ExitCode::SUCCESS)
}
