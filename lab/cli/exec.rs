//! `lab exec`: a program of this host's in a guest with another kernel.

mod table;

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bondlab_core::net::clean;
use bondlab_core::net::name::NsName;
use bondlab_core::plan::exec::{COMMAND_BYTES_MAX, ExecRequest, How, OUT_DIR, OUT_VARIABLE};
use bondlab_core::plan::stepping::Stepping;
use bondlab_core::topology::Topology;
use bondlab_host::exec;
use bondlab_host::exec::error::ExecError;
use bondlab_host::exec::{Ended, ExecCommand, GUEST_PATH, Output, Verdict};
use bondlab_host::kernel::pins::{KernelPin, Kernels};
use bondlab_host::kernel::store::Kernel;
use bondlab_host::terminal;
use bondlab_host::vm::accel::Choice;
use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::testbench::Bench;
use crate::cli::{PinsArgs, ProvisionArgs, drivers, provision, run};

/// Shown by `--help`.
pub const EXAMPLES: &str = "\
Examples:
  lab exec --kernel 6.12.57 -- ip -d link
  lab exec --kernel 6.12.57 --topology topologies/vlan-over-bond-tx-drop.toml --ns node -- cat /proc/net/bonding/bond0
  lab exec --topology topologies/vlan-over-bond-tx-drop.toml --ns node -- sh -c 'lab step; ip -s link show bond0; lab step --all'
  lab exec --kernels quick -- sh -c 'grep . /sys/module/bonding/version /proc/version'
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER='lab exec --kernel 6.12.57 --env LD_LIBRARY_PATH --' cargo test

Exit status:
  that of the command; 128 plus the signal's number if a signal ended it
  124  --timeout ended the command
  126  the command cannot be executed
  127  the command was not found
  130  Ctrl-C ended the guests of --kernels
  69   something that is needed is missing: see `error:` on standard error
  70   the guest died, or output was lost: see `error:` on standard error
It is 0 only if the guest has confirmed that the command ended with 0.";

/// The kernel of a user who names none.
const DEFAULT_KERNEL: &str = "default";
const MEMORY_MIB: u32 = 512;
/// Rows and columns where this process has no terminal.
const TERMINAL: (u16, u16) = (24, 80);

/// What every environment has that names nothing else.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("PATH", GUEST_PATH),
    ("HOME", concat!("/", "root")),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("SHELL", "/bin/sh"),
];

/// Arguments of `lab exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// A version of kernels.toml; default: the topology's own
    #[arg(long, value_name = "VERSION", conflicts_with = "kernels")]
    kernel: Option<String>,
    /// Several kernels, as in 6.12.57,quick,6.12..6.18: prints a table, and the end of the output of each command that failed. Standard
    /// input is empty, and --out has a folder for each kernel
    #[arg(long, value_name = "SET", conflicts_with = "tty")]
    kernels: Option<String>,
    /// Guests at a time with --kernels; default: one for each core, or fewer if memory is short
    #[arg(short, long, value_name = "N", requires = "kernels")]
    jobs: Option<usize>,
    /// A topology that is up while the command runs; its namespaces are in /run/netns
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// The namespace of the topology to run in; needed if it has several
    #[arg(long, value_name = "NS", requires = "topology")]
    ns: Option<String>,
    /// The steps for `lab step`: faults of this hypothesis and the report's flows; default: the file's own steps
    #[arg(long, value_name = "NAME", requires = "topology")]
    hypothesis: Option<String>,
    /// End the command after this many seconds; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Run the command in a terminal: its standard error is then part of standard output
    #[arg(long)]
    tty: bool,
    #[command(flatten)]
    guest: GuestArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The guest that a command runs in.
#[derive(Debug, Args)]
pub struct GuestArgs {
    /// An environment variable for the command: NAME=VALUE, NAME to copy it from here, or PREFIX* to copy all that match; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// The command's working directory; default: the one of this process
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// A new or empty folder for the files that the command writes to $LAB_OUT
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// An additional kernel module that the guest loads; may be repeated
    #[arg(long = "module", value_name = "NAME")]
    modules: Vec<String>,
    /// The guest's memory; it also holds the files that the command writes
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
}

/// Runs a command in a guest, or in several.
pub fn exec(args: &ExecArgs) -> Result<ExitCode, Failure> {
    let read = |path| run::read_stepping(path, args.hypothesis.as_deref());
    let (topology, stepping) = args.topology.as_deref().map(read).transpose()?.unzip();
    let kernels = args.guest.kernels()?;
    let ns = topology.as_ref().map(|topology| namespace(args.ns.as_deref(), topology)).transpose()?;
    let mut command = args.guest.command(stepping, ns, &args.command)?;
    command.timeout = (args.timeout > 0).then(|| Duration::from_secs(args.timeout));
    if args.tty {
        command.request.terminal = Some(terminal::size().unwrap_or(TERMINAL));
    }
    if let Some(set) = &args.kernels {
        let pins = provision::select(&kernels, set)?;
        return table::on_each(&args.guest, topology.as_ref(), &pins, &kernels, (command, args.jobs));
    }
    let pin = one(args.kernel.as_deref(), topology.as_ref(), &kernels)?;
    let ended = args.guest.run(topology.as_ref(), pin, &kernels, &command)?;
    Ok(report(&ended, &command))
}

/// The kernel that is named, else the topology's own.
pub fn one<'a>(
    wanted: Option<&str>,
    topology: Option<&Topology>,
    kernels: &'a Kernels,
) -> Result<&'a KernelPin, Failure> {
    let own = topology.and_then(|topology| topology.kernel.as_deref());
    let wanted = wanted.or(own).unwrap_or(DEFAULT_KERNEL);
    match provision::select(kernels, wanted)?[..] {
        [pin] => Ok(pin),
        ref pins => Err(Failure::usage(format!(
            "error: `{wanted}` is {} kernels\nhint: `lab exec --kernels {wanted}` runs a command on each",
            pins.len()
        ))),
    }
}

