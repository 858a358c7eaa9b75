//! The `bpf(2)` system call: maps, a program, and its raw tracepoint, each held by a file descriptor.

pub mod asm;
pub mod btf;
pub mod ksyms;
pub mod ringbuf;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A system call on BPF objects that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}{}", hint(source))]
pub struct BpfError {
    /// The call as one would search for it, `bpf(BPF_PROG_LOAD)`.
    pub call: &'static str,
    /// What the kernel answered.
    pub source: io::Error,
}

/// What usually stands behind an answer of the kernel.
fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => "; BPF programs need root in the initial user namespace",
        Some(libc::ENOSYS) => "; the kernel is built without CONFIG_BPF_SYSCALL",
        _ => "",
    }
}

// enum bpf_cmd, include/uapi/linux/bpf.h
const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_LINK_CREATE: libc::c_long = 28;

// enum bpf_attach_type, include/uapi/linux/bpf.h
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// The kinds of map used here (`enum bpf_map_type`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum MapType {
    /// Fixed values by index.
    Array = 2,
    /// A byte queue from kernel to user space, from Linux 5.8.
    Ringbuf = 27,
}

/// `union bpf_attr` as BPF_MAP_CREATE reads it.
#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// `union bpf_attr` as BPF_MAP_LOOKUP_ELEM reads it.
#[repr(C)]
#[derive(Default)]
struct MapElement {
    map_fd: u32,
    _pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `union bpf_attr` as BPF_PROG_LOAD reads it, up to the log.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
}

/// `union bpf_attr` as BPF_OBJ_GET_INFO_BY_FD reads it.
#[repr(C)]
#[derive(Default)]
struct GetInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `union bpf_attr` as BPF_RAW_TRACEPOINT_OPEN reads it.
#[repr(C)]
#[derive(Default)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    _pad: u32,
}

/// `union bpf_attr` as BPF_LINK_CREATE reads it for tcx.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    _pad: u32,
    expected_revision: u64,
}

/// Makes one call; `attr` must be laid out as `command` expects and point to live memory.
fn bpf<T>(command: libc::c_long, call: &'static str, attr: &mut T) -> Result<libc::c_long, BpfError> {
    let size = size_of::<T>();
    // SAFETY: attr is a repr(C) prefix of union bpf_attr of the size named; every pointer in it was taken by
    // the caller from memory that outlives the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size) };
    if rc < 0 {
        return Err(BpfError { call, source: io::Error::last_os_error() });
    }
    Ok(rc)
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor (close-on-exec), and nothing else has it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// Makes a map. A ring buffer has no key and no value size, its `entries` are bytes: a power of two of pages.
pub fn create_map(kind: MapType, value_bytes: u32, entries: u32) -> Result<OwnedFd, BpfError> {
    let (call, key_size) = match kind {
        MapType::Array => ("bpf(BPF_MAP_CREATE, array)", 4),
        MapType::Ringbuf => ("bpf(BPF_MAP_CREATE, ringbuf)", 0),
    };
    let mut attr =
        MapCreate { map_type: kind as u32, key_size, value_size: value_bytes, max_entries: entries };
    bpf(BPF_MAP_CREATE, call, &mut attr).map(owned)
}

/// Reads one counter of an array map whose values are `u64`.
pub fn read_counter(map: BorrowedFd<'_>, index: u32) -> Result<u64, BpfError> {
    let mut value = 0_u64;
    let mut attr = MapElement {
        map_fd: map.as_raw_fd() as u32,
        key: std::ptr::from_ref(&index) as u64,
        value: std::ptr::from_mut(&mut value) as u64,
        ..Default::default()
    };
    bpf(BPF_MAP_LOOKUP_ELEM, "bpf(BPF_MAP_LOOKUP_ELEM)", &mut attr)?;
    Ok(value)
}

/// The kinds of program used here (`enum bpf_prog_type`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum ProgramType {
    /// Sees each frame at a device's hook, and says what becomes of it.
    SchedCls = 3,
    /// Sees each frame as a driver takes it in.
    Xdp = 6,
    /// Sees a tracepoint's own arguments.
    RawTracepoint = 17,
}

