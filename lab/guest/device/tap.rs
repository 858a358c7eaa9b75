//! Taps and tuns: the agent holds their descriptors. Where two are peers, it reads each and writes what it has read to the other, as
//! the program behind a virtual machine's NIC does; otherwise nothing reads them, and their rings fill.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::agent::guard::Guard;
use crate::agent::testbed::{Testbed, netns_error};
use crate::device::links;
use bondlab_core::net::link::{Link, Tun};
use bondlab_core::net::name::DeviceRef;
use bondlab_core::plan::record::OpError;

const DEVICE: &str = "/dev/net/tun";
/// The longest frame: an IP packet of 65,535 bytes, an Ethernet header, two tags.
const FRAME_BYTES_MAX: usize = 65_535 + 14 + 8;

// Keep in sync with include/uapi/linux/if_tun.h.
const IFF_TUN: i16 = 0x0001;
const IFF_TAP: i16 = 0x0002;
const IFF_BACKPRESSURE: i16 = 0x0080;
const IFF_NO_PI: i16 = 0x1000;

nix::ioctl_readwrite_bad!(tun_set_iff, nix::request_code_write!(b'T', 202, 4), Request);
nix::ioctl_write_int_bad!(tun_set_persist, nix::request_code_write!(b'T', 203, 4));
nix::ioctl_read_bad!(tun_get_features, nix::request_code_read!(b'T', 207, 4), u32);

/// `struct ifreq` with a name and flags.
#[repr(C)]
pub struct Request {
    name: [u8; 16],
    flags: i16,
    _rest: [u8; 22],
}

/// Why this kernel has no such tap, if it has none.
pub fn obstacle(backpressure: bool) -> Option<String> {
    let found = File::open(DEVICE).and_then(|file| {
        let mut features = 0;
        // SAFETY: the kernel writes an unsigned int to `features`.
        unsafe { tun_get_features(file.as_raw_fd(), &raw mut features) }?;
        Ok(features)
    });
    match found {
        Err(error) => Some(format!("{DEVICE}: {error}")),
        Ok(features) if backpressure && features & u32::from(IFF_BACKPRESSURE.cast_unsigned()) == 0 => {
            Some("the driver does not know it".into())
        }
        Ok(_) => None,
    }
}

/// The descriptor of a tap or tun, and what reads it.
#[derive(Debug)]
pub struct Tap {
    device: DeviceRef,
    /// Whether it stops its queue when its ring is full.
    backpressure: bool,
    file: Arc<OwnedFd>,
    reader: Reader,
}

/// What reads a tap.
#[derive(Debug)]
enum Reader {
    /// Nothing ever.
    None,
    /// Nothing now: this descriptor gets the frames later.
    Stopped(Arc<OwnedFd>),
    /// A thread.
    Running(Running),
}

/// A thread that writes to one descriptor what it reads of another, until it is dropped.
#[derive(Debug)]
struct Running {
    to: Arc<OwnedFd>,
    /// Closing it wakes the thread, which ends.
    line: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.line = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Running {
    fn start(from: &Arc<OwnedFd>, to: &Arc<OwnedFd>) -> io::Result<Self> {
        let (read, write) = (Arc::clone(from), Arc::clone(to));
        let (closed, line) = io::pipe()?;
        let copy = move || {
            at_once();
            copy(&read, &write, &closed);
        };
        let thread = std::thread::Builder::new().name("tap".into()).spawn(copy)?;
        Ok(Self { to: Arc::clone(to), line: Some(line), thread: Some(thread) })
    }
}

/// A frame is read before the sender's next one is sent, where both are on one processor. A kernel that refuses that priority to
/// a normal user leaves the order to the scheduler.
fn at_once() {
    let parameter = libc::sched_param { sched_priority: 1 };
    // SAFETY: `parameter` is read only, and 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
}

fn copy(from: &OwnedFd, to: &OwnedFd, closed: &PipeReader) {
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    loop {
        let mut ready =
            [PollFd::new(closed.as_fd(), PollFlags::POLLIN), PollFd::new(from.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        if ready[0].any().unwrap_or(true) {
            return;
        }
        match nix::unistd::read(from, &mut buffer) {
            // What the other device refuses (it is down: EIO) the kernel frees and counts there.
            Ok(len) => drop(nix::unistd::write(to, &buffer[..len])),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // The device is gone.
            Err(_) => return,
        }
    }
}

/// Makes a tap or tun, down. A program reads both when the second of two peers is made.
///
/// # Errors
/// The kernel's refusal.
pub async fn create(bed: &mut Testbed, link: &Link, tun: &Tun) -> Result<(), OpError> {
    let what = format!("create {} {}", link.kind.word(), link.device);
    let name = link.device.name.as_str();
    let opened = bed.namespaces.enter(&link.device.ns, || open(name, tun));
    let descriptor = opened.map_err(|error| netns_error(&what, &error))?.map_err(|error| OpError {
        what: what.clone(),
        errno: error.raw_os_error().map(crate::syscall::rtnl::errno_name),
        text: Some(error.to_string()),
    })?;
    let mut tap = Tap {
        device: link.device.clone(),
        backpressure: tun.backpressure,
        file: Arc::new(descriptor),
        reader: Reader::None,
    };
    if let Some(other) = tun.peer.as_ref().and_then(|peer| tap_mut(bed, peer)) {
        let start = |from: &Tap, to: &Tap| Running::start(&from.file, &to.file).map(Reader::Running);
        let started = start(&tap, other).and_then(|reader| Ok((reader, start(other, &tap)?)));
        (tap.reader, other.reader) = started.map_err(|error| unread(&what, &error))?;
    }
    bed.held.insert(link.device.to_string(), Guard::Tap(tap));
    if let Some(mac) = link.mac {
        links::set_mac(bed, &link.device, mac).await?;
    }
    if let Some(mtu) = link.mtu {
        links::set_mtu(bed, &link.device, mtu).await?;
    }
    links::set_options(bed, link).await?;
    match link.txqueuelen {
        // The ring is made anew with that length (tun_queue_resize()).
        Some(len) => links::set_txqueuelen(bed, &link.device, len).await,
        None => Ok(()),
    }
}

fn open(name: &str, tun: &Tun) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE)?;
    let kind = if tun.is_tap { IFF_TAP } else { IFF_TUN };
    let flags = kind | IFF_NO_PI | if tun.backpressure { IFF_BACKPRESSURE } else { 0 };
    let mut request = Request { name: [0; 16], flags, _rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the kernel reads and writes one struct ifreq, which `request` is.
    unsafe { tun_set_iff(file.as_raw_fd(), &raw mut request) }?;
    // The device and its counters outlive the descriptor, for the ring is drained before they are read.
    // SAFETY: it takes a number.
    unsafe { tun_set_persist(file.as_raw_fd(), 1) }?;
    Ok(file.into())
}

fn unread(what: &str, error: &io::Error) -> OpError {
    OpError { what: what.into(), errno: None, text: Some(error.to_string()) }
}

fn tap_mut<'b>(bed: &'b mut Testbed, device: &DeviceRef) -> Option<&'b mut Tap> {
    match bed.held.get_mut(&device.to_string())? {
        Guard::Tap(tap) => Some(tap),
        _ => None,
    }
}

