//! How a machine ended: the verdict, drawn from QEMU's status and the console alone.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::vm::console;
use crate::vm::console::{Finding, Fingerprint, Meaning};
use bondlab_core::plan::handshake::GuestExit;

/// How far a guest had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From QEMU's start until the guest waits for work.
    Boot,
    /// From then until the guest closes the channel.
    Work,
    /// After that: only the end of the machine is missing.
    End,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boot => "while booting",
            Self::Work => "at work",
            Self::End => "after its last record",
        })
    }
}

/// How a machine ended.
#[derive(Debug)]
pub enum Exit {
    /// The agent did its work to the end.
    Finished {
        /// What the kernel complained about on the way.
        warnings: Vec<String>,
    },
    /// It did not, and this is why.
    Died(Death),
}

/// Why a machine ended before its work, with the console's last lines as evidence.
#[derive(Clone, Debug)]
pub struct Death {
    /// What happened.
    pub cause: Cause,
    /// The lines of the console that show it.
    pub console: Vec<String>,
}

/// What happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The kernel under test found itself at fault.
    Panic {
        /// Its own first line about it.
        line: String,
        /// Where.
        fingerprint: Fingerprint,
    },
    /// Nothing moved any more.
    Hang {
        /// When.
        phase: Phase,
        /// Who noticed, and what.
        notice: String,
        /// Where the CPU was, as far as the kernel could still say.
        fingerprint: Fingerprint,
    },
    /// The guest did not come to wait for work.
    BootFail {
        /// What it said.
        reason: String,
    },
    /// The kernel did not unpack all of the initramfs. What it left away it would seem to lack.
    NotUnpacked,
    /// The kernel is well; the agent in it is not.
    AgentDied {
        /// Its last words.
        reason: String,
    },
    /// The agent wrote what no agent writes.
    Garbage {
        /// What it was.
        what: String,
    },
    /// Somebody killed QEMU.
    QemuKilled {
        /// With this signal.
        signal: i32,
    },
    /// QEMU ended by itself.
    QemuExited {
        /// Its status.
        code: i32,
        /// What it said.
        stderr: String,
    },
}

impl Cause {
    fn next_step(&self) -> &'static str {
        match self {
            Self::Panic { .. } => "the kernel under test crashed; compare the fingerprint on another version",
            Self::Hang { phase: Phase::Boot, .. } => {
                "boot it again; if it hangs each time, see `lab kernels verify`, or try another accelerator"
            }
            Self::Hang { .. } => {
                "run it again; a hang that repeats belongs to the kernel or to the plan's last step"
            }
            Self::BootFail { .. } => {
                "`lab kernels verify` says whether the cached kernel is whole; of your own image, see that its modules are of its version"
            }
            Self::NotUnpacked => {
                "`lab kernels verify` removes its initramfs, which may be damaged; or its binary is too large for the \
                 guest's memory: build it with --release, or strip(1) it"
            }
            Self::AgentDied { .. } => {
                "this is a fault of the lab, not of the kernel: report it with these lines"
            }
            Self::Garbage { .. } => "the records cannot be trusted: run it again, report it if it repeats",
            Self::QemuKilled { .. } => {
                "see what killed it (out of memory? a signal from outside?) and run it again"
            }
            Self::QemuExited { .. } => "see what qemu says, `lab kernels verify` and `lab doctor`",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { line, fingerprint } => {
                let what = line.strip_prefix("Kernel panic - not syncing: ").unwrap_or(line);
                write!(f, "the kernel panicked: {what} ({fingerprint})")
            }
            Self::Hang { phase, notice, fingerprint } if fingerprint.0.is_empty() => {
                write!(f, "the guest hung {phase}: {notice}")
            }
            Self::Hang { phase, notice, fingerprint } => {
                write!(f, "the guest hung {phase}: {notice} ({fingerprint})")
            }
            Self::BootFail { reason } => write!(f, "the guest did not boot: {reason}"),
            Self::NotUnpacked => f.write_str("the guest did not unpack all of its initramfs"),
            Self::AgentDied { reason } => write!(f, "the agent died: {reason}"),
            Self::Garbage { what } => write!(f, "garbage on the channel: {what}"),
            Self::QemuKilled { signal } => write!(f, "qemu was killed by signal {signal}"),
            Self::QemuExited { code, stderr } if stderr.is_empty() => {
                write!(f, "qemu exited with {code}")
            }
            Self::QemuExited { code, stderr } => write!(f, "qemu exited with {code}: {stderr}"),
        }
    }
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.cause)?;
        if self.console.is_empty() {
            writeln!(f, "  the console is empty")?;
        }
        for line in &self.console {
            writeln!(f, "  | {line}")?;
        }
        write!(f, "next: {}", self.cause.next_step())
    }
}

