//! Network namespaces held by file descriptors: they have no name outside this process and end with it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use thiserror::Error;

use bondlab_core::net::name::NsName;
use bondlab_core::net::sysctl::{Sysctl, SysctlName, SysctlValue};

/// Why a namespace could not be made or entered.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// unshare(2) refused.
    #[error("no network namespace can be made: {0}; run as root or in a user namespace")]
    Create(nix::Error),
    /// setns(2) refused.
    #[error("cannot enter a network namespace: {0}")]
    Enter(nix::Error),
    /// Something of /proc, /sys is not as expected.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The kernel made something else of a value.
    #[error("{name} was set to `{asked}` and reads `{read_back}`")]
    Sysctl {
        /// Which setting.
        name: SysctlName,
        /// What it was set to.
        asked: String,
        /// What it is.
        read_back: String,
    },
    /// A fresh sysfs was refused.
    #[error("cannot mount the sysfs of a namespace: {0}")]
    Sysfs(nix::Error),
    /// No namespace of that name was made.
    #[error("namespace {0} was not made")]
    Unknown(NsName),
    /// A name was used twice.
    #[error("namespace {0} was made already")]
    Twice(NsName),
}

/// One network namespace. Sockets opened in it keep it alive too, and work from any thread.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    inum: u64,
}

impl Namespace {
    /// Makes a namespace in which the kernel sends nothing of its own. Its `lo` is down.
    ///
    /// # Errors
    /// No permission, or a sysctl that cannot be written.
    pub fn create(ipv6: bool) -> Result<Self, NetnsError> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Create)?;
            for (name, value) in IPV4_SYSCTLS.iter().chain(ipv6_sysctls(ipv6)) {
                write_sysctl(name, value)?;
            }
            Self::own()
        })
    }

    /// The namespace of the calling thread; of the agent's own it is the one the process started in.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn own() -> Result<Self, NetnsError> {
        // Not /proc/self: that is the main thread's.
        let path = Path::new("/proc/thread-self/ns/net");
        let file = |source| NetnsError::File { path: path.into(), source };
        let opened = File::open(path).map_err(file)?;
        let inum = opened.metadata().map_err(file)?.ino();
        Ok(Self { fd: opened.into(), inum })
    }

    /// The same namespace by a descriptor of its own.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn try_clone(&self) -> Result<Self, NetnsError> {
        let file = |source| NetnsError::File { path: "/proc/thread-self/ns/net".into(), source };
        Ok(Self { fd: self.fd.try_clone().map_err(file)?, inum: self.inum })
    }

    /// Runs `work` on a thread of its own inside this namespace. A thread cannot be trusted to find back from
    /// everything it may do there, so it ends afterwards; the calling thread never leaves its namespace.
    ///
    /// # Errors
    /// setns(2) refused.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        on_a_thread(|| {
            setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET).map_err(NetnsError::Enter)?;
            Ok(work())
        })
    }

    /// Lets it pass IPv4 on from one device to another.
    ///
    /// # Errors
    /// The sysctl cannot be written.
    pub fn forward_ipv4(&self) -> Result<(), NetnsError> {
        self.enter(|| write_sysctl("net/ipv4/ip_forward", "1"))?
    }

    /// Sets its settings, each read back.
    ///
    /// # Errors
    /// This kernel has none of that name, or takes another value for it.
    pub fn set_sysctls(&self, sysctls: &[Sysctl]) -> Result<(), NetnsError> {
        let set = |Sysctl { name, value }: &Sysctl| {
            let file = name.file();
            write_sysctl(&file, &value.to_string())?;
            let path = Path::new("/proc/sys").join(file);
            let read = fs::read_to_string(&path).map_err(|source| NetnsError::File { path, source })?;
            let (name, asked, read_back) = (name.clone(), value.to_string(), read.trim().to_owned());
            if value.is(&read) { Ok(()) } else { Err(NetnsError::Sysctl { name, asked, read_back }) }
        };
        self.enter(|| sysctls.iter().try_for_each(set))?
    }

    /// Sets a setting of a device by its file below /proc/sys, and reads it back.
    ///
    /// # Errors
    /// This kernel has none of that name, or takes another value for it.
    pub fn set_link_sysctl(&self, file: &str, value: &SysctlValue) -> Result<(), NetnsError> {
        self.enter(|| {
            write_sysctl(file, &value.to_string())?;
            let path = Path::new("/proc/sys").join(file);
            let read = fs::read_to_string(&path)
                .map_err(|source| NetnsError::File { path: path.clone(), source })?;
            if value.is(&read) {
                return Ok(());
            }
            let source = io::Error::other(format!("asked {value}, is {}", read.trim()));
            Err(NetnsError::File { path, source })
        })?
    }

    /// The inode number of the namespace, by which kernel events name it (`struct ns_common`, `inum`).
    pub fn inum(&self) -> u64 {
        self.inum
    }

    /// The file descriptor, for IFLA_NET_NS_FD. Only good while this value lives.
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Reads a file below /proc/net as this namespace shows it, such as `bonding/bond0`.
    ///
    /// # Errors
    /// The file is not there.
    pub fn read_proc_net(&self, file: &str) -> Result<String, NetnsError> {
        let path = Path::new("/proc/thread-self/net").join(file);
        self.enter(|| fs::read_to_string(&path).map_err(|source| NetnsError::File { path, source }))?
    }

    /// Reads a file below /sys/class/net as this namespace shows it, such as `bond0/bonding/mode`.
    ///
    /// # Errors
    /// The file is not there, or mounting is not permitted.
    pub fn read_sys_class_net(&self, file: &str) -> Result<String, NetnsError> {
        let path = Path::new("/sys/class/net").join(file);
        self.enter(|| {
            mount_own_sysfs().map_err(NetnsError::Sysfs)?;
            fs::read_to_string(&path).map_err(|source| NetnsError::File { path, source })
        })?
    }
}

