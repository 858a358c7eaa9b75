//! `lab exec`: a program of this host's in a guest with another kernel.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lab::host::exec;
use lab::host::exec::error::ExecError;
use lab::host::exec::{ExecCommand, Output, Verdict};
use lab::host::kernel::pins::{KernelPin, Kernels};
use lab::host::kernel::store::Kernel;
use lab::host::vm::accel::Choice;
use lab::net::name::NsName;
use lab::plan::exec::{COMMAND_BYTES_MAX, ExecRequest, How, OUT_DIR, OUT_VARIABLE};
use lab::plan::lower::lower_standing;
use lab::topology::Topology;

use crate::cli::failure::Failure;
use crate::cli::testbench::Bench;
use crate::cli::{PinsArgs, ProvisionArgs, drivers, provision, run};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab exec --kernel 6.12.57 -- ip -d link
  lab exec --kernel 6.12.57 --topology topologies/vlan-over-bond-tx-drop.toml --ns node -- cat /proc/net/bonding/bond0
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='lab exec --kernel 6.12.57 --env LD_LIBRARY_PATH --' cargo test

Exit status: the command's own; 128 and the number of the signal that ended it; 124 when it was ended by --timeout; 127
when it is not there, 126 when it cannot be executed. Without the guest's proof of its end it is never 0: 69 when
something needed is missing, 70 when the guest died or output was lost; `error:` on standard error says which.";

/// The kernel of a user who names none.
const DEFAULT_KERNEL: &str = "default";
const MEMORY_MIB: u32 = 512;

/// What every environment has that names nothing else.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", concat!("/", "root")),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/sh"),
];

/// Arguments of `lab exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// A version of kernels.toml
    #[arg(long, value_name = "VERSION", default_value = DEFAULT_KERNEL)]
    kernel: String,
    /// A topology that is up while the command runs; its namespaces are in /run/netns
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// The namespace of the topology to run in; needed where it has several
    #[arg(long, value_name = "NS", requires = "topology")]
    ns: Option<String>,
    /// End the command after so many seconds; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// A variable for the command: NAME=VALUE, or NAME for its value here, or PREFIX* for all of them; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// The command's working directory; else the one of this process
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A new or empty folder for what the command leaves in $LAB_OUT
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A kernel module that the guest is to load besides its usual ones; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// The guest's memory, in which also lie the files that the command writes
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB, value_parser = clap::value_parser!(u32).range(256..=16384))]
    memory: u32,
    /// Boot the kernel anew instead of restoring a saved machine
    #[arg(long)]
    cold: bool,
    /// kvm, tcg, or auto: KVM where a guest has booted with it
    #[arg(long, default_value = "auto")]
    accel: Choice,
    #[command(flatten)]
    pins: PinsArgs,
    #[command(flatten)]
    provision: ProvisionArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs a command in a guest.
pub fn exec(args: &ExecArgs) -> Result<ExitCode, Failure> {
    let topology = args.topology.as_deref().map(run::read).transpose()?;
    let kernels = provision::kernels(args.pins.kernels_file.as_deref())?;
    let command = command(args, topology.as_ref())?;
    match &provision::select(&kernels, &args.kernel)?[..] {
        [pin] => on_one(args, topology.as_ref(), pin, &kernels, &command),
        pins => Err(Failure::usage(format!(
            "error: `{}` is {} kernels; `lab exec` takes one",
            args.kernel,
            pins.len()
        ))),
    }
}

fn on_one(
    args: &ExecArgs,
    topology: Option<&Topology>,
    pin: &KernelPin,
    kernels: &Kernels,
    command: &ExecCommand,
) -> Result<ExitCode, Failure> {
    let cache = provision::cache()?;
    let kernel = kernel(args, topology, pin, kernels)?;
    let bench = Bench::new(args.accel, args.cold, &kernel, &args.provision, cache)?;
    let ended = exec::run(&bench.machine(&kernel), command)?;
    for note in &ended.notes {
        eprintln!("note: {note}");
    }
    match &ended.verdict {
        Verdict::Ended(How::NotStarted { text, .. }) => {
            eprintln!("error: {}: {text}", Path::new(&args.command[0]).display());
        }
        Verdict::TimedOut => {
            eprintln!("error: the command was ended: it took longer than {} s (--timeout)", args.timeout)
        }
        Verdict::Ended(_) => {}
    }
    Ok(ExitCode::from(ended.verdict.status()))
}