/// Loads a program. When the verifier refuses it, the error is the end of the verifier's log.
pub fn load(kind: ProgramType, code: &[[u8; 8]]) -> Result<OwnedFd, BpfError> {
    const LOG_BYTES: usize = 256 * 1024;
    const CALL: &str = "bpf(BPF_PROG_LOAD)";
    let mut attr = ProgLoad {
        prog_type: kind as u32,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        // The helpers that read kernel memory and stacks are for GPL programs only; this one is generated
        // at run time and never leaves the machine.
        license: c"GPL".as_ptr() as u64,
        ..Default::default()
    };
    let refused = match bpf(BPF_PROG_LOAD, CALL, &mut attr) {
        Ok(fd) => return Ok(owned(fd)),
        Err(e) if e.source.raw_os_error() == Some(libc::EPERM) => return Err(e),
        Err(e) => e,
    };
    let mut log = vec![0_u8; LOG_BYTES];
    attr.log_level = 1;
    attr.log_size = LOG_BYTES as u32;
    attr.log_buf = log.as_mut_ptr() as u64;
    if let Ok(fd) = bpf(BPF_PROG_LOAD, CALL, &mut attr) {
        return Ok(owned(fd));
    }
    let said = String::from_utf8_lossy(&log);
    let said = said.trim_end_matches('\0').trim_end();
    let last: Vec<&str> = said.lines().rev().take(4).collect();
    if last.is_empty() {
        return Err(refused);
    }
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(BpfError {
        call: CALL,
        source: io::Error::other(format!("{}: {}", refused.source, last.join(" | "))),
    })
}

/// Attaches a program to a raw tracepoint; closing the descriptor detaches it.
pub fn open_raw_tracepoint(name: &std::ffi::CStr, program: BorrowedFd<'_>) -> Result<OwnedFd, BpfError> {
    let mut attr = RawTracepointOpen {
        name: name.as_ptr() as u64,
        prog_fd: program.as_raw_fd() as u32,
        ..Default::default()
    };
    bpf(BPF_RAW_TRACEPOINT_OPEN, "bpf(BPF_RAW_TRACEPOINT_OPEN)", &mut attr).map(owned)
}

/// Attaches a program to a hook of device number `index` of the caller's network namespace; closing the descriptor
/// detaches it.
///
/// # Errors
/// EINVAL before Linux 6.6, which brought tcx.
pub fn attach_tcx(program: BorrowedFd<'_>, index: u32, is_egress: bool) -> Result<OwnedFd, BpfError> {
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: index,
        attach_type: if is_egress { BPF_TCX_EGRESS } else { BPF_TCX_INGRESS },
        ..Default::default()
    };
    bpf(BPF_LINK_CREATE, "bpf(BPF_LINK_CREATE, tcx)", &mut attr).map(owned)
}

/// How often the kernel did not run the program because it was already running on that processor.
/// Counted from Linux 5.12; before, such runs were not left out.
pub fn recursion_misses(program: BorrowedFd<'_>) -> Result<u64, BpfError> {
    // Keep in sync with struct bpf_prog_info in include/uapi/linux/bpf.h; the kernel fills what it knows.
    const RECURSION_MISSES_AT: usize = 208;
    let mut info = [0_u64; 27];
    let mut attr = GetInfo {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, "bpf(BPF_OBJ_GET_INFO_BY_FD)", &mut attr)?;
    Ok(info[RECURSION_MISSES_AT / size_of::<u64>()])
}

/// Runs `make` with the limit on locked memory lifted, and puts the limit back.
///
/// Before Linux 5.11 (commit "bpf: Eliminate rlimit-based memory accounting") maps and programs count against
/// RLIMIT_MEMLOCK when they are made, and the usual 64 KiB are too few.
pub fn with_locked_memory<T>(make: impl FnOnce() -> T) -> T {
    let before = getrlimit(Resource::RLIMIT_MEMLOCK);
    // Refused without CAP_SYS_RESOURCE: then the call that needs it says so with EPERM.
    let lifted = setrlimit(Resource::RLIMIT_MEMLOCK, libc::RLIM_INFINITY, libc::RLIM_INFINITY);
    let made = make();
    if let (Ok((soft, hard)), Ok(())) = (before, lifted) {
        // Lowering a limit is always allowed.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    made
}
