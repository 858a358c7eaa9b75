//! Signals to this process that are the command's: noted, and passed on to the guest.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Bit N is signal N.
static NOTED: AtomicU32 = AtomicU32::new(0);
static IS_STARTED: AtomicBool = AtomicBool::new(false);

const PASSED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

extern "C" fn note(number: libc::c_int) {
    NOTED.fetch_or(1 << number, Ordering::Relaxed);
}

extern "C" fn note_size(number: libc::c_int) {
    NOTED.fetch_or(1 << number, Ordering::Relaxed);
}

/// The signals of this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signals;

impl Signals {
    /// From now on the first of each signal is noted, and the second ends this process as ever, and the machine with it.
    pub(super) fn start() -> io::Result<Self> {
        if IS_STARTED.swap(true, Ordering::Relaxed) {
            return Ok(Self);
        }
        for signal in PASSED_ON {
            let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESETHAND, SigSet::empty());
            // SAFETY: the handler changes an atomic and does nothing else.
            unsafe { sigaction(signal, &action) }?;
        }
        let action = SigAction::new(SigHandler::Handler(note_size), SaFlags::SA_RESTART, SigSet::empty());
        // SAFETY: as above.
        unsafe { sigaction(Signal::SIGWINCH, &action) }?;
        Ok(Self)
    }

    /// Signals that came since the last time.
    pub(super) fn take(self) -> Vec<Signal> {
        let noted = NOTED.swap(0, Ordering::Relaxed);
        let all = PASSED_ON.into_iter().chain([Signal::SIGWINCH]);
        all.filter(|signal| noted & (1 << (*signal as i32)) != 0).collect()
    }
}
