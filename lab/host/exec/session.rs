//! A command under way: its streams, its signals, its time-out, until the guest says how it ended.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;

use crate::exec::error::{ExecError, ServeError};
use crate::exec::files::Files;
use crate::exec::input::Input;
use crate::exec::signals::Signals;
use crate::exec::sink::Sink;
use crate::exec::{ExecCommand, Output, Verdict, serve};
use crate::terminal;
use crate::vm::Vm;
use bondlab_core::plan::exec::End;
use bondlab_core::plan::exec_frame::{Frame, Frames, Kind};

/// How soon a signal or a broken file server is noticed where nothing else happens.
const TICK: Duration = Duration::from_millis(100);
/// From the first signal of a time-out to the end of the machine.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;
/// So much is read at once, so that a flood does not keep signals and the time-out from being looked at.
const CHUNKS_MAX: usize = 16;
/// From the request to the start of the command: mounts, and a topology. It takes 0.3 s, and many times that where
/// everything is busy.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(300);

/// A command under way in a machine.
pub(super) struct Session<'a> {
    vm: &'a mut Vm,
    files: Files,
    input: Input,
    output: UnixStream,
    frames: Frames,
    sinks: Option<[Sink; 2]>,
    kept: Vec<u8>,
    kept_max: usize,
    counts: [u64; 2],
    signals: Option<Signals>,
    server: Option<JoinHandle<Result<(), ServeError>>>,
    timeout: Option<Duration>,
    asked: Instant,
    started: Option<Instant>,
    /// When the machine is ended that did not heed the time-out's signal.
    killed_at: Option<Instant>,
    end: Option<End>,
}

impl<'a> Session<'a> {
    /// Starts to serve the host's files.
    pub(super) fn new(
        vm: &'a mut Vm,
        command: &ExecCommand,
        signals: Option<Signals>,
    ) -> Result<Self, ExecError> {
        let files = Files::new(command.out.as_deref())?;
        let ports: Result<[UnixStream; 3], _> = vm.take_ports().try_into();
        let [root, input, output] =
            ports.map_err(|ports| ExecError::Protocol(format!("the machine has {} ports", ports.len())))?;
        output.set_nonblocking(true).map_err(ExecError::Output)?;
        let server = thread::spawn(move || serve::serve(root, Path::new("/")));
        let (sinks, kept_max) = match command.output {
            Output::Own => {
                let both = || -> io::Result<_> { Ok([Sink::new(io::stdout())?, Sink::new(io::stderr())?]) };
                (Some(both().map_err(ExecError::Output)?), 0)
            }
            Output::Kept(bytes) => (None, bytes),
        };
        Ok(Self {
            vm,
            files,
            input: Input::new(input, command.stdin, command.request.terminal.is_some())
                .map_err(ExecError::Output)?,
            output,
            frames: Frames::default(),
            sinks,
            kept: Vec::new(),
            kept_max,
            counts: [0; 2],
            signals,
            server: Some(server),
            timeout: command.timeout,
            asked: Instant::now(),
            started: None,
            killed_at: None,
            end: None,
        })
    }

