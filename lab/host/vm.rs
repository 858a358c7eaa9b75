//! One machine from start to verdict: lines to and from the agent, the console beside them, a watch on both.
//!
//! Single-threaded: whoever waits for a line also drains the console, so QEMU never blocks on the host.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::handshake::{Hello, PROTOCOL, Ready};
use crate::host::console::{self, Console};
use crate::host::death::{Cause, Death, Exit, Phase, judge};
use crate::host::qemu::{Process, Qemu, QemuError, VmSpec};
use crate::host::wait;

/// Cold boots take 2 to 5 s, 7 s with emulated NICs, and several times that when every CPU is taken.
pub const BOOT_TIMEOUT_S: u64 = 60;
/// Longer than the kernel's own watch on itself (soft lockup 20 s, RCU stall 21 s): its stack trace says more than
/// the host's clock.
pub const IDLE_TIMEOUT_S: u64 = 40;
/// A run takes seconds; a guest that talks for ever ends here.
pub const TOTAL_TIMEOUT_S: u64 = 600;
/// The agent has closed the channel or been told to end: what is left is one write to a port.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// From the NMI to the end of the panic it causes; the serial port is the slow part.
const TRACE_TIMEOUT: Duration = Duration::from_secs(5);
const EXIT_INTERVAL: Duration = Duration::from_millis(1);

/// A record is under 1 KiB and a plan under 1 MiB; a guest must not fill the host's memory.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a guest may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the start to the ready line.
    pub boot: Duration,
    /// From one record to the next, unless the caller knows better.
    pub idle: Duration,
    /// From the start to the last record.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            boot: Duration::from_secs(BOOT_TIMEOUT_S),
            idle: Duration::from_secs(IDLE_TIMEOUT_S),
            total: Duration::from_secs(TOTAL_TIMEOUT_S),
        }
    }
}

/// What comes next from the agent.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole line, without its end.
    Line(String),
    /// The agent or the machine has ended; [`Vm::finish`] knows which.
    Closed,
    /// Nothing came in time; [`Vm::finish`] finds out where the guest is.
    TimedOut,
}

/// A machine. Killed when dropped; keep it on the thread that started it (see [`Qemu::spawn`]).
#[derive(Debug)]
pub struct Vm {
    pub(super) process: Process,
    console: Console,
    console_open: bool,
    inbox: Vec<u8>,
    inbox_open: bool,
    timeouts: Timeouts,
    started: Instant,
    phase: Phase,
    /// Found by the host itself, before QEMU's status could say anything.
    fault: Option<Cause>,
}

impl Vm {
    /// Starts a machine from its kernel.
    ///
    /// # Errors
    /// When QEMU does not start. What happens inside is [`Vm::wait_ready`]'s to say.
    pub fn boot(qemu: &Qemu, spec: &VmSpec, timeouts: Timeouts) -> Result<Self, QemuError> {
        Self::start(qemu, spec, timeouts, false)
    }

    pub(super) fn start(
        qemu: &Qemu,
        spec: &VmSpec,
        timeouts: Timeouts,
        incoming: bool,
    ) -> Result<Self, QemuError> {
        let process = qemu.spawn(spec, incoming)?;
        for stream in [&process.console, &process.agent] {
            let set = stream.set_nonblocking(true);
            set.map_err(|source| QemuError::Spawn { path: qemu.path.clone(), source })?;
        }
        Ok(Self {
            process,
            console: Console::default(),
            console_open: true,
            inbox: Vec::new(),
            inbox_open: true,
            timeouts,
            started: Instant::now(),
            phase: Phase::Boot,
            fault: None,
        })
    }

    /// A restored guest waits for work already, and does not say so again.
    pub(super) fn set_ready(&mut self) {
        self.phase = Phase::Work;
    }

    /// Process id of QEMU.
    #[must_use]
    pub fn qemu_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the guest waits for work.
    ///
    /// # Errors
    /// The verdict on a guest that did not get there; it is dead then.
    pub fn wait_ready(&mut self) -> Result<Ready, Death> {
        let deadline = self.started + self.timeouts.boot;
        let reason = match self.next_line_by(deadline) {
            Next::Line(line) => match serde_json::from_str::<Hello>(&line) {
                Ok(hello) if hello.ready.protocol == PROTOCOL => {
                    self.phase = Phase::Work;
                    return Ok(hello.ready);
                }
                Ok(hello) => {
                    format!("its agent speaks protocol {}, this lab {PROTOCOL}", hello.ready.protocol)
                }
                Err(error) => {
                    format!("its first line is not the agent's ({error}): {}", excerpt(line.as_bytes()))
                }
            },
            Next::Closed | Next::TimedOut => return Err(self.die()),
        };
        self.fault = Some(Cause::BootFail { reason });
        Err(self.die())
    }

