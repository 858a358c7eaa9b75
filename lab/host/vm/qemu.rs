//! QEMU: where it is, which version, its arguments, and a process that cannot outlive the lab.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::child::{ChildError, Drain, Keep, die_with_parent, output_within};
use crate::file::is_shortage;
use crate::install;
use crate::vm::qmp::Qmp;
use bondlab_core::net::clean;
use bondlab_core::plan::handshake::{EXIT_PORT, PORT_NAME};

/// The program's name, as on PATH.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// Names another QEMU.
pub const PROGRAM_VARIABLE: &str = "LAB_QEMU";

/// What a guest has at least: one with every module of a topology needs about 100 MB.
pub const MEMORY_MIB: u32 = 256;
/// Memory is given in steps of so much, so that a small change of the initramfs makes no other machine.
const MEMORY_STEP_MIB: u32 = 32;
/// What the kernel keeps for itself before it unpacks an initramfs.
const KERNEL_MIB: u32 = 64;

/// The capability `mapped-ram` came with QEMU 9.0.
const MAPPED_RAM_SINCE: Version = Version { major: 9, minor: 0 };

/// What QEMU says on standard error is a line or two; a flood is cut here.
const STDERR_BYTES_MAX: usize = 16 * 1024;

/// It takes 50 ms, and seconds where everything is busy.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no machine.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// Not installed.
    #[error("no {PROGRAM} on PATH, and {PROGRAM_VARIABLE} is not set; install it with: {install}")]
    Missing {
        /// The command to type.
        install: String,
    },
    /// There, but not to be used.
    #[error("{path}: {why}; set {PROGRAM_VARIABLE} to another one")]
    Unusable {
        /// The program that was tried.
        path: PathBuf,
        /// What it did.
        why: String,
    },
    /// A file the machine needs.
    #[error("{path}: {source}")]
    File {
        /// Kernel or initramfs.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process could not be started.
    #[error("start {path}: {source}")]
    Spawn {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// `major.minor` of a QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 10 in 10.0.2.
    pub major: u32,
    /// 0 in 10.0.2.
    pub minor: u32,
}

/// Who runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU itself, by translation: slow and always there.
    Tcg,
    /// The processor, through /dev/kvm.
    Kvm,
}

impl Accelerator {
    /// QEMU's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }

    fn cpu(self) -> &'static str {
        match self {
            Self::Tcg => "max,la57=off",
            Self::Kvm => "host",
        }
    }
}

/// What a guest's clocks follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Time as it passes on the host.
    Real,
    /// The instructions that the guest has executed; while it has none to execute, time jumps to its next timer. A wait
    /// costs nothing, a loaded host is not seen, and two runs are alike in every ms.
    Virtual,
}

impl Clock {
    /// The lab's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Virtual => "virtual",
        }
    }
}

/// 2^1 ns for an instruction, a processor of 500 MIPS: about what the translated guest really does, so that what is
/// computed takes as long as before. Without `sleep=off` the guest would wait for its next timer as long as it says.
const INSTRUCTION_CLOCK: &str = "shift=1,sleep=off";

/// One machine: everything a guest can see of it.
#[derive(Clone, Debug)]
pub struct VmSpec {
    /// Extracted vmlinux (or a bzImage).
    pub vmlinux: PathBuf,
    /// With the lab's own binary as /init.
    pub initramfs: PathBuf,
    /// Guest memory.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u8,
    /// Additional `-netdev` arguments, in order.
    pub netdevs: Vec<String>,
    /// Additional `-device` arguments, in order.
    pub devices: Vec<String>,
    /// Names of virtio-serial ports besides the agent's, in order.
    pub ports: Vec<&'static str>,
    /// Words after the lab's own on the kernel command line.
    pub cmdline_extra: Vec<String>,
    /// Who runs it.
    pub accelerator: Accelerator,
    /// What its clocks follow. Only translated instructions can be counted: with KVM time is real.
    pub clock: Clock,
}

impl VmSpec {
    /// A machine without additional devices, run by QEMU itself.
    #[must_use]
    pub fn new(vmlinux: PathBuf, initramfs: PathBuf) -> Self {
        Self {
            memory_mib: memory_for(&initramfs),
            vmlinux,
            initramfs,
            cpus: 1,
            netdevs: Vec::new(),
            devices: Vec::new(),
            ports: Vec::new(),
            cmdline_extra: Vec::new(),
            accelerator: Accelerator::Tcg,
            clock: Clock::Real,
        }
    }

