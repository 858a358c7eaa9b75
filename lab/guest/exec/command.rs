//! One command from its start to its end, with pipes or a terminal for its streams.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bondlab_core::plan::exec::{ExecRequest, How};
use bondlab_core::plan::exec_frame::Kind;
use nix::pty::{Winsize, openpty};
use nix::unistd::Pid;

use crate::exec::input::Input;
use crate::exec::output::Output;
use crate::exec::root;
use crate::syscall::netns::Namespace;

/// Processes that a command left behind may hold its pipes open. They are not waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 32 * 1024;
/// `VEOF` of a new terminal, Ctrl-D.
const END_OF_FILE: &[u8] = &[4];

nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, Winsize);

/// Runs the command of `request` in `namespace`, and returns how it ended when all of its output was sent.
pub(crate) fn run(
    request: &ExecRequest,
    namespace: Option<&Namespace>,
    input: &Input,
    output: &Arc<Output>,
) -> How {
    // Where a process is, its threads may differ: this one moves, and the agent stays.
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            if let Err(error) = root::enter(namespace) {
                return How::NotPrepared { text: error.to_string() };
            }
            start_and_wait(request, input, output)
        });
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A command that runs.
struct Running {
    child: Child,
    /// How many of `drained` are to come.
    streams: usize,
    drained: Receiver<()>,
}

fn start_and_wait(request: &ExecRequest, input: &Input, output: &Arc<Output>) -> How {
    let started = match request.terminal {
        Some(size) => in_terminal(request, size, input, output),
        None => with_pipes(request, input, output),
    };
    let Running { mut child, streams, drained } = match started {
        Ok(running) => running,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or_default();
            return How::NotStarted { errno, text: error.to_string() };
        }
    };
    let status = match child.wait() {
        Ok(status) => status,
        Err(error) => return How::NotPrepared { text: format!("wait for the command: {error}") },
    };
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    for _ in 0..streams {
        if drained.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_err() {
            break;
        }
    }
    how(status)
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(code), _) => How::Exited { status: u8::try_from(code & 0xff).unwrap_or(u8::MAX) },
        (None, Some(signal)) => How::Signaled { signal: u8::try_from(signal).unwrap_or(u8::MAX) },
        (None, None) => How::NotPrepared { text: format!("the command ended in an unknown way: {status}") },
    }
}

fn command(request: &ExecRequest) -> io::Result<Command> {
    let text = |bytes: &Vec<u8>| OsString::from_vec(bytes.clone());
    let (program, args) = request.args.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let mut command = Command::new(text(program));
    command.args(args.iter().map(text)).env_clear();
    command.envs(request.env.iter().map(|(name, value)| (text(name), text(value))));
    // The folder is tried first, so that its absence is not taken for the program's.
    let dir = PathBuf::from(text(&request.dir));
    std::env::set_current_dir(&dir).map_err(|error| {
        io::Error::new(error.kind(), format!("working directory {}: {error}", dir.display()))
    })?;
    Ok(command)
}

fn with_pipes(request: &ExecRequest, input: &Input, output: &Arc<Output>) -> io::Result<Running> {
    let mut command = command(request)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    output.send(Kind::Started, &[])?;
    input.aim(group_of(&child), None);
    if let Some(stdin) = child.stdin.take() {
        input.feed(stdin, &[]);
    }
    let (done, drained) = channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, Kind::Stdout, output, done.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, Kind::Stderr, output, done);
    }
    Ok(Running { child, streams: 2, drained })
}

fn in_terminal(
    request: &ExecRequest,
    (rows, columns): (u16, u16),
    input: &Input,
    output: &Arc<Output>,
) -> io::Result<Running> {
    let mut command = command(request)?;
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None)?;
    let master = File::from(pty.master);
    let stream = || -> io::Result<Stdio> { Ok(Stdio::from(pty.slave.try_clone()?)) };
    command.stdin(stream()?).stdout(stream()?).stderr(stream()?);
    // The command must not hold the other end, or its terminal would never hang up.
    close_on_exec(&master)?;
    close_on_exec(&pty.slave)?;
    // SAFETY: between fork and exec two system calls are made, and neither allocates nor locks.
    unsafe { command.pre_exec(become_session_leader) };
    let child = command.spawn()?;
    drop((command, pty.slave));
    output.send(Kind::Started, &[])?;
    input.aim(group_of(&child), Some(master.try_clone()?));
    input.feed(master.try_clone()?, END_OF_FILE);
    let (done, drained) = channel();
    forward(master, Kind::Stdout, output, done);
    Ok(Running { child, streams: 1, drained })
}

/// A session of its own, with standard input as its terminal.
fn become_session_leader() -> io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: the argument is a number.
    if unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn close_on_exec(file: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

pub(crate) fn set_size(terminal: &File, rows: u16, columns: u16) -> nix::Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the structure is the kernel's.
    unsafe { set_window_size(terminal.as_raw_fd(), &raw const size) }.map(drop)
}

fn group_of(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Sends what a stream has, as it comes, and says when it is at its end.
fn forward(stream: impl Into<OwnedFd>, kind: Kind, output: &Arc<Output>, done: Sender<()>) {
    let mut stream = File::from(stream.into());
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) if output.send(kind, &chunk[..length]).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A terminal that everybody has left gives EIO.
                Ok(_) | Err(_) => break,
            }
        }
        // The command's end may have been reported without waiting any longer.
        let _ = done.send(());
    });
}
