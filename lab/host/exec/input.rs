//! The frames to a guest: standard input as far as the guest has granted room for it, and signals before it.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::exec::error::ExecError;
use bondlab_core::plan::exec::INPUT_WINDOW;
use bondlab_core::plan::exec_frame::{Kind, encode};

const READ_BYTES: usize = 32 * 1024;
/// Ctrl-], which telnet(1) has for the same purpose.
const ESCAPE: u8 = 0x1d;

/// The port to a guest, and the stream that is read for it.
pub(super) struct Input {
    port: UnixStream,
    waiting: Vec<u8>,
    stdin: Option<File>,
    granted: u32,
    /// Whether a key may end the machine.
    has_keys: bool,
    has_escaped: bool,
}

impl Input {
    /// Sends this process's standard input, or that there is none. Of a terminal Ctrl-] ends the machine.
    pub(super) fn new(port: UnixStream, wants_stdin: bool, is_terminal: bool) -> io::Result<Self> {
        port.set_nonblocking(true)?;
        // A process may have been started without standard input.
        let stdin = if wants_stdin { io::stdin().as_fd().try_clone_to_owned().ok() } else { None };
        let stdin = stdin.map(|fd: OwnedFd| File::from(fd));
        let has_keys = is_terminal && stdin.as_ref().is_some_and(IsTerminal::is_terminal);
        let mut input =
            Self { port, waiting: Vec::new(), stdin, granted: INPUT_WINDOW, has_keys, has_escaped: false };
        if input.stdin.is_none() {
            input.queue(Kind::InputEnd, &[]);
        }
        Ok(input)
    }

    /// Adds a frame to those that wait to be sent.
    pub(super) fn queue(&mut self, kind: Kind, content: &[u8]) {
        self.waiting.extend(encode(kind, content));
    }

    /// The guest has room for so much more.
    pub(super) fn grant(&mut self, bytes: u32) -> Result<(), ExecError> {
        self.granted = self.granted.saturating_add(bytes);
        if self.granted > INPUT_WINDOW {
            return Err(ExecError::Protocol("room for more input than was sent".into()));
        }
        Ok(())
    }

    /// The stream to read from, where there is room for what it has.
    pub(super) fn stdin(&self) -> Option<&File> {
        self.stdin.as_ref().filter(|_| self.granted > 0 && !self.has_waiting())
    }

    /// Reads a piece of standard input. It is ready, or at its end.
    pub(super) fn read(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let mut chunk = vec![0; READ_BYTES.min(self.granted as usize)];
        match stdin.read(&mut chunk) {
            Ok(0) => self.end(),
            Ok(length) => {
                self.has_escaped |= self.has_keys && chunk[..length].contains(&ESCAPE);
                self.granted -= u32::try_from(length).unwrap_or(self.granted);
                self.queue(Kind::Input, &chunk[..length]);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // A terminal of which this process is not in the foreground.
            Err(_) => self.end(),
        }
    }

    fn end(&mut self) {
        self.stdin = None;
        self.queue(Kind::InputEnd, &[]);
    }

    /// Whether the user has typed Ctrl-].
    pub(super) fn has_escaped(&self) -> bool {
        self.has_escaped
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn port(&self) -> &UnixStream {
        &self.port
    }

    /// Sends what the port takes. False where the guest is gone.
    pub(super) fn send(&mut self) -> bool {
        while self.has_waiting() {
            match self.port.write(&self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}