    /// The guest's kernel command line.
    #[must_use]
    pub fn cmdline(&self) -> String {
        let mut words = CMDLINE.to_vec();
        words.extend(self.cmdline_extra.iter().map(String::as_str));
        words.join(" ")
    }

    /// What makes this machine the one it is, without what differs from one start to the next.
    #[must_use]
    pub fn shape(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut push = |words: &[&str]| args.extend(words.iter().map(OsString::from));
        // microvm would start faster, and hangs in up to half of the boots under TCG: with neither PIT nor HPET the
        // kernel calibrates its timer against jiffies that do not advance. q35 also has the slots that igb needs.
        push(&["-M", "q35,hpet=off,vmport=off"]);
        push(&["-accel", self.accelerator.name(), "-cpu", self.accelerator.cpu()]);
        if self.clock == Clock::Virtual {
            push(&["-icount", INSTRUCTION_CLOCK]);
        }
        push(&["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        push(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        push(&["-device", &format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")]);
        push(&["-device", "isa-serial,chardev=console,index=0"]);
        // Port 0 is reserved for a console (hw/char/virtio-serial-bus.c).
        push(&["-device", &format!("virtio-serial-pci,max_ports={}", 2 + self.ports.len())]);
        push(&["-device", &format!("virtserialport,chardev=agent,name={PORT_NAME}")]);
        for (number, name) in self.ports.iter().enumerate() {
            push(&["-device", &format!("virtserialport,chardev=port{number},name={name}")]);
        }
        for netdev in &self.netdevs {
            push(&["-netdev", netdev]);
        }
        for device in &self.devices {
            push(&["-device", device]);
        }
        push(&["-append", &self.cmdline()]);
        args
    }
}

/// Memory for a guest with this initramfs. Its archive takes it once, and its files, which are in a tmpfs, no more than half of
/// the rest (`shmem_default_max_blocks()`). A file that is not there shows when QEMU opens it.
fn memory_for(initramfs: &Path) -> u32 {
    let bytes = std::fs::metadata(initramfs).map_or(0, |file| file.len());
    let archive = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX / 4);
    archive.saturating_mul(3).saturating_add(KERNEL_MIB).next_multiple_of(MEMORY_STEP_MIB).max(MEMORY_MIB)
}

/// The lab's words on the kernel command line.
const CMDLINE: [&str; 22] = [
    "console=ttyS0",
    // Warnings and worse, for WARN_ON's traces: a healthy boot prints almost none. All of it would cost 0.5 s.
    "loglevel=5",
    // Every line: net_ratelimit() counts across trials, and a trial would have none of the lines that the one before it used up.
    "sysctl.net.core.message_cost=0",
    // With -no-reboot a panic ends QEMU at once.
    "panic=-1",
    // What the kernel can notice by itself ends the machine with a stack trace; a host-side timeout has none.
    "oops=panic",
    "softlockup_panic=1",
    "nmi_watchdog=0",
    "sysctl.kernel.hung_task_panic=1",
    // Under the host's idle timeout, or the host would be first.
    "sysctl.kernel.hung_task_timeout_secs=30",
    // The host asks a silent guest where it is with an NMI: see Vm::finish.
    "unknown_nmi_panic",
    // Kernels before 6.2 print drop locations as pointers, hashed without this.
    "no_hash_pointers",
    "nokaslr",
    // Each of these is time spent on hardware that is not there, or on what a throw-away guest has no use for.
    "i8042.noaux",
    "i8042.nokbd",
    "mitigations=off",
    "cryptomgr.notests",
    "tsc=reliable",
    "no_timer_check",
    "random.trust_cpu=on",
    "audit=0",
    "apparmor=0",
    "net.ifnames=0",
];

/// A QEMU that answers.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// As it says itself, `10.0.2 (Debian 1:10.0.2+ds-2)`.
    pub release: String,
    /// The part that decides what it can do.
    pub version: Version,
}

