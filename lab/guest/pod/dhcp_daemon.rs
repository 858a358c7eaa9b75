//! The daemon of the CNI plugin `dhcp`: it asks servers in the plugin's place, and gives back what they gave.

use std::io;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::agent::guard::Guard;
use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::wait;
use crate::pod::plugin::FOLDER;
use bondlab_core::net::dhcp::DAEMON_SOCKET;
use bondlab_core::net::name::NsName;
use bondlab_core::plan::record::OpError;

/// For an answer of a server: it comes within ms, or never.
const ANSWER_TIMEOUT: &str = "5s";
/// After a first try without success the daemon sleeps 4 s; no longer than that (`backoffRetry()`), then there are "no more tries".
const RESEND_MAX: &str = "4s";
/// A program under emulation takes a second or two to start.
const START_TIMEOUT: Duration = Duration::from_secs(20);
const START_LOOK: Duration = Duration::from_millis(10);

/// Runs until it is dropped.
#[derive(Debug)]
pub struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended by itself is only waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has it run at a node, and listen.
///
/// # Errors
/// It does not start, or ends.
pub fn ensure(bed: &mut Testbed, node: &NsName) -> Result<(), OpError> {
    let key = format!("CNI's DHCP daemon at {node}");
    if bed.held.contains_key(&key) {
        return Ok(());
    }
    let what = format!("start {key}");
    let namespace = bed.namespaces.get(node).map_err(|error| netns_error(&what, &error))?;
    let failed =
        |error: io::Error| OpError { what: what.clone(), errno: None, text: Some(error.to_string()) };
    let mut daemon = Daemon(spawn(namespace.raw_fd()).map_err(failed)?);
    let listens = namespace.enter(|| listens(&mut daemon.0)).map_err(|error| netns_error(&what, &error))?;
    listens.map_err(failed)?;
    bed.held.insert(key, Guard::DhcpDaemon(daemon));
    Ok(())
}

/// Started by the agent's own thread, with which it is to end: one that enters a namespace is soon gone.
fn spawn(netns: i32) -> io::Result<Child> {
    let mut command = Command::new(Path::new(FOLDER).join("dhcp"));
    command.args(["daemon", "-socketpath", &format!("@{DAEMON_SOCKET}")]);
    command.args(["-timeout", ANSWER_TIMEOUT, "-resendmax", RESEND_MAX]);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let arm = move || {
        // SAFETY: the agent holds the namespace, and with it the descriptor, until the child has been started.
        let netns = unsafe { BorrowedFd::borrow_raw(netns) };
        setns(netns, CloneFlags::CLONE_NEWNET)?;
        set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    // SAFETY: between fork and exec `arm` makes two system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(arm) };
    command.spawn()
}

fn listens(daemon: &mut Child) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(DAEMON_SOCKET)?;
    let look = || {
        if let Ok(line) = UnixStream::connect_addr(&address) {
            // It serves HTTP; nothing is asked.
            return Some(line.shutdown(Shutdown::Both));
        }
        match daemon.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Err(io::Error::other(format!("it ended with {status}")))),
            Err(error) => Some(Err(error)),
        }
    };
    let never = || {
        let words = format!("it did not listen within {} s", START_TIMEOUT.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, words))
    };
    wait::until(Instant::now() + START_TIMEOUT, START_LOOK, look).unwrap_or_else(never)
}
