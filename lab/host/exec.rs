//! A program of this host's, run in a guest: the host's root file system is served to it, its streams are carried, and
//! its end is what the guest has proven.

pub mod error;
mod files;
mod input;
mod machine;
mod nodes;
mod serve;
mod session;
mod signals;
mod sink;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use crate::exec::error::ExecError;
use crate::exec::session::Session;
use crate::exec::signals::Signals;
use crate::run::runner::Machine;
use crate::vm::Vm;
use crate::vm::death::Exit;
use crate::vm::warm::StartError;
use crate::vm::{Timeouts, warm};
use bondlab_core::plan::exec::{ExecRequest, How, STATUS_TIMED_OUT};
use bondlab_core::plan::record::Request;

/// `PATH` of a program in a guest, whose root file system is this machine's.
pub const GUEST_PATH: &str = "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Longer than anybody waits.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A command and what it is given.
#[derive(Debug, Clone)]
pub struct ExecCommand {
    /// What the guest is asked for; its clock and seed are set when the machine has started.
    pub request: ExecRequest,
    /// The longest it may run; without one it may run for ever.
    pub timeout: Option<Duration>,
    /// Kernel modules besides those that every guest has.
    pub modules: Vec<String>,
    /// The guest's memory in MiB.
    pub memory_mib: u32,
    /// The folder on this host for what the command leaves in its output folder.
    pub out: Option<PathBuf>,
    /// Whether this process's standard input is the command's.
    pub stdin: bool,
    /// Where its output goes.
    pub output: Output,
}

/// Where a command's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To this process's own streams, as it comes.
    Own,
    /// Into memory, up to so many bytes; of more the last are kept.
    Kept(usize),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In which way.
    pub verdict: Verdict,
    /// From the start of the machine to the start of the command.
    pub until_started: Duration,
    /// The whole time.
    pub total: Duration,
    /// With [`Output::Kept`], both streams as they came.
    pub kept: Vec<u8>,
    /// What the user should know about how it was run.
    pub notes: Vec<String>,
}

/// In which way a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// By itself, or by a signal.
    Ended(How),
    /// It took longer than it was allowed to.
    TimedOut,
}

impl Verdict {
    /// The exit status that tells it: the command's own, 128 and a signal's number, or that of timeout(1).
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            // A command that was not reached is an error, and no verdict: see `run`.
            Self::Ended(how) => how.status().unwrap_or(u8::MAX),
            Self::TimedOut => STATUS_TIMED_OUT,
        }
    }
}

/// Runs a command in a machine.
///
/// # Errors
/// Whenever it is not known how the command ended: no machine, a guest that died, a record that was lost.
pub fn run(machine: &Machine<'_>, command: &ExecCommand) -> Result<Ended, ExecError> {
    let begun = Instant::now();
    // From here on Ctrl-C is the command's; where there are several it ends them all, as ever.
    let signals = match command.output {
        Output::Own => Some(Signals::start().map_err(ExecError::Signals)?),
        Output::Kept(_) => None,
    };
    let spec = machine::spec(machine, command)?;
    let mut timeouts = machine.timeouts;
    // The command's time is its own.
    timeouts.total = LONGEST;
    let (mut vm, notes) = start(machine, timeouts, &spec)?;
    let mut request = command.request.clone();
    request.now_ns = now_ns();
    if let Some(stepping) = &mut request.stepping {
        stepping.kernel.clone_from(&machine.kernel.id);
        stepping.accelerator = machine.accelerator.name().into();
    }
    request.entropy = machine::entropy().map_err(ExecError::Entropy)?;
    let line = serde_json::to_string(&Request::Exec(Box::new(request))).expect("a request is plain data");
    vm.send(&line).map_err(|death| ExecError::Died(Box::new(death)))?;
    let mut session = Session::new(&mut vm, command, signals)?;
    let result = session.run();
    let (until_started, kept) = session.close(begun);
    let verdict = match result {
        Ok(Verdict::TimedOut) => {
            drop(vm);
            Verdict::TimedOut
        }
        Ok(Verdict::Ended(how)) => match vm.finish() {
            Exit::Finished { .. } => Verdict::Ended(how),
            Exit::Died(death) => return Err(ExecError::Died(Box::new(death))),
        },
        // What the machine says of its death is the better explanation.
        Err(ExecError::Closed) => match vm.finish() {
            Exit::Finished { .. } => return Err(ExecError::Closed),
            Exit::Died(death) => return Err(ExecError::Died(Box::new(death))),
        },
        Err(error) => return Err(error),
    };
    if let Verdict::Ended(How::NotPrepared { text }) = &verdict {
        return Err(ExecError::NotPrepared(text.clone()));
    }
    Ok(Ended { verdict, until_started, total: begun.elapsed(), kept, notes })
}

fn start(
    machine: &Machine<'_>,
    timeouts: Timeouts,
    spec: &crate::vm::qemu::VmSpec,
) -> Result<(Vm, Vec<String>), ExecError> {
    let started = crate::run::runner::start(machine, timeouts, spec);
    let (vm, (release, notes)) = started.map_err(|error| match error {
        StartError::Qemu(error) => ExecError::Qemu(error),
        StartError::Death(death) => ExecError::Died(death),
    })?;
    match crate::run::runner::another_release(&machine.kernel.release, &release) {
        Some(why) => Err(ExecError::NotPrepared(why)),
        None => Ok((vm, notes)),
    }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Makes the saved machine that `command` starts from, so that several runs do not each make it.
///
/// # Errors
/// As [`run`].
pub fn prepare(machine: &Machine<'_>, command: &ExecCommand) -> Result<(), ExecError> {
    let spec = machine::spec(machine, command)?;
    if machine.cold {
        return Ok(());
    }
    match warm::prepare(machine.qemu, &spec, machine.timeouts, machine.cache) {
        Ok(_) => Ok(()),
        Err(StartError::Qemu(error)) => Err(ExecError::Qemu(error)),
        Err(StartError::Death(death)) => Err(ExecError::Died(death)),
    }
}