impl Qemu {
    /// Finds QEMU by [`PROGRAM_VARIABLE`], else on PATH, and asks for its version.
    ///
    /// # Errors
    /// When it is not there, or does not answer.
    pub fn find() -> Result<Self, QemuError> {
        match std::env::var_os(PROGRAM_VARIABLE) {
            Some(path) => Self::once_at(Path::new(&path)),
            None => {
                let path = find_on_path(PROGRAM).ok_or_else(|| QemuError::Missing {
                    install: install::command_line(install::QEMU_PACKAGE),
                })?;
                Self::once_at(&path)
            }
        }
    }

    /// As [`Qemu::at`], asking each program once: it takes 30 ms to answer.
    fn once_at(path: &Path) -> Result<Self, QemuError> {
        static KNOWN: Mutex<BTreeMap<PathBuf, Qemu>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(qemu) = known.get(path) {
            return Ok(qemu.clone());
        }
        let qemu = Self::at(path)?;
        known.insert(path.to_owned(), qemu.clone());
        Ok(qemu)
    }

    /// Asks the QEMU at `path` for its version.
    ///
    /// # Errors
    /// When it does not run, or answers in an unknown form.
    pub fn at(path: &Path) -> Result<Self, QemuError> {
        let unusable = |why: String| QemuError::Unusable { path: path.to_owned(), why };
        let mut command = Command::new(path);
        die_with_parent(command.arg("--version"));
        let output = match output_within(&mut command, VERSION_TIMEOUT) {
            Ok(output) => output,
            Err(ChildError::Io(source)) if is_shortage(&source) => {
                return Err(QemuError::Spawn { path: path.to_owned(), source });
            }
            Err(error) => return Err(unusable(format!("--version: {error}"))),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let (release, version) = parse_version(&text)
            .ok_or_else(|| unusable(format!("unknown version {:?}", text.lines().next())))?;
        Ok(Self { path: path.to_owned(), release, version })
    }

    /// Whether a machine can be saved to a file and restored from it quickly.
    #[must_use]
    pub fn has_mapped_ram(&self) -> bool {
        self.version >= MAPPED_RAM_SINCE
    }

    /// Starts the machine; with `incoming` it waits to be restored, stopped.
    ///
    /// The process dies with the *thread* that calls this (PR_SET_PDEATHSIG is about threads), so the caller keeps
    /// a machine on the thread that started it.
    ///
    /// # Errors
    /// When a file cannot be read or the process cannot be started.
    pub fn spawn(&self, spec: &VmSpec, incoming: bool) -> Result<Process, QemuError> {
        for path in [&spec.vmlinux, &spec.initramfs] {
            File::open(path).map_err(|source| QemuError::File { path: path.clone(), source })?;
        }
        self.spawn_process(spec, incoming)
            .map_err(|source| QemuError::Spawn { path: self.path.clone(), source })
    }

    fn spawn_process(&self, spec: &VmSpec, incoming: bool) -> io::Result<Process> {
        let (console, console_peer) = UnixStream::pair()?;
        let (agent, agent_peer) = UnixStream::pair()?;
        let (qmp, qmp_peer) = UnixStream::pair()?;
        let pairs = spec.ports.iter().map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
        let (ports, port_peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let own = [&console_peer, &agent_peer, &qmp_peer];
        let peers: Vec<RawFd> = own.into_iter().chain(&port_peers).map(AsRawFd::as_raw_fd).collect();
        let names = ["console", "agent", "qmp"].map(str::to_owned);
        let port_names = (0..spec.ports.len()).map(|number| format!("port{number}"));
        let mut command = Command::new(&self.path);
        for (name, fd) in names.into_iter().chain(port_names).zip(&peers) {
            command.arg("-chardev").arg(format!("socket,id={name},fd={fd}"));
        }
        command.args(["-mon", "chardev=qmp,mode=control"]);
        command.args(spec.shape());
        command.arg("-kernel").arg(&spec.vmlinux).arg("-initrd").arg(&spec.initramfs);
        if incoming {
            command.args(["-incoming", "defer", "-S"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Out of reach of the terminal's Ctrl-C: the lab ends its machines itself, and by dying if need be.
        command.process_group(0);
        let parent = std::process::id();
        // SAFETY: between fork and exec only prctl, getppid and fcntl are called, all async-signal-safe.
        unsafe { command.pre_exec(move || die_with_parent_and_inherit(parent, &peers)) };
        let mut child = command.spawn()?;
        let stderr = child.stderr.take().map(|pipe| Drain::start(pipe, STDERR_BYTES_MAX, Keep::First));
        let stderr = Stderr { reading: stderr, said: String::new() };
        Ok(Process { child, console, agent, qmp: Qmp::new(qmp), ports, stderr })
    }
}

/// SIGKILL at the death of the lab, however it dies; then let QEMU have its ends of the sockets.
fn die_with_parent_and_inherit(parent: u32, fds: &[RawFd]) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    // The parent may have died before prctl.
    if nix::unistd::getppid().as_raw().cast_unsigned() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    for &fd in fds {
        // SAFETY: fcntl on a descriptor that the parent keeps open until spawn has returned.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// A running QEMU and the host's ends of its sockets. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// First serial port: the kernel's log and the agent's last words.
    pub console: UnixStream,
    /// The agent's virtio-serial port.
    pub agent: UnixStream,
    /// QEMU's own control.
    pub qmp: Qmp,
    /// Further ports, as [`VmSpec::ports`] has them.
    pub ports: Vec<UnixStream>,
    stderr: Stderr,
}

/// What QEMU has said, read while it runs.
#[derive(Debug)]
struct Stderr {
    reading: Option<Drain>,
    said: String,
}

impl Process {
    /// Process id of QEMU.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its status, if it has ended.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has written to standard error, up to a limit.
    #[must_use]
    pub fn stderr(&mut self) -> String {
        if let Some(reading) = self.stderr.reading.take() {
            self.stderr.said = clean::output(&reading.finish()).trim_end().to_owned();
        }
        self.stderr.said.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}

/// `QEMU emulator version 10.0.2 (Debian ...)` to the text after `version` and its first two numbers.
fn parse_version(text: &str) -> Option<(String, Version)> {
    let release = text.lines().next()?.split_once(" version ")?.1.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some((clean::line(release).into_owned(), Version { major, minor }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_for_the_archive_and_for_its_files() {
        let file = |mib: u64| {
            let file = tempfile::NamedTempFile::new().unwrap();
            file.as_file().set_len(mib << 20).unwrap();
            memory_for(file.path())
        };
        assert_eq!([file(20), file(64), file(69), file(100)], [256, 256, 288, 384]);
        assert_eq!(memory_for(Path::new("/nowhere/initramfs")), MEMORY_MIB);
    }

    #[test]
    fn versions_as_qemu_prints_them() {
        let cases = [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright", Some((10, 0))),
            ("QEMU emulator version 7.2.19 (Debian 1:7.2+dfsg-7+deb12u15)", Some((7, 2))),
            ("QEMU emulator version 9.1.50 (v9.1.0-123-gabc)", Some((9, 1))),
            ("something else", None),
            ("", None),
        ];
        for (text, want) in cases {
            let got = parse_version(text).map(|(_, version)| (version.major, version.minor));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn the_shape_has_nothing_that_changes_from_start_to_start() {
        let spec = VmSpec::new("/a/vmlinux".into(), "/a/initramfs".into());
        let shape = format!("{:?}", spec.shape());
        assert_eq!(shape, format!("{:?}", spec.clone().shape()));
        assert!(!shape.contains("fd="), "{shape}");
        let mut other = spec.clone();
        other.devices.push("pcie-root-port,id=rp0,slot=1".to_owned());
        assert_ne!(spec.shape(), other.shape());
        other = VmSpec { ports: vec!["org.example.a"], ..spec.clone() };
        assert_ne!(spec.shape(), other.shape());
        let plain = spec.shape();
        assert!(
            plain.contains(&"virtio-serial-pci,max_ports=2".into()),
            "machines without them stay as they are"
        );
        other = VmSpec { clock: Clock::Virtual, ..spec.clone() };
        assert_ne!(spec.shape(), other.shape(), "neither can be restored as the other");
    }

    #[test]
    fn a_missing_qemu_is_unusable_by_name() {
        let error = Qemu::at(Path::new("/nonexistent/qemu")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/qemu") && error.contains(PROGRAM_VARIABLE), "{error}");
    }
}
