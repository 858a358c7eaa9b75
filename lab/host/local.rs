//! The agent on this kernel: a child in namespaces of its own, gone when we are.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::child::die_with_parent;

/// The hidden command that makes the lab an agent on this kernel.
pub const AGENT_COMMAND: &str = "agent-on-this-kernel";

/// A last word that a dying agent may have.
const LAST_WORDS_BYTES_MAX: u64 = 64 * 1024;

/// An agent on this kernel.
#[derive(Debug)]
pub struct LocalAgent {
    child: Child,
    lines: Receiver<String>,
    deadline: Instant,
    idle: Duration,
}

/// What comes next from an agent on this kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole line.
    Line(String),
    /// It closed its end.
    Closed,
    /// Nothing came in time.
    TimedOut,
}

impl LocalAgent {
    /// Starts the agent; it makes its namespaces itself before it reads a request.
    ///
    /// # Errors
    /// When the lab's own binary cannot be started again.
    pub fn start(idle: Duration, total: Duration) -> std::io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lab").arg(AGENT_COMMAND);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("it was asked for as a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, deadline: Instant::now() + total, idle })
    }

    /// Sends one line.
    ///
    /// # Errors
    /// When the agent is gone.
    pub fn send(&mut self, line: &str) -> std::io::Result<()> {
        let mut stdin = self.child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        stdin.write_all(line.as_bytes())?;
        stdin.write_all(b"\n")
    }

    /// The next line, or that there will be none.
    pub fn next_line(&mut self) -> Next {
        let left = self.deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left.min(self.idle)) {
            Ok(line) => Next::Line(line),
            Err(RecvTimeoutError::Disconnected) => Next::Closed,
            Err(RecvTimeoutError::Timeout) => Next::TimedOut,
        }
    }

    /// Ends the agent and returns how it ended, with its last words.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn finish(mut self, kill: bool) -> std::io::Result<(ExitStatus, String)> {
        if kill {
            self.child.kill()?;
        }
        let mut last_words = String::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(LAST_WORDS_BYTES_MAX).read_to_string(&mut last_words)?;
        }
        Ok((self.child.wait()?, last_words))
    }
}
