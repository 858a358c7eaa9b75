//! `lab shell`: a shell of this host's in a guest, with a topology up.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bondlab_host::terminal;
use bondlab_host::terminal::RawMode;
use clap::Args;

use crate::cli::exec::{GuestArgs, namespace, one, report};
use crate::cli::failure::Failure;
use crate::cli::run;

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab shell topologies/vlan-over-bond-tx-drop.toml --kernel 6.12.57 --ns node
  echo 'ip -br link' | lab shell topologies/vlan-over-bond-tx-drop.toml --ns node

In the shell, `lab step` runs the topology's next step and prints the account so far. Every key is sent to the guest; Ctrl-] stops the \
machine. When the shell ends, everything in it ends.";

/// The first of these that is here.
const SHELLS: [&str; 2] = ["/bin/bash", "/bin/sh"];

/// Arguments of `lab shell`.
#[derive(Debug, Args)]
pub struct ShellArgs {
    /// A topology file: its links are created, and `lab step` runs its steps
    topology: PathBuf,
    /// A version of kernels.toml; default: the topology's own
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// The namespace of the shell; needed if there are several
    #[arg(long, value_name = "NS")]
    ns: Option<String>,
    /// The steps for `lab step`: faults of this hypothesis and the report's flows; default: the file's own steps
    #[arg(long, value_name = "NAME")]
    hypothesis: Option<String>,
    #[command(flatten)]
    guest: GuestArgs,
}

/// Runs a shell: in a terminal where this process has one, else as any program.
pub fn shell(args: &ShellArgs) -> Result<ExitCode, Failure> {
    let (topology, stepping) = run::read_stepping(&args.topology, args.hypothesis.as_deref())?;
    let kernels = args.guest.kernels()?;
    let pin = one(args.kernel.as_deref(), Some(&topology), &kernels)?;
    let shell = SHELLS.iter().find(|shell| Path::new(shell).exists()).copied().unwrap_or(SHELLS[1]);
    let ns = namespace(args.ns.as_deref(), &topology)?;
    let mut command = args.guest.command(Some(stepping), Some(ns), &[OsString::from(shell)])?;
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    command.request.terminal = terminal::size().filter(|_| is_terminal);
    let ended = {
        // What goes wrong is said when the terminal is as it was.
        let _raw = command.request.terminal.map(|_| RawMode::begin()).transpose();
        args.guest.run(Some(&topology), pin, &kernels, &command)
    };
    Ok(report(&ended?, &command))
}
