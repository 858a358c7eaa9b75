//! The root file system of a command: the host's, read-only, under a layer in memory that ends with the machine.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bondlab_core::net::name::NsName;
use bondlab_core::plan::exec::OUT_DIR;
use bondlab_core::plan::fuse::READ_BYTES_MAX;
use bondlab_core::plan::stepping::PROGRAM_DIR;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, chroot};

use crate::exec::pump;
use crate::syscall::netns::Namespace;

/// The lab's program in the initramfs.
const INIT: &str = "/init";
const HOST: &str = "/lab/host";
const LAYER: &str = "/lab/layer";
const ROOT: &str = "/lab/root";

/// Why there is no root file system.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("mount {kind} at {at}: {errno}")]
    Mount { kind: &'static str, at: String, errno: Errno },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("enter the command's namespaces: {0}")]
    Enter(#[from] Errno),
}

/// A path of the command's, as the agent sees it.
pub(crate) fn inside(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.trim_start_matches('/'))
}

/// Mounts everything but what depends on the network namespace.
pub(crate) fn mount_all(port: File) -> Result<(), RootError> {
    for path in [HOST, LAYER, ROOT] {
        make(Path::new(path))?;
    }
    let device = open("/dev/fuse")?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read={READ_BYTES_MAX}",
        device.as_raw_fd()
    );
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    put("fuse", Path::new(HOST), flags, &options)?;
    pump::start(device, port);
    put("tmpfs", Path::new(LAYER), MsFlags::empty(), "mode=755")?;
    let (upper, work) = (Path::new(LAYER).join("upper"), Path::new(LAYER).join("work"));
    make(&upper)?;
    make(&work)?;
    let options = format!("lowerdir={HOST},upperdir={},workdir={}", upper.display(), work.display());
    put("overlay", Path::new(ROOT), MsFlags::empty(), &options)?;
    let none = MsFlags::empty();
    let mounts: [(&str, &'static str, &str); 5] = [
        ("/proc", "proc", ""),
        ("/dev", "devtmpfs", ""),
        ("/dev/pts", "devpts", "newinstance,ptmxmode=666,mode=620,gid=5"),
        ("/dev/shm", "tmpfs", "mode=1777"),
        ("/run", "tmpfs", "mode=755"),
    ];
    for (at, kind, options) in mounts {
        make(&inside(at))?;
        put(kind, &inside(at), none, options)?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "fd/0"),
        ("stdout", "fd/1"),
        ("stderr", "fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let path = inside("/dev").join(link);
        // devtmpfs has a ptmx of its own, which is that of another devpts.
        let _ = fs::remove_file(&path);
        symlink(target, &path).map_err(|source| RootError::File { path, source })?;
    }
    ["/run/netns", "/run/lock", OUT_DIR].iter().try_for_each(|path| make(&inside(path)))?;
    own_program()
}

/// Puts the lab's own program where the command finds it: it is this one.
fn own_program() -> Result<(), RootError> {
    let folder = inside(PROGRAM_DIR);
    make(&folder)?;
    let path = folder.join("lab");
    File::create(&path).map_err(|source| RootError::File { path: path.clone(), source })?;
    let bound = mount(Some(INIT), &path, None::<&OsStr>, MsFlags::MS_BIND, None::<&OsStr>);
    bound.map_err(|errno| RootError::Mount { kind: "bind", at: path.display().to_string(), errno })
}

/// Gives a namespace the name by which ip-netns(8) finds it.
pub(crate) fn name_namespace(name: &NsName, namespace: &Namespace) -> Result<(), RootError> {
    let path = inside("/run/netns").join(name.to_string());
    File::create(&path).map_err(|source| RootError::File { path: path.clone(), source })?;
    let from = format!("/proc/self/fd/{}", namespace.raw_fd());
    let bound = mount(Some(from.as_str()), &path, None::<&OsStr>, MsFlags::MS_BIND, None::<&OsStr>);
    bound.map_err(|errno| RootError::Mount { kind: "nsfs", at: path.display().to_string(), errno })
}

/// Moves the calling thread to where the command is to run. What it starts from then on is there as well.
pub(crate) fn enter(namespace: Option<&Namespace>) -> Result<(), RootError> {
    if let Some(namespace) = namespace {
        setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    const NONE: Option<&OsStr> = None;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    // A sysfs shows the network namespace it was mounted in.
    put("sysfs", &inside("/sys"), MsFlags::empty(), "")?;
    for (at, kind) in [
        ("/sys/kernel/tracing", "tracefs"),
        ("/sys/kernel/debug", "debugfs"),
        ("/sys/fs/bpf", "bpf"),
        ("/sys/fs/cgroup", "cgroup2"),
    ] {
        // A kernel may lack these, and their folders with them.
        let _ = put(kind, &inside(at), MsFlags::empty(), "");
    }
    // As switch_root(8) does. A plain chroot has no mount at its root, which ip-netns(8) needs, and no user namespaces
    // (create_user_ns(): current_chrooted()).
    chdir(ROOT)?;
    mount(Some("."), "/", NONE, MsFlags::MS_MOVE, NONE)?;
    chroot(".")?;
    Ok(chdir("/")?)
}

fn put(kind: &'static str, at: &Path, flags: MsFlags, options: &str) -> Result<(), RootError> {
    mount(Some(kind), at, Some(kind), flags, Some(options)).map_err(|errno| RootError::Mount {
        kind,
        at: at.display().to_string(),
        errno,
    })
}

fn make(path: &Path) -> Result<(), RootError> {
    fs::create_dir_all(path).map_err(|source| RootError::File { path: path.to_owned(), source })
}

fn open(path: &str) -> Result<File, RootError> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map_err(|source| RootError::File { path: path.into(), source })
}
