//! PID 1: prepares the guest, starts the agent in a child, reaps what dies, ends the machine.
//!
//! The agent is a child and not PID 1 itself: a signal or the OOM killer then ends a process whose status can be reported
//! to the host, instead of the kernel; and PID 1 may reap every orphan without taking the agent's own children's statuses.

pub mod modules;
pub mod power;

use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Pid, fork};

use crate::agent::channel;
use crate::agent::channel::{Reader, Writer};
use crate::selftest;
use bondlab_core::plan::handshake::{CONSOLE_MARK, GuestExit, INITRAMFS_END, PROTOCOL, Ready};

/// The agent's work: prepares itself, says that it is ready, reads requests, writes records, returns when there is no
/// more to do. What it prepares before it is ready is part of a saved machine.
pub type Serve = fn(Reader, Writer, Ready) -> Result<(), Box<dyn Error + Send + Sync>>;

/// Status of an agent that returned an error or panicked, after it has said why.
const AGENT_FAILED: i32 = 101;

/// Enough for a topology with thousands of sockets; the kernel's default is 1024.
const OPEN_FILES_MAX: u64 = 65_536;

const MODULE_LIST: &str = "/lab/modules.load";
const MODULE_DIR: &str = "/lab/modules";

/// Where the host packs a module.
pub fn packed(module: &str) -> PathBuf {
    Path::new(MODULE_DIR).join(format!("{module}.ko"))
}

struct Mount {
    kind: &'static str,
    at: &'static str,
    need: Need,
}

/// Whether a kernel may lack a filesystem.
#[derive(PartialEq, Eq)]
enum Need {
    MustExist,
    MayBeMissing,
}

const MOUNTS: [Mount; 9] = [
    Mount { kind: "proc", at: "/proc", need: Need::MustExist },
    Mount { kind: "sysfs", at: "/sys", need: Need::MustExist },
    Mount { kind: "devtmpfs", at: "/dev", need: Need::MustExist },
    Mount { kind: "tmpfs", at: "/run", need: Need::MustExist },
    Mount { kind: "tmpfs", at: "/tmp", need: Need::MustExist },
    Mount { kind: "tracefs", at: "/sys/kernel/tracing", need: Need::MayBeMissing },
    Mount { kind: "debugfs", at: "/sys/kernel/debug", need: Need::MayBeMissing },
    Mount { kind: "bpf", at: "/sys/fs/bpf", need: Need::MayBeMissing },
    Mount { kind: "cgroup2", at: "/sys/fs/cgroup", need: Need::MayBeMissing },
];

/// Why a guest could not be prepared.
#[derive(Debug, thiserror::Error)]
enum SetupError {
    #[error("mount {kind} at {at}: {errno}")]
    Mount { kind: &'static str, at: &'static str, errno: Errno },
    #[error("{MODULE_LIST}: {0}")]
    ModuleList(#[source] io::Error),
    #[error("the kernel did not unpack all of the initramfs")]
    NotUnpacked,
    #[error("start the agent: {0}")]
    Fork(#[source] Errno),
}

impl SetupError {
    fn exit(&self) -> GuestExit {
        match self {
            Self::NotUnpacked => GuestExit::NotUnpacked,
            Self::Mount { .. } | Self::ModuleList(_) | Self::Fork(_) => GuestExit::SetupFailed,
        }
    }
}

/// Whether this process is PID 1 of a guest that the lab made; PID 1 of a container is not.
pub fn is_init() -> bool {
    std::process::id() == 1 && Path::new(MODULE_LIST).exists()
}

/// Whether this process runs in a guest that the lab made.
pub fn is_machine() -> bool {
    Path::new(MODULE_LIST).exists()
}

/// What PID 1 does, from the first instruction to the end of the machine.
pub fn run(serve: Serve) -> ! {
    std::panic::set_hook(Box::new(|panic| {
        say(&format!("panic: {panic}"));
        if nix::unistd::getpid().as_raw() == 1 {
            power::end_machine(GuestExit::SetupFailed);
        }
        // A thread's panic must not leave the others writing records as if nothing had happened.
        // SAFETY: _exit runs no destructor, which is the purpose.
        unsafe { libc::_exit(AGENT_FAILED) }
    }));
    let exit = match prepare().and_then(|ready| start_agent(serve, ready)) {
        Ok(agent) => reap_until(agent),
        Err(error) => {
            say(&format!("setup: {error}"));
            error.exit()
        }
    };
    power::end_machine(exit)
}

fn prepare() -> Result<Ready, SetupError> {
    if !Path::new("/").join(INITRAMFS_END).exists() {
        return Err(SetupError::NotUnpacked);
    }
    for mount in &MOUNTS {
        mount_one(mount)?;
    }
    raise_limits();
    let (modules, refused_modules) =
        modules::load(Path::new(MODULE_LIST), Path::new(MODULE_DIR)).map_err(SetupError::ModuleList)?;
    for module in &refused_modules {
        say(&format!("module {}: {}", module.name, module.reason));
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim_end().to_owned();
    Ok(Ready { protocol: PROTOCOL, release, modules, refused_modules })
}

fn mount_one(entry: &Mount) -> Result<(), SetupError> {
    // What is below /sys is made by the kernel or not at all; mount() says so.
    let _ = fs::create_dir(entry.at);
    match mount(Some(entry.kind), entry.at, Some(entry.kind), MsFlags::empty(), None::<&OsStr>) {
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(_) if entry.need == Need::MayBeMissing => Ok(()),
        Err(errno) => Err(SetupError::Mount { kind: entry.kind, at: entry.at, errno }),
    }
}

/// BPF maps of kernels before 5.11 are charged to RLIMIT_MEMLOCK. A refused limit shows where it is needed.
fn raise_limits() {
    let _ = setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES_MAX, OPEN_FILES_MAX);
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY);
}

fn start_agent(serve: Serve, ready: Ready) -> Result<Pid, SetupError> {
    // SAFETY: PID 1 has one thread, so the child inherits no lock that another thread holds.
    match unsafe { fork() }.map_err(SetupError::Fork)? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // To exit would be to take down every namespace first, for longer than a small topology takes to run.
            let Err(error) = agent(serve, ready) else { power::end_machine(GuestExit::Finished) };
            say(&format!("agent: {error}"));
            std::process::exit(AGENT_FAILED)
        }
    }
}

fn agent(serve: Serve, ready: Ready) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (reader, writer) = channel::open()?;
    let serve = if selftest::is_asked_for() { selftest::serve } else { serve };
    serve(reader, writer, ready)
}

/// Reaps every orphan until the agent itself is gone, with its work undone.
fn reap_until(agent: Pid) -> GuestExit {
    loop {
        match wait() {
            // One that did its work has ended the machine.
            Ok(WaitStatus::Exited(pid, status)) if pid == agent => {
                if status != AGENT_FAILED {
                    say(&format!("agent: exited with status {status}"));
                }
                return GuestExit::AgentDied;
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == agent => {
                say(&format!("agent: killed by {signal}"));
                return GuestExit::AgentDied;
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                say(&format!("wait: {errno}"));
                return GuestExit::AgentDied;
            }
        }
    }
}

/// A line on the console, marked as the lab's. When the console does not take it, it is lost.
fn say(text: &str) {
    let mut console = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(console, "{CONSOLE_MARK}{line}");
    }
}