/// Says on standard error what the exit status alone does not.
pub fn report(ended: &Ended, command: &ExecCommand) -> ExitCode {
    for note in &ended.notes {
        eprintln!("note: {note}");
    }
    if let Some(why) = why(&ended.verdict, command) {
        eprintln!("error: {why}");
    }
    ExitCode::from(ended.verdict.status())
}

fn why(verdict: &Verdict, command: &ExecCommand) -> Option<String> {
    match verdict {
        Verdict::Ended(How::NotStarted { text, .. }) => {
            let program =
                command.request.args.first().map(|word| String::from_utf8_lossy(word)).unwrap_or_default();
            Some(clean::line(&format!("{program}: {text}")).into_owned())
        }
        Verdict::TimedOut => {
            let limit = command.timeout.unwrap_or_default().as_secs();
            Some(format!("the command was ended: it took longer than {limit} s (--timeout)"))
        }
        Verdict::Ended(_) => None,
    }
}

impl GuestArgs {
    /// The pinned kernels.
    pub fn kernels(&self) -> Result<Kernels, Failure> {
        provision::kernels(self.pins.kernels_file.as_deref())
    }

    /// Runs a command on one kernel.
    pub fn run(
        &self,
        topology: Option<&Topology>,
        pin: &KernelPin,
        kernels: &Kernels,
        command: &ExecCommand,
    ) -> Result<Ended, Failure> {
        let kernel = self.kernel(topology, pin, kernels)?;
        let bench = self.bench(&kernel)?;
        Ok(exec::run(&bench.machine(&kernel), command)?)
    }

    /// The user's mirror.
    pub fn mirror(&self) -> Option<&str> {
        self.provision.mirror.as_deref()
    }

    /// How to get what is missing.
    pub fn provision(&self) -> &ProvisionArgs {
        &self.provision
    }

    /// What runs guests.
    pub fn bench(&self, kernel: &Kernel) -> Result<Bench, Failure> {
        Bench::new(self.accel, self.cold, kernel, &self.provision, provision::cache()?)
    }

    fn kernel(
        &self,
        topology: Option<&Topology>,
        pin: &KernelPin,
        kernels: &Kernels,
    ) -> Result<Kernel, Failure> {
        let cache = provision::cache()?;
        match topology {
            Some(topology) => drivers::kernel(topology, pin, kernels, &self.provision, &cache),
            None => provision::kernel(pin, &self.provision, &cache),
        }
    }

    /// The command with its surroundings.
    pub fn command(
        &self,
        stepping: Option<Stepping>,
        ns: Option<NsName>,
        words: &[OsString],
    ) -> Result<ExecCommand, Failure> {
        let dir = match &self.dir {
            Some(dir) => std::path::absolute(dir),
            None => std::env::current_dir(),
        };
        let dir =
            dir.map_err(|error| Failure::unavailable(format!("error: the working directory: {error}")))?;
        let mut env = environment(&self.env)?;
        if let Some(out) = &self.out {
            is_new_or_empty(out)?;
            env.push((OUT_VARIABLE.into(), OUT_DIR.into()));
        }
        let bytes = |text: &OsString| text.clone().into_vec();
        let words: Vec<Vec<u8>> = words.iter().map(bytes).collect();
        let env: Vec<(Vec<u8>, Vec<u8>)> =
            env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect();
        let variables = env.iter().flat_map(|(name, value)| [name, value]);
        let size: usize = words.iter().chain(variables).map(|word| word.len() + 1).sum();
        if size > COMMAND_BYTES_MAX {
            return Err(Failure::usage(format!(
                "error: arguments and environment of {size} bytes; {COMMAND_BYTES_MAX} are the most"
            )));
        }
        Ok(ExecCommand {
            request: ExecRequest {
                args: words,
                env,
                dir: dir.into_os_string().into_vec(),
                stepping,
                ns,
                now_ns: 0,
                entropy: Vec::new(),
                terminal: None,
                out: self.out.is_some(),
            },
            timeout: None,
            modules: self.modules.clone(),
            memory_mib: self.memory,
            out: self.out.clone(),
            stdin: true,
            output: Output::Own,
        })
    }
}

/// Checks the folder for a command's files before anything is started. The machine's side checks again, when it makes the folder.
fn is_new_or_empty(folder: &Path) -> Result<(), Failure> {
    let wrong = |what: &str| {
        Failure::usage(format!(
            "error: --out {}: {what}\nhint: name a folder that is new or empty, so that nothing in it is overwritten",
            folder.display()
        ))
    };
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(wrong("the folder is not empty")),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(wrong(&error.to_string())),
    }
}

/// The namespace to run in: the one that is named, or the only one.
pub fn namespace(wanted: Option<&str>, topology: &Topology) -> Result<NsName, Failure> {
    let names: Vec<&NsName> = topology.namespaces.keys().collect();
    let list = || names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        return match names.as_slice() {
            [only] => Ok((*only).clone()),
            _ => Err(Failure::usage(format!(
                "error: the topology has several namespaces\nhint: choose one with --ns: {}",
                list()
            ))),
        };
    };
    let found = names.iter().find(|name| name.to_string() == wanted);
    found.map(|name| (*name).clone()).ok_or_else(|| {
        Failure::usage(format!("error: the topology has no namespace `{wanted}`\nhint: it has {}", list()))
    })
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
