//! One machine from start to verdict: lines to and from the agent, the console beside them, a watch on both.
//!
//! Single-threaded: whoever waits for a line also drains the console, so QEMU never blocks on the host.

pub mod accel;
pub mod checksum;
pub mod console;
pub mod death;
pub mod initramfs;
pub mod lines;
pub mod nics;
pub mod qemu;
pub mod qmp;
mod run_delay;
pub mod warm;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;

use crate::vm::console::Console;
use crate::vm::death::{Cause, Death, Exit, Phase, cause_of, judge};
use crate::vm::lines::{Lines, excerpt};
use crate::vm::qemu::{Clock, Process, Qemu, QemuError, VmSpec};
use crate::vm::qmp::QmpError;
use crate::vm::run_delay::Wait;
use crate::wait;
use bondlab_core::net::clean;
use bondlab_core::plan::Plan;
use bondlab_core::plan::handshake::{Hello, PROTOCOL, Ready};

/// Cold boots take 2 to 5 s, 7 s with emulated NICs, and several times that when every CPU is taken.
pub const BOOT_TIMEOUT_S: u64 = 60;
/// Where a guest's clock counts its instructions, it boots half as fast.
const VIRTUAL_BOOT_FACTOR: u32 = 2;
/// Longer than the kernel's own watch on itself (soft lockup 20 s, RCU stall 21 s): its stack trace says more than
/// the host's clock.
pub const IDLE_TIMEOUT_S: u64 = 40;
/// A run takes seconds apart from what its plan waits for; a guest that talks for ever ends here.
pub const TOTAL_TIMEOUT_S: u64 = 600;
/// However long a plan's waits add up: no run takes longer.
pub const RUN_TIMEOUT_S: u64 = 12 * 3600;
/// The agent has closed the channel or was asked to end: what is left is one write to a port.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// From the NMI to the end of the panic it causes, which ends the wait; the serial port is the slow part, and with six
/// busy processes for each processor took over 5 s.
const TRACE_TIMEOUT: Duration = Duration::from_secs(20);
const EXIT_INTERVAL: Duration = Duration::from_millis(1);

/// One wake-up reads this much at most, so that a flood cannot keep the host from looking at its clock.
const CHUNKS_MAX: usize = 16;

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

impl Timeouts {
    /// With what a plan may take: none of its waits counts as a hang. The guest's clock and the host's may differ, so a
    /// silence may be twice as long as it should.
    #[must_use]
    pub fn allowing(self, plan: &Plan) -> Self {
        let longest = Duration::from_secs(RUN_TIMEOUT_S);
        let total = self.total.saturating_add(Duration::from_millis(plan.waits_ms())).min(longest);
        let idle = self.idle.max(Duration::from_millis(plan.longest_silence_ms()) * 2);
        Self { idle, total, ..self }
    }
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
    pub(crate) process: Process,
    console: Console,
    console_open: bool,
    inbox: Lines,
    inbox_open: bool,
    /// What arrived after the last request.
    unread: Option<String>,
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

    pub(crate) fn start(
        qemu: &Qemu,
        spec: &VmSpec,
        timeouts: Timeouts,
        incoming: bool,
    ) -> Result<Self, QemuError> {
        let process = qemu.spawn(spec, incoming)?;
        let boot = match spec.clock {
            Clock::Real => timeouts.boot,
            Clock::Virtual => timeouts.boot * VIRTUAL_BOOT_FACTOR,
        };
        for stream in [&process.console, &process.agent] {
            let set = stream.set_nonblocking(true);
            set.map_err(|source| QemuError::Spawn { path: qemu.path.clone(), source })?;
        }
        Ok(Self {
            process,
            console: Console::default(),
            console_open: true,
            inbox: Lines::default(),
            inbox_open: true,
            unread: None,
            timeouts: Timeouts { boot, ..timeouts },
            started: Instant::now(),
            phase: Phase::Boot,
            fault: None,
        })
    }