    /// Until the command has ended and all of its output is written.
    pub(super) fn run(&mut self) -> Result<Verdict, ExecError> {
        loop {
            self.pass_signals_on();
            if self.has_timed_out() {
                return Ok(Verdict::TimedOut);
            }
            if let Some(server) = self.server.take_if(|server| server.is_finished()) {
                // It ends without an error when the machine does, which is noticed below.
                server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            if self.started.is_none() && self.end.is_none() && self.asked.elapsed() > PREPARE_TIMEOUT {
                let seconds = PREPARE_TIMEOUT.as_secs();
                return Err(ExecError::NotPrepared(format!(
                    "the guest was not ready for it after {seconds} s"
                )));
            }
            let is_open = self.wait();
            if self.input.has_escaped() {
                return Err(ExecError::Escaped);
            }
            for sink in self.sinks.iter_mut().flatten() {
                sink.write_some().map_err(ExecError::Output)?;
            }
            if !self.input.send() && self.end.is_none() {
                return Err(ExecError::Closed);
            }
            self.receive()?;
            if let Some(end) = &self.end
                && !self.is_blocked()
            {
                check(end, self.counts)?;
                self.input.queue(Kind::Acknowledged, &[]);
                // A guest that is gone already has written all it had; its machine says how it ended.
                self.input.send();
                return Ok(if self.killed_at.is_some() {
                    Verdict::TimedOut
                } else {
                    Verdict::Ended(end.how.clone())
                });
            }
            if !is_open && self.end.is_none() {
                return Err(ExecError::Closed);
            }
        }
    }

    /// How long it took until the command ran, and what was kept of its output.
    pub(super) fn close(self, begun: Instant) -> (Duration, Vec<u8>) {
        (self.started.map_or_else(|| begun.elapsed(), |at| at - begun), self.kept)
    }

    /// Waits for anything to do. False when the machine has ended.
    fn wait(&mut self) -> bool {
        let is_blocked = self.is_blocked();
        let mut fds = Vec::new();
        let stdin = self.input.stdin();
        if let Some(stdin) = stdin {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        }
        let has_stdin = stdin.is_some();
        if self.input.has_waiting() {
            fds.push(PollFd::new(self.input.port().as_fd(), PollFlags::POLLOUT));
        }
        if !is_blocked {
            fds.push(PollFd::new(self.output.as_fd(), PollFlags::POLLIN));
        }
        for sink in self.sinks.iter().flatten().filter(|sink| sink.is_full()) {
            fds.push(PollFd::new(sink.as_fd(), PollFlags::POLLOUT));
        }
        let deadline = self.killed_at.into_iter().fold(Instant::now() + TICK, Instant::min);
        let (is_open, events) = self.vm.wait_with(&fds, deadline);
        let ready = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        if has_stdin && events.first().is_some_and(|events| events.intersects(ready)) {
            self.input.read();
        }
        is_open
    }

    /// Whether a stream does not take what is there for it. No more is read then: the guest waits, as for a full pipe.
    fn is_blocked(&self) -> bool {
        self.sinks.iter().flatten().any(Sink::is_full)
    }

    fn receive(&mut self) -> Result<(), ExecError> {
        let mut chunk = vec![0; READ_BYTES];
        for _ in 0..CHUNKS_MAX {
            if self.is_blocked() {
                break;
            }
            match self.output.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => self.frames.push(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What a machine that is gone has left unread is judged by its end.
                Err(_) => break,
            }
            while let Some(frame) = self.frames.take()? {
                self.take(frame)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, Frame { kind, content }: Frame) -> Result<(), ExecError> {
        if self.end.is_some() {
            return Err(ExecError::Protocol("it goes on after the end".into()));
        }
        match kind {
            Kind::Started => self.started = Some(self.started.unwrap_or_else(Instant::now)),
            Kind::Stdout => self.write(0, &content)?,
            Kind::Stderr => self.write(1, &content)?,
            Kind::Credit => {
                let bytes = <[u8; 4]>::try_from(content.as_slice());
                let bytes = bytes.map_err(|_| ExecError::Protocol("a grant of no number".into()))?;
                self.input.grant(u32::from_le_bytes(bytes))?;
            }
            Kind::File => self.files.begin(&content)?,
            Kind::FileData => self.files.add(&content)?,
            Kind::End => {
                let end = serde_json::from_slice(&content);
                self.end =
                    Some(end.map_err(|error| ExecError::Protocol(format!("an end that is none: {error}")))?);
            }
            Kind::Input | Kind::InputEnd | Kind::Signal | Kind::Acknowledged | Kind::Resize => {
                return Err(ExecError::Protocol(format!("a frame {kind:?}, which is the host's")));
            }
        }
        Ok(())
    }

    fn write(&mut self, stream: usize, content: &[u8]) -> Result<(), ExecError> {
        self.counts[stream] += content.len() as u64;
        match &mut self.sinks {
            Some(sinks) => sinks[stream].push(content).map_err(ExecError::Output),
            None => {
                self.kept.extend_from_slice(content);
                let excess = self.kept.len().saturating_sub(self.kept_max);
                self.kept.drain(..excess);
                Ok(())
            }
        }
    }

    fn pass_signals_on(&mut self) {
        for signal in self.signals.map(Signals::take).unwrap_or_default() {
            if signal == Signal::SIGWINCH {
                if let Some((rows, columns)) = terminal::size() {
                    let content = [rows.to_le_bytes(), columns.to_le_bytes()].concat();
                    self.input.queue(Kind::Resize, &content);
                }
            } else {
                self.signal(signal);
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        let number = u8::try_from(signal as i32).expect("signals have small numbers");
        self.input.queue(Kind::Signal, &[number]);
    }

    /// Asks the command to end when its time is over. True when it did not.
    fn has_timed_out(&mut self) -> bool {
        if let Some(at) = self.killed_at {
            return Instant::now() >= at;
        }
        let is_over = self.timeout.zip(self.started).is_some_and(|(limit, at)| at.elapsed() >= limit);
        if is_over && self.end.is_none() {
            self.signal(Signal::SIGTERM);
            self.killed_at = Some(Instant::now() + TERMINATE_TIMEOUT);
        }
        false
    }
}

/// Everything that the guest sent has arrived.
fn check(end: &End, [stdout, stderr]: [u64; 2]) -> Result<(), ExecError> {
    for (stream, sent, arrived) in
        [("standard output", end.stdout_bytes, stdout), ("standard error", end.stderr_bytes, stderr)]
    {
        if sent != arrived {
            return Err(ExecError::Lost { stream, sent, arrived });
        }
    }
    Ok(())
}
