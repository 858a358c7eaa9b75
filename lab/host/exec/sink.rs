//! A stream of this process that takes a command's output: never waited for, so that signals and time-outs still count.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A pipe that is ready for writing takes as much at once (PIPE_BUF, pipe(7)).
const WRITE_BYTES: usize = 4096;

/// One stream.
pub(super) struct Sink {
    file: File,
    waiting: Vec<u8>,
    at: usize,
}

impl Sink {
    /// Writes to a copy of the descriptor.
    pub(super) fn new(stream: impl AsFd) -> io::Result<Self> {
        let file: OwnedFd = stream.as_fd().try_clone_to_owned()?;
        Ok(Self { file: file.into(), waiting: Vec::new(), at: 0 })
    }

    /// Takes bytes, and writes as many as can be written at once.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.write_some()
    }

    /// Writes for as long as the stream takes some.
    pub(super) fn write_some(&mut self) -> io::Result<()> {
        while self.is_full() {
            let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
            match poll(&mut ready, PollTimeout::ZERO) {
                Ok(0) | Err(Errno::EINTR) => return Ok(()),
                Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
            let end = self.waiting.len().min(self.at + WRITE_BYTES);
            match self.file.write(&self.waiting[self.at..end]) {
                Ok(length) => self.at += length,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting.clear();
        self.at = 0;
        Ok(())
    }

    /// Whether something still waits to be written.
    pub(super) fn is_full(&self) -> bool {
        self.at < self.waiting.len()
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