    /// A restored guest waits for work already, and does not say so again.
    pub(crate) fn set_ready(&mut self) {
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
            Next::Line(line) => match serde_json::from_str::<Hello>(&clean::json(&line, &[])) {
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

    /// Sends one line. Drains what the guest says meanwhile, or two full buffers would wait for each other. The time that the host
    /// did not run the machine is not counted.
    ///
    /// # Errors
    /// The verdict on a guest that does not take it; it is dead then.
    pub fn send(&mut self, line: &str) -> Result<(), Death> {
        assert!(!line.contains('\n'), "a request is one line");
        let deadline = self.deadline(self.timeouts.idle);
        let message = [line.as_bytes(), b"\n"].concat();
        let mut rest = message.as_slice();
        let mut wait = None;
        while !rest.is_empty() {
            match self.process.agent.write(rest) {
                Ok(length) => rest = &rest[length..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.inbox_open => {
                    let wait = wait.get_or_insert_with(|| self.begin_wait(deadline));
                    if !self.pump(wait.latest(), true) && !wait.goes_on() {
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

    /// The next plan of a shared guest begins: it has its own time.
    pub(crate) fn begin(&mut self, timeouts: Timeouts) {
        self.timeouts = timeouts;
        self.started = Instant::now();
    }

    /// Between two plans of a shared guest: nothing more may have been said of the last one, neither beside its records nor on
    /// the console, where each plan has what is tolerated of one run. The next plan's console begins empty.
    ///
    /// # Errors
    /// The verdict on a guest that did; it is dead then.
    pub(crate) fn between_plans(&mut self) -> Result<(), Death> {
        self.pump(Instant::now(), false);
        if !self.inbox.is_empty() {
            let what = self.inbox.discard();
            return Err(self.refuse(what));
        }
        if !self.inbox_open {
            return Err(self.die());
        }
        let lines = self.console.lines();
        if let Some(finding) = console::untolerated(&lines) {
            self.process.kill();
            return Err(Death::new(cause_of(finding, self.phase), &lines));
        }
        self.console = Console::default();
        Ok(())
    }

    /// The verdict on a guest of which more was expected.
    pub(crate) fn ended_early(&mut self) -> Death {
        self.die()
    }

    /// Ends a machine that says what it should not.
    #[must_use]
    pub fn refuse(&mut self, what: String) -> Death {
        self.fault = Some(Cause::Garbage { what });
        self.die()
    }

    /// Puts the cable of a NIC in, or pulls it out; the NIC tells its driver.
    ///
    /// # Errors
    /// QEMU knows no such NIC, or does not answer.
    pub fn plug(&mut self, nic: &str, is_in: bool) -> Result<(), QmpError> {
        self.process.qmp.execute("set_link", json!({ "name": nic, "up": is_in })).map(drop)
    }

    /// The next line, if it comes within the idle timeout.
    pub fn next_line(&mut self) -> Next {
        let deadline = self.deadline(self.timeouts.idle);
        self.next_line_by(deadline)
    }

    /// The next line, if it comes before `deadline`; the time that the host did not run the machine is not counted. The guest is
    /// not to be asked for more after anything else.
    pub fn next_line_by(&mut self, deadline: Instant) -> Next {
        let end = self.started + self.timeouts.total;
        let mut wait = None;
        loop {
            if Instant::now() >= end {
                let total = self.timeouts.total.as_secs();
                self.fault = Some(self.hang(&format!("not done after {total}s, its waits among them")));
                return Next::TimedOut;
            }
            match self.inbox.take() {
                Some(Ok(line)) => return Next::Line(line),
                Some(Err(what)) => {
                    self.fault = Some(Cause::Garbage { what });
                    return Next::Closed;
                }
                None if !self.inbox_open => return Next::Closed,
                None => {}
            }
            let wait = wait.get_or_insert_with(|| self.begin_wait(deadline));
            if !self.pump(wait.latest(), false) {
                if wait.goes_on() {
                    continue;
                }
                let silent = wait.latest().saturating_duration_since(self.started).as_secs();
                // The time to boot has a limit of its own.
                let limit = match self.phase {
                    Phase::Boot => format!("{} s are allowed for it", self.timeouts.boot.as_secs()),
                    _ => format!(
                        "{} s are allowed, at least twice the topology's longest wait",
                        self.timeouts.idle.as_secs()
                    ),
                };
                self.fault = Some(self.hang(&format!("silent until second {silent} of the run; {limit}")));
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

    fn begin_wait(&self, deadline: Instant) -> Wait {
        Wait::begin(self.process.id(), deadline, self.started + self.timeouts.total)
    }

    fn hang(&self, notice: &str) -> Cause {
        Cause::Hang {
            phase: self.phase,
            notice: notice.to_owned(),
            fingerprint: console::Fingerprint::default(),
        }
    }

    /// The host's ends of the machine's further ports; each is given away once.
    pub(crate) fn take_ports(&mut self) -> Vec<UnixStream> {
        std::mem::take(&mut self.process.ports)
    }

    /// Waits until one of `others` is ready, or anything else happens, or `deadline` has passed. Reads meanwhile what the
    /// machine says by itself. Returns whether
    /// the machine's own line is open, which it is until the machine ends, and what the others are ready for.
    pub(crate) fn wait_with(&mut self, others: &[PollFd<'_>], deadline: Instant) -> (bool, Vec<PollFlags>) {
        let (_, events) = self.wait(deadline, false, others);
        (self.inbox_open, events)
    }

    /// Waits for something to read (or to write), and reads it. False when `deadline` passed first.
    fn pump(&mut self, deadline: Instant, to_write: bool) -> bool {
        self.wait(deadline, to_write, &[]).0
    }

    /// As [`Vm::pump`], and what each of `others` is ready for.
    fn wait(&mut self, deadline: Instant, to_write: bool, others: &[PollFd<'_>]) -> (bool, Vec<PollFlags>) {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be a busy loop.
        let left_ms = u32::try_from(left.as_millis() + 1).unwrap_or(u32::MAX);
        let timeout = PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::MAX);
        let to_agent = if to_write { PollFlags::POLLOUT } else { PollFlags::empty() };
        let streams = [
            (self.inbox_open, self.process.agent.as_fd(), PollFlags::POLLIN | to_agent),
            (self.console_open, self.process.console.as_fd(), PollFlags::POLLIN),
        ];
        let open = streams.into_iter().filter(|(is_open, ..)| *is_open);
        let mut fds: Vec<PollFd<'_>> = others.to_vec();
        fds.extend(open.map(|(_, fd, events)| PollFd::new(fd, events)));
        let polled = poll(&mut fds, timeout);
        let events =
            fds.iter().take(others.len()).map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        match polled {
            Ok(0) => return (Instant::now() < deadline, events),
            Ok(_) | Err(Errno::EINTR) => {}
            // Only a broken descriptor is left as a reason: a programmer error.
            Err(errno) => panic!("poll on open sockets: {errno}"),
        }
        if self.console_open {
            let console = &mut self.console;
            self.console_open = drain(&mut &self.process.console, |bytes| console.push(bytes));
        }
        if self.inbox_open {
            let inbox = &mut self.inbox;
            self.inbox_open = drain(&mut &self.process.agent, |bytes| inbox.push(bytes));
        }
        (true, events)
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
            let fault = self.hang("it did not end the machine");
            return self.end_at_fault(fault);
        }
        match wait::until(deadline, EXIT_INTERVAL, || self.process.try_wait().transpose()) {
            Some(Ok(status)) => self.judge(status),
            Some(Err(_)) | None => {
                let fault = self.hang("qemu closed its sockets and did not exit");
                self.end_at_fault(fault)
            }
        }
    }

    fn judge(&mut self, status: ExitStatus) -> Exit {
        let lines = self.console.lines();
        match judge(status, &self.process.stderr(), self.phase, &lines) {
            // A crash may well cut a record short; an agent at its end may not.
            Exit::Finished { .. } if self.unread.is_some() => {
                let what = self.unread.take().unwrap_or_default();
                Exit::Died(Death::new(Cause::Garbage { what }, &lines))
            }
            exit => exit,
        }
    }

    /// The host has found a fault. What the kernel itself says on the console is the better explanation.
    fn end_at_fault(&mut self, fault: Cause) -> Exit {
        self.pump(Instant::now(), false);
        let cause = match (console::cause_of_death(&self.console.lines()), fault) {
            (Some(finding), _) => cause_of(finding, self.phase),
            (None, Cause::Hang { phase, notice, .. }) => {
                let more = self.ask_where().map(|more| format!("; {more}"));
                let found = console::cause_of_death(&self.console.lines());
                Cause::Hang {
                    phase,
                    notice: notice + &more.unwrap_or_default(),
                    fingerprint: found.map(|finding| finding.fingerprint).unwrap_or_default(),
                }
            }
            (None, fault) => fault,
        };
        self.process.kill();
        Exit::Died(Death::new(cause, &self.console.lines()))
    }

    /// An NMI that no handler claims makes the kernel panic with the stack of what it interrupted (unknown_nmi_panic),
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

    fn set_unread_aside(&mut self) {
        if !self.inbox.is_empty() {
            let unread = self.inbox.discard();
            self.unread.get_or_insert(unread);
        }
    }

    /// True when both ends are closed: QEMU has exited, or is about to.
    fn drain_until_closed(&mut self, deadline: Instant) -> bool {
        while self.console_open || self.inbox_open {
            if !self.pump(deadline, false) {
                return false;
            }
            self.set_unread_aside();
        }
        self.set_unread_aside();
        true
    }
}

/// Reads what there is. False at the end of the stream.
fn drain(stream: &mut impl Read, mut take: impl FnMut(&[u8])) -> bool {
    let mut chunk = [0; 64 * 1024];
    for _ in 0..CHUNKS_MAX {
        match stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(length) => take(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}
