//! QMP: the few commands the lab gives QEMU, one JSON line each way (docs/interop/qmp-spec).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::wait;
use bondlab_core::net::clean;

/// A reply takes milliseconds; only a dying or stopped QEMU takes longer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
const MIGRATION_INTERVAL: Duration = Duration::from_millis(1);

/// Why QEMU did not carry out a command.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket is closed or silent.
    #[error("qemu does not answer {command}: {source}")]
    Silent {
        /// What it was asked.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It said no.
    #[error("qemu refused {command}: {reason}")]
    Refused {
        /// What it was asked.
        command: String,
        /// Its own words.
        reason: String,
    },
    /// Saving or restoring began and did not come to an end.
    #[error("migration {status}: {reason}")]
    Migration {
        /// QEMU's state.
        status: String,
        /// Its own words, if it had any.
        reason: String,
    },
}

/// A connection to QEMU's control socket.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    pending: Vec<u8>,
    is_negotiated: bool,
}

impl Qmp {
    /// The host's end of the socket. Nothing is said yet: most machines live and die without a word of QMP.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, pending: Vec::new(), is_negotiated: false }
    }

    /// Gives one command and returns its result. Events that come in between are of no use here.
    ///
    /// # Errors
    /// When QEMU refuses, or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        if !self.is_negotiated {
            let deadline = Instant::now() + REPLY_TIMEOUT;
            let greeting = self.read_value(deadline);
            greeting.map_err(|source| QmpError::Silent { command: command.to_owned(), source })?;
            self.is_negotiated = true;
            self.execute("qmp_capabilities", json!({}))?;
        }
        let silent = |source| QmpError::Silent { command: command.to_owned(), source };
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes()).map_err(silent)?;
        let deadline = Instant::now() + REPLY_TIMEOUT;
        loop {
            let mut reply = self.read_value(deadline).map_err(silent)?;
            if let Some(error) = reply.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command: command.to_owned(), reason });
            }
            if let Some(result) = reply.get_mut("return") {
                return Ok(result.take());
            }
        }
    }

    /// Saves (`migrate`) or restores (`migrate-incoming`) through `uri` with guest pages at fixed places in the file.
    ///
    /// # Errors
    /// When QEMU refuses, fails, or is not done within `timeout`.
    pub fn migrate(&mut self, command: &str, uri: &str, timeout: Duration) -> Result<(), QmpError> {
        let mapped_ram = json!({ "capabilities": [{ "capability": "mapped-ram", "state": true }] });
        self.execute("migrate-set-capabilities", mapped_ram)?;
        self.execute(command, json!({ "uri": uri }))?;
        let deadline = Instant::now() + timeout;
        let end =
            wait::until(deadline, MIGRATION_INTERVAL, || match self.execute("query-migrate", json!({})) {
                Err(error) => Some(Err(error)),
                Ok(info) => match info["status"].as_str().unwrap_or("none") {
                    "completed" => Some(Ok(())),
                    status @ ("failed" | "cancelled") => Some(Err(QmpError::Migration {
                        status: status.to_owned(),
                        reason: info["error-desc"].as_str().unwrap_or("no reason given").to_owned(),
                    })),
                    _ => None,
                },
            });
        end.unwrap_or_else(|| {
            let reason = format!("not done after {}s", timeout.as_secs());
            Err(QmpError::Migration { status: "stuck".to_owned(), reason })
        })
    }

    fn read_value(&mut self, deadline: Instant) -> io::Result<Value> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(serde_json::from_str(&clean::json(&String::from_utf8_lossy(&line), &[]))?);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.pending.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A QEMU that answers from a script: greeting, then a text for each command.
    fn with_replies(replies: &'static [&'static str], check: impl FnOnce(&mut Qmp)) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qemu = thread::spawn(move || {
            use std::io::{BufRead, BufReader};
            let mut requests = BufReader::new(theirs.try_clone().unwrap()).lines();
            writeln!(&theirs, r#"{{"QMP":{{}}}}"#).unwrap();
            for reply in replies {
                requests.next();
                write!(&theirs, "{reply}\r\n").unwrap();
            }
        });
        check(&mut Qmp::new(ours));
        qemu.join().unwrap();
    }

    #[test]
    fn events_between_request_and_reply_are_passed_over() {
        with_replies(&[r#"{"return":{}}"#, "{\"event\":\"STOP\"}\r\n{\"return\":{\"a\":1}}"], |qmp| {
            assert_eq!(qmp.execute("stop", json!({})).unwrap(), json!({"a": 1}));
        });
    }

    #[test]
    fn a_refusal_has_qemus_words() {
        with_replies(&[r#"{"return":{}}"#, r#"{"error":{"class":"X","desc":"no such thing"}}"#], |qmp| {
            let error = qmp.execute("leap", json!({})).unwrap_err();
            assert_eq!(error.to_string(), "qemu refused leap: no such thing");
        });
    }

    #[test]
    fn a_refusal_cannot_clear_a_screen() {
        const REFUSED: &str = r#"{"error":{"class":"X","desc":"\u001b[2J\nok 1"}}"#;
        with_replies(&[r#"{"return":{}}"#, REFUSED], |qmp| {
            let error = qmp.execute("leap", json!({})).unwrap_err();
            assert_eq!(error.to_string(), "qemu refused leap: \\u{1b}[2J\\nok 1");
        });
    }

    #[test]
    fn a_closed_socket_is_said_at_once() {
        with_replies(&[r#"{"return":{}}"#], |qmp| {
            let error = qmp.execute("stop", json!({})).unwrap_err();
            assert!(error.to_string().starts_with("qemu does not answer stop"), "{error}");
        });
    }
}
