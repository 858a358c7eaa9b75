//! What `lab exec` asks of a guest: a command, its surroundings, and how it ended.

use serde::{Deserialize, Serialize};

use crate::net::name::NsName;
use crate::plan::stepping::Stepping;

/// Name of the port that carries FUSE requests to the host and replies to the guest.
pub const ROOT_PORT: &str = "org.bondlab.root";
/// Name of the port with frames from the host: standard input and signals.
pub const INPUT_PORT: &str = "org.bondlab.input";
/// Name of the port with frames from the guest: output, and the end.
pub const OUTPUT_PORT: &str = "org.bondlab.output";

/// Where a command leaves what is to be copied to the host's `--out` folder, in the guest.
pub const OUT_DIR: &str = "/run/lab/out";
/// The variable that has [`OUT_DIR`], where files are asked for.
pub const OUT_VARIABLE: &str = "LAB_OUT";

/// How many bytes of standard input the host may have under way. The guest grants more as the command reads them, so
/// that a command that reads nothing does not keep signals from arriving.
pub const INPUT_WINDOW: u32 = 256 * 1024;

/// Arguments and environment together. The kernel's own limit is a quarter of the stack's, 2 MiB (execve(2)).
pub const COMMAND_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Exit status of a command that does not exist, as shells have it.
pub const STATUS_NOT_FOUND: u8 = 127;
/// Exit status of a command that is there and cannot be executed, as shells have it.
pub const STATUS_NOT_EXECUTABLE: u8 = 126;
/// Exit status of a command that was ended by its time-out, as timeout(1) has it.
pub const STATUS_TIMED_OUT: u8 = 124;

/// One command. Arguments and environment are bytes: the system does not ask for text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The program and its arguments.
    pub args: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The working directory, an absolute path of the host.
    pub dir: Vec<u8>,
    /// The topology that is up, and its steps; no topology without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stepping: Option<Stepping>,
    /// The namespace of the topology to run in; the machine's first without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ns: Option<NsName>,
    /// The host's clock, in ns since 1970: a saved machine has the time at which it was saved.
    pub now_ns: u64,
    /// From the host's random number generator: all copies of a saved machine have the same numbers.
    pub entropy: Vec<u8>,
    /// Whether the command has a terminal, and its rows and columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<(u16, u16)>,
    /// Whether files of [`OUT_DIR`] are sent when the command has ended.
    #[serde(default)]
    pub out: bool,
}

/// How a command ended. It is the last frame but one acknowledgement, so that a lost one is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// In which way.
    pub how: How,
    /// How many bytes of standard output were sent.
    pub stdout_bytes: u64,
    /// How many bytes of standard error were sent.
    pub stderr_bytes: u64,
}

/// In which way a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum How {
    /// It exited.
    Exited {
        /// Its exit status, 0 to 255.
        status: u8,
    },
    /// A signal ended it.
    Signaled {
        /// The signal's number.
        signal: u8,
    },
    /// It was not there, or is no program; it did not run.
    NotStarted {
        /// `errno` of execve(2), and of chdir(2).
        errno: i32,
        /// In words.
        text: String,
    },
    /// The guest could not be prepared for it; it did not run.
    NotPrepared {
        /// Why.
        text: String,
    },
}

impl How {
    /// The exit status that a shell would report; nothing for a command that the lab could not get to.
    #[must_use]
    pub fn status(&self) -> Option<u8> {
        /// `ENOENT`, the same on every architecture of Linux.
        const NO_SUCH_FILE: i32 = 2;
        match self {
            Self::Exited { status } => Some(*status),
            Self::Signaled { signal } => Some(128_u8.saturating_add(*signal)),
            Self::NotStarted { errno: NO_SUCH_FILE, .. } => Some(STATUS_NOT_FOUND),
            Self::NotStarted { .. } => Some(STATUS_NOT_EXECUTABLE),
            Self::NotPrepared { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(How::Exited { status: 0 }, Some(0))]
    #[case(How::Exited { status: 255 }, Some(255))]
    #[case(How::Signaled { signal: 9 }, Some(137))]
    #[case(How::Signaled { signal: 255 }, Some(255))]
    #[case(How::NotStarted { errno: 2, text: "no".into() }, Some(127))]
    #[case(How::NotStarted { errno: 13, text: "no".into() }, Some(126))]
    #[case(How::NotPrepared { text: "no overlay".into() }, None)]
    fn only_a_command_that_exited_with_0_has_status_0(#[case] how: How, #[case] status: Option<u8>) {
        assert_eq!(how.status(), status);
    }

    #[test]
    fn an_end_is_read_as_it_was_written() {
        let end = End { how: How::Signaled { signal: 15 }, stdout_bytes: 3, stderr_bytes: 0 };
        let text = serde_json::to_string(&end).unwrap();
        assert_eq!(text, r#"{"how":{"signaled":{"signal":15}},"stdout_bytes":3,"stderr_bytes":0}"#);
        assert_eq!(serde_json::from_str::<End>(&text).unwrap(), end);
    }
}