impl Namespace {
    /// Writes a file below /sys/class/net as this namespace shows it, such as `eth0/gro_flush_timeout`.
    ///
    /// # Errors
    /// The file is not there, the value is refused, or mounting is not permitted.
    pub fn write_sys_class_net(&self, file: &str, value: &str) -> Result<(), NetnsError> {
        let path = Path::new("/sys/class/net").join(file);
        self.enter(|| {
            mount_own_sysfs().map_err(NetnsError::Sysfs)?;
            fs::write(&path, value).map_err(|source| NetnsError::File { path, source })
        })?
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Namespaces made ahead, without IPv6 and not used yet: a saved machine has some, because setup_net() runs through
/// the whole network stack, and under TCG a fresh copy would have to translate all of it first.
#[derive(Debug, Default)]
pub struct Spares(Vec<Namespace>);

impl Spares {
    /// Makes `count` of them.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn make(count: usize) -> Result<Self, NetnsError> {
        (0..count).map(|_| Namespace::create(false)).collect::<Result<_, _>>().map(Self)
    }

    /// One of them, or a new one when there is none, or none with IPv6.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn take(&mut self, ipv6: bool) -> Result<Namespace, NetnsError> {
        let spare = if ipv6 { None } else { self.0.pop() };
        spare.map_or_else(|| Namespace::create(ipv6), Ok)
    }
}

/// The namespaces of a topology, in the order they were made.
#[derive(Debug, Default)]
pub struct Namespaces {
    ipv6: bool,
    by_name: IndexMap<NsName, Namespace>,
}

impl Namespaces {
    /// None yet; `ipv6` says whether those to come have IPv6.
    pub fn new(ipv6: bool) -> Self {
        Self { ipv6, by_name: IndexMap::new() }
    }

    /// Makes a namespace, or takes a spare one.
    ///
    /// # Errors
    /// As [`Namespace::create`], or the name is taken.
    pub fn create(&mut self, name: &NsName, spares: &mut Spares) -> Result<&Namespace, NetnsError> {
        if self.by_name.contains_key(name) {
            return Err(NetnsError::Twice(name.clone()));
        }
        let namespace = spares.take(self.ipv6)?;
        Ok(self.by_name.entry(name.clone()).or_insert(namespace))
    }

    /// The namespace of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &NsName) -> Result<&Namespace, NetnsError> {
        self.by_name.get(name).ok_or_else(|| NetnsError::Unknown(name.clone()))
    }

    /// Runs `work` inside the namespace of that name; see [`Namespace::enter`].
    ///
    /// # Errors
    /// There is none of that name, or setns(2) refused.
    pub fn enter<T: Send>(&self, name: &NsName, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        self.get(name)?.enter(work)
    }

    /// All of them, in the order they were made.
    pub fn iter(&self) -> impl Iterator<Item = (&NsName, &Namespace)> {
        self.by_name.iter()
    }
}

/// Runs `work` on a thread that ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Settings of a new namespace. A name that ends in `?` may be missing (CONFIG_IP_MULTICAST=n).
const IPV4_SYSCTLS: &[(&str, &str)] = &[
    // devinet_init_net() copies what this host's administrator chose; a guest starts from the kernel's 0.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // A bridge joins the all-snoopers group and reports it (br_ip4_multicast_join_snoopers()).
    ("net/ipv4/igmp_link_local_mcast_reports?", "0"),
    // Ping sockets for the agent's own group; and no answers, which would be frames of the kernel's own.
    ("net/ipv4/ping_group_range", "0 0"),
    ("net/ipv4/icmp_echo_ignore_all", "1"),
];

/// The same for IPv6, which may be missing as a whole (CONFIG_IPV6=n, ipv6.disable=1) when it is not wanted.
fn ipv6_sysctls(ipv6: bool) -> &'static [(&'static str, &'static str)] {
    if ipv6 {
        // No link-local addresses (IN6_ADDR_GEN_MODE_NONE), no solicitations, no duplicate address detection.
        // What cannot be switched off are MLD reports for the solicited-node groups of addresses.
        &[
            ("net/ipv6/conf/all/addr_gen_mode", "1"),
            ("net/ipv6/conf/default/addr_gen_mode", "1"),
            ("net/ipv6/conf/all/accept_ra", "0"),
            ("net/ipv6/conf/default/accept_ra", "0"),
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            // No answers to echo requests, as of IPv4.
            ("net/ipv6/icmp/echo_ignore_all", "1"),
        ]
    } else {
        &[("net/ipv6/conf/all/disable_ipv6?", "1"), ("net/ipv6/conf/default/disable_ipv6?", "1")]
    }
}

/// /proc/sys/net shows the namespace of the thread that opens it (`net_ctl_header_lookup()`).
fn write_sysctl(name: &str, value: &str) -> Result<(), NetnsError> {
    let path = Path::new("/proc/sys").join(name.trim_end_matches('?'));
    match fs::write(&path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && name.ends_with('?') => Ok(()),
        Err(source) => Err(NetnsError::File { path, source }),
        Ok(()) => Ok(()),
    }
}

/// /sys/class/net shows the namespace it was mounted in, so the thread gets a mount of its own.
pub(crate) fn mount_own_sysfs() -> nix::Result<()> {
    const NONE: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE)
}