/// Whether a device is a tap or tun that the agent has made.
pub fn is_one(bed: &Testbed, device: &DeviceRef) -> bool {
    matches!(bed.held.get(&device.to_string()), Some(Guard::Tap(_)))
}

/// Stops to read one, or reads it again. It has stopped when this returns: no frame is between its ring and its peer.
///
/// # Errors
/// No thread is to be had, or no program reads it.
pub fn set_reading(bed: &mut Testbed, device: &DeviceRef, reading: bool) -> Result<(), OpError> {
    let what = format!("{} reading {device}", if reading { "go on" } else { "stop" });
    let Some(tap) = tap_mut(bed, device) else {
        return Err(unread(&what, &io::ErrorKind::NotFound.into()));
    };
    tap.reader = match (std::mem::replace(&mut tap.reader, Reader::None), reading) {
        (Reader::Running(running), false) => Reader::Stopped(Arc::clone(&running.to)),
        (Reader::Stopped(to), true) => {
            Reader::Running(Running::start(&tap.file, &to).map_err(|error| unread(&what, &error))?)
        }
        (as_asked, _) => as_asked,
    };
    Ok(())
}

/// Ends all programs: nothing reads any more.
pub fn stop_all(bed: &mut Testbed) {
    bed.held.retain(|_, held| {
        !matches!(held, Guard::Tap(Tap { reader: Reader::Running(_) | Reader::Stopped(_), .. }))
    });
}

/// Lets the rings of all go that no program ever reads and that lose what does not fit: what is in them is lost
/// (`tun_queue_purge()`), and the devices lose carrier.
pub fn let_all_go(bed: &mut Testbed) {
    let is_let_go =
        |held: &Guard| matches!(held, Guard::Tap(Tap { backpressure: false, reader: Reader::None, .. }));
    bed.held.retain(|_, held| !is_let_go(held));
}

/// Those that stop their queue and that no program ever reads. The queue goes on when the ring is released, into a driver without a
/// reader (DEV_READY): empty the queue before.
pub fn that_stop(bed: &Testbed) -> Vec<DeviceRef> {
    let stops = bed.held.values().filter_map(|held| match held {
        Guard::Tap(Tap { device, backpressure: true, reader: Reader::None, .. }) => Some(device.clone()),
        _ => None,
    });
    stops.collect()
}

/// Those whose program has stopped.
pub fn stopped(bed: &Testbed) -> Vec<DeviceRef> {
    let stopped = bed.held.values().filter_map(|held| match held {
        Guard::Tap(Tap { device, reader: Reader::Stopped(_), .. }) => Some(device.clone()),
        _ => None,
    });
    stopped.collect()
}

/// Takes what is in the ring of one.
///
/// # Errors
/// It cannot be read.
pub fn take(bed: &Testbed, device: &DeviceRef) -> Result<Vec<Vec<u8>>, OpError> {
    let what = format!("take what is in the ring of {device}");
    let Some(Guard::Tap(tap)) = bed.held.get(&device.to_string()) else {
        return Err(unread(&what, &io::ErrorKind::NotFound.into()));
    };
    let (mut buffer, mut frames) = (vec![0; FRAME_BYTES_MAX], Vec::new());
    loop {
        match nix::unistd::read(&tap.file, &mut buffer) {
            Ok(len) => frames.push(buffer[..len].to_vec()),
            Err(Errno::EINTR) => {}
            // The device is gone, and its ring with it.
            Err(Errno::EAGAIN | Errno::EBADFD) => return Ok(frames),
            Err(errno) => return Err(unread(&what, &errno.into())),
        }
    }
}

/// Lets the ring of one tap go.
pub fn let_go(bed: &mut Testbed, device: &DeviceRef) {
    bed.held.retain(|_, held| !matches!(held, Guard::Tap(tap) if tap.device == *device));
}
