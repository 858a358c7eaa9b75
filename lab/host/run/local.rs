//! The agent on this kernel: a child in namespaces of its own, gone when we are.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use crate::child::{Drain, Keep, die_with_parent, end_within};
use crate::vm::lines::LINE_BYTES_MAX;
use bondlab_core::net::clean;

/// The hidden command that makes the lab an agent on this kernel.
pub const AGENT_COMMAND: &str = "agent-on-this-kernel";

/// What is kept of the agent's standard error: its end.
const LAST_WORDS_BYTES_MAX: usize = 64 * 1024;

/// Records that wait to be read; an agent that writes faster waits, as a guest does.
const LINES_WAITING_MAX: usize = 1024;

/// An agent that has closed its output has nothing left to do.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// An agent on this kernel.
#[derive(Debug)]
pub struct LocalAgent {
    child: Child,
    lines: Receiver<String>,
    last_words: Drain,
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
        Self::of(command, idle, total)
    }

    fn of(mut command: Command, idle: Duration, total: Duration) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().expect("it was asked for as a pipe");
        let stderr = child.stderr.take().expect("it was asked for as a pipe");
        // Read while it runs: an agent that warns a lot would wait for a reader, and hang.
        let last_words = Drain::start(stderr, LAST_WORDS_BYTES_MAX, Keep::Last);
        let (sender, lines) = sync_channel(LINES_WAITING_MAX);
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let mut line = String::new();
                let read = (&mut stdout).take(LINE_BYTES_MAX as u64).read_line(&mut line);
                if !read.is_ok_and(|length| length > 0) {
                    break;
                }
                line.truncate(line.trim_end_matches(['\r', '\n']).len());
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, last_words, deadline: Instant::now() + total, idle })
    }

    /// Sends one line, the only one. It is written beside everything else: an agent that does not read it is noticed by
    /// its silence.
    ///
    /// # Errors
    /// When one was sent before.
    pub fn send(&mut self, line: &str) -> std::io::Result<()> {
        let mut stdin = self.child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let line = [line.as_bytes(), b"\n"].concat();
        std::thread::spawn(move || {
            // An agent that died before its request has its last words to say.
            let _ = stdin.write_all(&line);
        });
        Ok(())
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
        let status = end_within(&mut self.child, END_TIMEOUT)?
            .ok_or_else(|| std::io::Error::new(std::io::ErrorKind::TimedOut, "the agent does not end"))?;
        Ok((status, clean::output(&self.last_words.finish())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(20);

    fn agent(script: &str) -> LocalAgent {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        LocalAgent::of(command, IDLE, IDLE).unwrap()
    }

    #[test]
    fn an_agent_that_fills_its_standard_error_goes_on() {
        let mut agent = agent("head -c 1000000 /dev/zero | tr '\\0' w >&2; echo end >&2; echo {}");
        assert_eq!(agent.next_line(), Next::Line("{}".to_owned()));
        assert_eq!(agent.next_line(), Next::Closed);
        let (status, last_words) = agent.finish(false).unwrap();
        assert!(status.success() && last_words.ends_with("end\n"), "{status}");
        assert!(last_words.len() <= LAST_WORDS_BYTES_MAX);
    }

    #[test]
    fn last_words_are_text() {
        let mut agent = agent("printf '\\033[2J\\007a\\r\\nb\\377' >&2");
        assert_eq!(agent.next_line(), Next::Closed);
        let (_, last_words) = agent.finish(false).unwrap();
        assert_eq!(last_words, "\\u{1b}[2J\\u{7}a\nb\u{fffd}");
    }

    #[test]
    fn a_request_that_nobody_reads_does_not_keep_the_host() {
        let begun = Instant::now();
        let mut agent = agent("exec sleep 100");
        agent.idle = Duration::from_millis(100);
        agent.send(&"x".repeat(1_000_000)).unwrap();
        assert_eq!(agent.next_line(), Next::TimedOut);
        agent.finish(true).unwrap();
        assert!(begun.elapsed() < IDLE);
    }
}
