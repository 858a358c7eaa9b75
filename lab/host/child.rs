//! Child processes that do not outlive the lab, and do not keep it waiting.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Arguments that keep apt, run by root, from becoming its sandbox user even for a moment.
///
/// In a cache that only root can read it downloads without the sandbox anyway.
pub const APT_AS_CALLER: [&str; 2] = ["-o", "APT::Sandbox::User=root"];

/// Arguments that bound apt's own waits: for a connection and between two bytes (apt-transport-http(1)), and for
/// another apt that holds the lock (apt-get(8), `DPkg::Lock::Timeout`).
pub const APT_BOUNDS: [&str; 6] =
    ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30", "-o", "DPkg::Lock::Timeout=60"];

/// What is kept of a child's standard output; more is an error. apt's longest answer to the lab is under 1 MB.
const STDOUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is kept of a child's standard error: its end.
const STDERR_BYTES_MAX: usize = 64 * 1024;

/// How often a child is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// From the request to end to the kill: apt leaves its databases whole when it can.
const END_GRACE: Duration = Duration::from_secs(5);

/// Processes that a child started may hold its pipes open when it has ended. They are not waited for.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Has the kernel kill the child when the thread that starts it ends, however it ends.
///
/// A child must be waited for by the thread that spawned it: PR_SET_PDEATHSIG follows the thread. A child
/// that changes its user loses the signal (commit_creds()); apt does so, see [`APT_AS_CALLER`].
pub fn die_with_parent(command: &mut Command) {
    let lab = std::process::id();
    let arm = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died between fork and prctl; then no signal comes.
        if parent_id() != lab {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    // SAFETY: between fork and exec `arm` makes two system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(arm) };
}

/// A child that ended in time.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// The end of its standard error.
    pub stderr: Vec<u8>,
}

/// Why a child has no result.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It could not be started or waited for.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was ended.
    #[error("not done after {seconds} s: it was ended")]
    TimedOut {
        /// How long it was given.
        seconds: u64,
    },
    /// It says too much.
    #[error("it wrote more than {STDOUT_BYTES_MAX} bytes")]
    TooMuch,
}

/// Runs a command to its end, or until `limit` has passed, and returns what it said.
///
/// Both pipes are read while it runs: a child that waits for a reader would never end.
///
/// # Errors
/// When it cannot be started, takes longer, or writes more than [`STDOUT_BYTES_MAX`] to standard output.
pub fn output_within(command: &mut Command, limit: Duration) -> Result<Ended, ChildError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().map(|pipe| Drain::start(pipe, STDOUT_BYTES_MAX + 1, Keep::First));
    let stderr = child.stderr.take().map(|pipe| Drain::start(pipe, STDERR_BYTES_MAX, Keep::Last));
    let status = end_within(&mut child, limit)?;
    let [stdout, stderr] = [stdout, stderr].map(|drain| drain.map(Drain::finish).unwrap_or_default());
    let Some(status) = status else {
        return Err(ChildError::TimedOut { seconds: limit.as_secs() });
    };
    if stdout.len() > STDOUT_BYTES_MAX {
        return Err(ChildError::TooMuch);
    }
    Ok(Ended { status, stdout, stderr })
}

/// Waits for the end of a child; asks it to end after `limit`, and kills it if it does not. `None` when it was ended.
///
/// # Errors
/// When the system cannot say how it ended.
pub fn end_within(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let until = |child: &mut Child, limit| {
        wait::until(Instant::now() + limit, POLL_INTERVAL, || child.try_wait().transpose()).transpose()
    };
    if let Some(status) = until(child, limit)? {
        return Ok(Some(status));
    }
    // It has not been waited for, so that its number is still its own.
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    if until(child, END_GRACE)?.is_none() {
        child.kill()?;
        // A process in an uninterruptible sleep cannot be killed: the lab does not wait for it either.
        until(child, END_GRACE)?;
    }
    Ok(None)
}

/// Which bytes of too many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The first.
    First,
    /// The last.
    Last,
}

/// Reads a pipe to its end beside everything else, and keeps a bounded part of it.
#[derive(Debug)]
pub struct Drain {
    kept: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

impl Drain {
    /// Starts to read. The thread ends when every process that has the other end has closed it.
    pub fn start(mut pipe: impl Read + Send + 'static, bytes_max: usize, keep: Keep) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = channel::<()>();
        let theirs = Arc::clone(&kept);
        thread::spawn(move || {
            // Dropped at the end, which ends the wait in `finish`.
            let _sender = sender;
            let mut chunk = [0; 16 * 1024];
            loop {
                match pipe.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => {
                        let mut kept = theirs.lock().unwrap_or_else(PoisonError::into_inner);
                        add(&mut kept, &chunk[..length], bytes_max, keep);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        Self { kept, ended }
    }

    /// What was kept. The child has ended; what it started need not have, and is not waited for.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(!matches!(self.ended.try_recv(), Ok(())), "nothing is ever sent");
        if self.ended.recv_timeout(DRAIN_GRACE) == Err(RecvTimeoutError::Timeout) {
            return self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        }
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn add(kept: &mut Vec<u8>, bytes: &[u8], bytes_max: usize, keep: Keep) {
    match keep {
        Keep::First => {
            let room = bytes_max.saturating_sub(kept.len());
            kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        Keep::Last => {
            kept.extend_from_slice(bytes);
            let excess = kept.len().saturating_sub(bytes_max);
            kept.drain(..excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_that_fills_both_pipes_comes_to_its_end() {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; echo last >&2";
        let ended = output_within(&mut shell(script), Duration::from_secs(20)).unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.stdout.len(), 300_000);
        assert_eq!(ended.stderr.len(), STDERR_BYTES_MAX);
        assert!(ended.stderr.ends_with(b"last\n"));
    }

    #[test]
    fn a_child_that_does_not_end_is_ended() {
        let begun = Instant::now();
        let error = output_within(&mut shell("exec sleep 100"), Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ChildError::TimedOut { .. }), "{error}");
        assert!(begun.elapsed() < END_GRACE, "SIGTERM was enough");
        let mut deaf = shell("trap '' TERM; echo; while :; do sleep 1; done");
        let mut deaf = deaf.stdout(Stdio::piped()).spawn().unwrap();
        deaf.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        assert_eq!(end_within(&mut deaf, Duration::from_millis(50)).unwrap(), None);
        assert!(deaf.try_wait().unwrap().is_some(), "it was killed and waited for");
    }

    #[test]
    fn what_a_child_left_running_with_its_pipe_is_not_waited_for() {
        let begun = Instant::now();
        let ended = output_within(&mut shell("sleep 30 & echo said"), Duration::from_secs(20)).unwrap();
        assert_eq!(ended.stdout, b"said\n");
        assert!(begun.elapsed() < Duration::from_secs(15));
    }
}
