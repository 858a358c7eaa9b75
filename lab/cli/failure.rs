//! Why a command could not do its work, and the exit code that says so.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::cli::output::IO_ERROR;
use bondlab_core::net::clean;
use bondlab_core::topology::TopologyErrors;
use bondlab_host::file::{FileError, is_shortage};
use bondlab_host::kernel::store::StoreError;
use bondlab_host::run::runner::RunError;
use bondlab_host::vm::accel::AccelError;

/// The run differs from what was expected, or a check failed.
pub const DIFFERS: u8 = 1;
/// Wrong arguments; clap uses the same.
const USAGE: u8 = 2;
/// Invalid input: `EX_DATAERR` of sysexits.h.
const INVALID: u8 = 65;
/// Something needed is not to be had: `EX_UNAVAILABLE`.
pub const UNAVAILABLE: u8 = 69;
/// The lab itself is at fault: `EX_SOFTWARE`.
pub const INTERNAL: u8 = 70;

/// Ended by Ctrl-C: what shells say of it, 128 and the signal's number.
pub const INTERRUPTED: u8 = 130;

/// A command that could not do its work.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Arguments that make no sense.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, text: text.into() }
    }

    /// A file that cannot be read, or is not what it should be.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self { code: INVALID, text: text.into() }
    }

    /// A file of the user's that cannot be read.
    pub fn unreadable(error: &FileError) -> Self {
        Self::because(INVALID, error)
    }

    /// All that is wrong with a topology, shown with its lines.
    pub fn topology(errors: &TopologyErrors) -> Self {
        Self::invalid(errors.pretty(std::io::stderr().is_terminal()))
    }

    /// Something that is not there, and the command that gets it.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { code: UNAVAILABLE, text: text.into() }
    }

    /// As [`Failure::unavailable`], for an error that says it all.
    pub fn unavailable_for(error: &(dyn Error + 'static)) -> Self {
        Self::because(UNAVAILABLE, error)
    }

    /// What was found is not what was said.
    pub fn differs(text: impl Into<String>) -> Self {
        Self { code: DIFFERS, text: text.into() }
    }

    /// A fault of the lab.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        Self { text: error.to_string(), ..Self::because(INTERNAL, error) }
    }

    /// What was asked for has no known result.
    pub fn no_result(text: impl fmt::Display) -> Self {
        Self { code: INTERNAL, text: format!("error: {text}") }
    }

    /// A shortage of this machine has an exit code of its own, whatever failed because of it.
    fn because(code: u8, error: &(dyn Error + 'static)) -> Self {
        let code = if is_shortage(error) { IO_ERROR } else { code };
        Self { code, text: format!("error: {error}") }
    }

    /// With what it is of, behind `error: `.
    #[must_use]
    pub fn of(self, part: &str) -> Self {
        let text = self.text.strip_prefix("error: ").unwrap_or(&self.text);
        Self { text: format!("error: {part}: {text}"), ..self }
    }

    /// Tells the user, and gives the exit code.
    pub fn report(self) -> ExitCode {
        eprintln!("{self}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths are among it, and may be anything.
        f.write_str(&clean::lines(self.text.trim_end()))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::unavailable_for(&error)
    }
}

impl From<AccelError> for Failure {
    fn from(error: AccelError) -> Self {
        Self::unavailable_for(&error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Qemu(error) => Self::unavailable_for(&error),
            other => Self::internal(&other),
        }
    }
}