impl std::error::Error for Death {}

/// A screenful; the whole console is in the report.
const CONSOLE_LINES_SHOWN: usize = 25;

impl Death {
    /// A cause, with its evidence from `lines`: from where the kernel says what is wrong (its stack is below that, and
    /// registers below the stack), or else the end.
    #[must_use]
    pub fn new(cause: Cause, lines: &[String]) -> Self {
        let last = lines.len().saturating_sub(CONSOLE_LINES_SHOWN);
        let first = console::cause_of_death(lines).map_or(last, |finding| finding.index.min(last));
        Self { cause, console: lines.iter().skip(first).take(CONSOLE_LINES_SHOWN).cloned().collect() }
    }
}

/// Draws the verdict on a machine that ended by itself.
#[must_use]
pub fn judge(status: ExitStatus, stderr: &str, phase: Phase, lines: &[String]) -> Exit {
    let verdict = match (status.signal(), status.code()) {
        (Some(signal), _) => Err(Cause::QemuKilled { signal }),
        (None, Some(code)) => match GuestExit::from_qemu_status(code) {
            Some(exit) => judge_guest_exit(exit, phase, lines),
            None if code == 0 => Err(judge_power_off(stderr, phase, lines)),
            None => Err(Cause::QemuExited { code, stderr: stderr.to_owned() }),
        },
        (None, None) => Err(Cause::QemuExited { code: status.into_raw(), stderr: stderr.to_owned() }),
    };
    match verdict {
        Ok(()) => Exit::Finished { warnings: console::warnings(lines) },
        Err(cause) => Exit::Died(Death::new(cause, lines)),
    }
}

fn judge_guest_exit(exit: GuestExit, phase: Phase, lines: &[String]) -> Result<(), Cause> {
    let reason = || match console::last_words(lines) {
        words if words.is_empty() => "without a word".to_owned(),
        words => words.join("; "),
    };
    match exit {
        GuestExit::SetupFailed => Err(Cause::BootFail { reason: reason() }),
        GuestExit::NotUnpacked => Err(Cause::NotUnpacked),
        GuestExit::AgentDied if phase == Phase::Boot => Err(Cause::BootFail { reason: reason() }),
        GuestExit::AgentDied => Err(Cause::AgentDied { reason: reason() }),
        GuestExit::Finished if phase == Phase::Boot => {
            Err(Cause::BootFail { reason: "it ended before it had said that it is ready".to_owned() })
        }
        GuestExit::Finished => match console::untolerated(lines) {
            Some(finding) => Err(cause_of(finding, phase)),
            None => Ok(()),
        },
    }
}

/// A panic reboots, and with -no-reboot that is a power-off with status 0: only the console knows.
fn judge_power_off(stderr: &str, phase: Phase, lines: &[String]) -> Cause {
    if let Some(signal) = terminating_signal(stderr) {
        return Cause::QemuKilled { signal };
    }
    match console::cause_of_death(lines) {
        Some(finding) => cause_of(finding, phase),
        None if phase == Phase::Boot => {
            Cause::BootFail { reason: "it powered off or reset without a word".to_owned() }
        }
        None => Cause::AgentDied { reason: "the machine was powered off or reset from within".to_owned() },
    }
}