    /// Sends one line. Drains what the guest says meanwhile, or two full buffers would wait for each other.
    ///
    /// # Errors
    /// The verdict on a guest that does not take it; it is dead then.
    pub fn send(&mut self, line: &str) -> Result<(), Death> {
        assert!(!line.contains('\n'), "a request is one line");
        let deadline = self.deadline(self.timeouts.idle);
        let message = [line.as_bytes(), b"\n"].concat();
        let mut rest = message.as_slice();
        while !rest.is_empty() {
            match self.process.agent.write(rest) {
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.pump(deadline, true) {
                        self.fault = Some(self.hang("it does not read its requests"));
                        return Err(self.die());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.die()),
            }
        }
        Ok(())
    }

    /// The next line, if it comes within the idle timeout.
    pub fn next_line(&mut self) -> Next {
        let deadline = self.deadline(self.timeouts.idle);
        self.next_line_by(deadline)
    }

    /// The next line, if it comes before `deadline`. The guest is not to be asked for more after anything else.
    pub fn next_line_by(&mut self, deadline: Instant) -> Next {
        let deadline = deadline.min(self.started + self.timeouts.total);
        loop {
            if let Some(next) = self.take_line() {
                return next;
            }
            if !self.inbox_open {
                if !self.inbox.is_empty() && self.fault.is_none() {
                    let what = format!("it ends within a line: {}", excerpt(&self.inbox));
                    self.fault = Some(Cause::Garbage { what });
                }
                return Next::Closed;
            }
            if !self.pump(deadline, false) {
                let idle = deadline.saturating_duration_since(self.started).as_secs();
                self.fault = Some(self.hang(&format!("silent until second {idle} of the run")));
                return Next::TimedOut;
            }
        }
    }

    /// Waits for the end of the machine and says how it was. After [`Next::TimedOut`] the guest is asked where it is,
    /// and killed.
    #[must_use]
    pub fn finish(mut self) -> Exit {
        self.end()
    }

    /// Everything the console still remembers.
    #[must_use]
    pub fn console_lines(&self) -> Vec<String> {
        self.console.lines()
    }

    fn deadline(&self, timeout: Duration) -> Instant {
        (Instant::now() + timeout).min(self.started + self.timeouts.total)
    }

    fn hang(&self, notice: &str) -> Cause {
        Cause::Hang {
            phase: self.phase,
            notice: notice.to_owned(),
            fingerprint: console::Fingerprint::default(),
        }
    }

    fn take_line(&mut self) -> Option<Next> {
        let Some(end) = self.inbox.iter().position(|&byte| byte == b'\n') else {
            if self.inbox.len() <= LINE_BYTES_MAX {
                return None;
            }
            self.fault = Some(Cause::Garbage { what: format!("a line of more than {LINE_BYTES_MAX} bytes") });
            self.inbox_open = false;
            return Some(Next::Closed);
        };
        let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
        line.pop();
        match String::from_utf8(line) {
            Ok(line) => Some(Next::Line(line)),
            Err(error) => {
                self.fault = Some(Cause::Garbage { what: excerpt(error.as_bytes()) });
                self.inbox_open = false;
                Some(Next::Closed)
            }
        }
    }