fn kernel(
    args: &ExecArgs,
    topology: Option<&Topology>,
    pin: &KernelPin,
    kernels: &Kernels,
) -> Result<Kernel, Failure> {
    let cache = provision::cache()?;
    match topology {
        Some(topology) => drivers::kernel(topology, pin, kernels, &args.provision, &cache),
        None => provision::kernel(pin, &args.provision, &cache),
    }
}

fn command(args: &ExecArgs, topology: Option<&Topology>) -> Result<ExecCommand, Failure> {
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir),
        None => std::env::current_dir(),
    };
    let dir = dir.map_err(|error| Failure::unavailable(format!("error: the working directory: {error}")))?;
    let mut env = environment(&args.env)?;
    if args.out.is_some() {
        env.push((OUT_VARIABLE.into(), OUT_DIR.into()));
    }
    let bytes = |text: &OsString| text.clone().into_vec();
    let words: Vec<Vec<u8>> = args.command.iter().map(bytes).collect();
    let env: Vec<(Vec<u8>, Vec<u8>)> = env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
    let size: usize =
        words.iter().chain(env.iter().flat_map(|(name, value)| [name, value])).map(|it| it.len() + 1).sum();
    if size > COMMAND_BYTES_MAX {
        return Err(Failure::usage(format!(
            "error: arguments and environment of {size} bytes; {COMMAND_BYTES_MAX} are the most"
        )));
    }
    let ns = topology.map(|topology| namespace(args.ns.as_deref(), topology)).transpose()?;
    Ok(ExecCommand {
        request: ExecRequest {
            args: words,
            env,
            dir: dir.into_os_string().into_vec(),
            plan: topology.map(lower_standing),
            ns,
            now_ns: 0,
            entropy: Vec::new(),
            terminal: None,
            out: args.out.is_some(),
        },
        timeout: (args.timeout > 0).then(|| Duration::from_secs(args.timeout)),
        modules: args.modules.clone(),
        memory_mib: args.memory,
        out: args.out.clone(),
        stdin: true,
        output: Output::Own,
    })
}

/// The namespace to run in: the one that is named, or the only one.
fn namespace(wanted: Option<&str>, topology: &Topology) -> Result<NsName, Failure> {
    let names: Vec<&NsName> = topology.namespaces.keys().collect();
    let list = || names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (wanted, names.as_slice()) {
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(Failure::usage(format!(
            "error: the topology has several namespaces\nhint: choose one with --ns: {}",
            list()
        ))),
        (Some(wanted), _) => {
            names.iter().find(|name| name.to_string() == wanted).map(|name| (*name).clone()).ok_or_else(
                || {
                    Failure::usage(format!(
                        "error: the topology has no namespace `{wanted}`\nhint: it has {}",
                        list()
                    ))
                },
            )
        }
    }
}

type Variable = (OsString, OsString);

/// The usual variables, and what the user names. A later one wins.
fn environment(named: &[OsString]) -> Result<Vec<Variable>, Failure> {
    let mut env: Vec<Variable> = ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into();
    if let Some(term) = std::env::var_os("TERM") {
        env.push(("TERM".into(), term));
    }
    for word in named {
        let bytes = word.as_bytes();
        if let Some(at) = bytes.iter().position(|byte| *byte == b'=') {
            env.push((OsStr::from_bytes(&bytes[..at]).into(), OsStr::from_bytes(&bytes[at + 1..]).into()));
        } else if let Some(prefix) = bytes.strip_suffix(b"*") {
            env.extend(std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(prefix)));
        } else if let Some(value) = std::env::var_os(word) {
            env.push((word.clone(), value));
        }
    }
    match env.iter().find(|(name, _)| name.is_empty()) {
        Some(_) => Err(Failure::usage("error: --env: a variable needs a name")),
        None => Ok(env),
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Qemu(error) => Self::unavailable_for(&error),
            // As for every other command whose reader has gone.
            ExecError::Output(error) => crate::cli::output::give_up(&error),
            other => Self::no_result(other),
        }
    }
}