/// What a line of the kernel's own makes of an end.
#[must_use]
pub fn cause_of(Finding { meaning, line, fingerprint, .. }: Finding, phase: Phase) -> Cause {
    match meaning {
        Meaning::BootFail => Cause::BootFail { reason: line },
        Meaning::InitDied if phase == Phase::Boot => Cause::BootFail { reason: line },
        Meaning::InitDied => Cause::AgentDied { reason: line },
        Meaning::Hang => Cause::Hang { phase, notice: line, fingerprint },
        Meaning::Panic | Meaning::Warning => Cause::Panic { line, fingerprint },
    }
}

/// QEMU catches SIGTERM, SIGINT and SIGHUP and exits with 0 after "terminating on signal 15 from pid 1 (...)".
fn terminating_signal(stderr: &str) -> Option<i32> {
    let (_, after) = stderr.split_once("terminating on signal ")?;
    after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn verdict(status: ExitStatus, stderr: &str, phase: Phase, console: &[&str]) -> String {
        let lines: Vec<String> = console.iter().map(ToString::to_string).collect();
        match judge(status, stderr, phase, &lines) {
            Exit::Finished { warnings } => format!("finished with {} warnings", warnings.len()),
            Exit::Died(death) => death.cause.to_string(),
        }
    }

    #[test]
    fn every_end_has_one_verdict() {
        let finished = exited(GuestExit::Finished.qemu_status());
        let agent_died = exited(GuestExit::AgentDied.qemu_status());
        let setup_failed = exited(GuestExit::SetupFailed.qemu_status());
        let not_unpacked = exited(GuestExit::NotUnpacked.qemu_status());
        let cases: [(ExitStatus, &str, Phase, &[&str], &str); 16] = [
            (not_unpacked, "", Phase::Boot, &["lab: setup: x"], "did not unpack all of its initramfs"),
            (finished, "", Phase::End, &["WARNING: at x"], "finished with 1 warnings"),
            (finished, "", Phase::Boot, &[], "did not boot: it ended before"),
            (finished, "", Phase::End, &["BUG: scheduling while atomic"], "kernel panicked: BUG: scheduling"),
            (agent_died, "", Phase::Work, &["lab: panic: x", "lab: at y"], "agent died: panic: x; at y"),
            (agent_died, "", Phase::Work, &[], "agent died: without a word"),
            (agent_died, "", Phase::Boot, &["lab: agent: no port"], "did not boot: agent: no port"),
            (setup_failed, "", Phase::Boot, &["lab: setup: mount"], "did not boot: setup: mount"),
            (exited(0), "", Phase::Work, &["Kernel panic - x"], "kernel panicked: Kernel panic - x"),
            (exited(0), "", Phase::Work, &["BUG: soft lockup"], "hung at work: BUG: soft lockup"),
            (exited(0), "", Phase::Boot, &[], "did not boot: it powered off"),
            (exited(0), "", Phase::Work, &[], "agent died: the machine was powered off"),
            (exited(0), "q: terminating on signal 15 from pid 1", Phase::Work, &[], "killed by signal 15"),
            (exited(1), "q: no such device", Phase::Boot, &[], "qemu exited with 1: q: no such device"),
            (ExitStatus::from_raw(9), "", Phase::Work, &[], "killed by signal 9"),
            (exited(0), "", Phase::Boot, &["Attempted to kill init!"], "did not boot: Attempted"),
        ];
        for (status, stderr, phase, console, want) in cases {
            let got = verdict(status, stderr, phase, console);
            assert!(got.contains(want), "{status:?} {console:?}: {got:?} lacks {want:?}");
        }
    }

    #[test]
    fn a_message_has_what_happened_the_evidence_and_what_to_do() {
        let lines: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        let death = Death::new(Cause::QemuKilled { signal: 9 }, &lines).to_string();
        assert!(death.starts_with("qemu was killed by signal 9\n  | line 15\n"), "{death}");
        assert!(death.contains("| line 39\nnext: "), "{death}");
    }
}