    /// Waits for something to read (or to write), and reads it. False when `deadline` passed first.
    fn pump(&mut self, deadline: Instant, to_write: bool) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be a busy loop.
        let left_ms = u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX);
        let timeout = PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX);
        let agent_events = if to_write { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(2);
        let streams: [(bool, BorrowedFd<'_>, PollFlags); 2] = [
            (self.inbox_open, self.process.agent.as_fd(), agent_events),
            (self.console_open, self.process.console.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(
            streams.into_iter().filter(|(open, ..)| *open).map(|(_, fd, events)| PollFd::new(fd, events)),
        );
        match poll(&mut fds, timeout) {
            Ok(0) => return Instant::now() < deadline,
            Ok(_) | Err(Errno::EINTR) => {}
            // Only a broken descriptor is left as a reason: a programmer error.
            Err(errno) => panic!("poll on two open sockets: {errno}"),
        }
        if self.console_open {
            let console = &mut self.console;
            self.console_open = drain(&mut &self.process.console, |bytes| console.push(bytes));
        }
        if self.inbox_open {
            let inbox = &mut self.inbox;
            self.inbox_open = drain(&mut &self.process.agent, |bytes| inbox.extend_from_slice(bytes));
        }
        true
    }

    fn die(&mut self) -> Death {
        match self.end() {
            Exit::Died(death) => death,
            // It closed the channel and ended as if its work were done, when there was more to say.
            Exit::Finished { .. } => {
                let reason = "it ended with requests unanswered".to_owned();
                Death::new(Cause::AgentDied { reason }, &self.console.lines())
            }
        }
    }

    fn end(&mut self) -> Exit {
        if let Some(fault) = self.fault.take() {
            return self.end_at_fault(fault);
        }
        if self.phase == Phase::Work {
            self.phase = Phase::End;
        }
        let deadline = Instant::now() + END_TIMEOUT;
        if !self.drain_until_closed(deadline) {
            let fault = self.hang("it closed the channel and did not end the machine");
            return self.end_at_fault(fault);
        }
        match wait::until(deadline, EXIT_INTERVAL, || self.process.try_wait().transpose()) {
            Some(Ok(status)) => judge(status, &self.process.stderr(), self.phase, &self.console.lines()),
            Some(Err(_)) | None => {
                let fault = self.hang("qemu closed its sockets and did not exit");
                self.end_at_fault(fault)
            }
        }
    }

    /// The host has found the fault; the guest can still add where it was. A kernel that has panicked meanwhile is
    /// the better explanation.
    fn end_at_fault(&mut self, fault: Cause) -> Exit {
        let before = console::cause_of_death(&self.console.lines());
        let fault = match fault {
            Cause::Hang { phase, notice, .. } => {
                let more = if before.is_none() { self.ask_where() } else { None };
                let notice = more.map_or(notice.clone(), |more| format!("{notice}; {more}"));
                let found = console::cause_of_death(&self.console.lines());
                let fingerprint = found.map(|finding| finding.fingerprint).unwrap_or_default();
                Cause::Hang { phase, notice, fingerprint }
            }
            other => other,
        };
        // What is on its way on the console is evidence, whatever the verdict.
        self.pump(Instant::now(), false);
        self.process.kill();
        Exit::Died(Death::new(fault, &self.console.lines()))
    }

    /// An NMI that nobody claims makes the kernel panic with the stack of what it interrupted (unknown_nmi_panic),
    /// interrupts on or off. Returns what the stack does not say.
    fn ask_where(&mut self) -> Option<String> {
        let status = self.process.qmp.execute("query-status", json!({})).ok()?;
        match status["status"].as_str()? {
            "running" => {}
            stopped => {
                return Some(format!("qemu stopped it: {stopped} {}", self.process.stderr()));
            }
        }
        self.process.qmp.execute("inject-nmi", json!({})).ok()?;
        self.drain_until_closed(Instant::now() + TRACE_TIMEOUT);
        let is_user = self.console.lines().iter().any(|line| line.starts_with("RIP: 0033:"));
        is_user.then(|| "the cpu was in user space".to_owned())
    }

    /// True when both ends are closed: QEMU has exited, or is about to.
    fn drain_until_closed(&mut self, deadline: Instant) -> bool {
        while self.console_open || self.inbox_open {
            if !self.pump(deadline, false) {
                return false;
            }
            // Nobody asks for these lines any more, and the bound on them is the caller's.
            self.inbox.truncate(LINE_BYTES_MAX);
        }
        true
    }
}

/// Reads all there is. False at the end of the stream.
fn drain(stream: &mut impl Read, mut take: impl FnMut(&[u8])) -> bool {
    let mut chunk = [0; 64 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(length) => take(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Enough of a bad line to know where it came from.
fn excerpt(bytes: &[u8]) -> String {
    const BYTES_SHOWN: usize = 80;
    let shown = &bytes[..bytes.len().min(BYTES_SHOWN)];
    format!("{:?}", String::from_utf8_lossy(shown))
}
