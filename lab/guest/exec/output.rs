//! Frames to the host, from whoever has something to send: whole, counted, and none after the end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bondlab_core::plan::exec::{End, How};
use bondlab_core::plan::exec_frame::{FRAME_BYTES_MAX, Kind, encode};

/// The port to the host.
pub(crate) struct Output {
    state: Mutex<State>,
}

struct State {
    port: File,
    stdout_bytes: u64,
    stderr_bytes: u64,
    has_ended: bool,
}

impl Output {
    pub(crate) fn new(port: File) -> Self {
        Self { state: Mutex::new(State { port, stdout_bytes: 0, stderr_bytes: 0, has_ended: false }) }
    }

    /// Sends content of any length. What comes after the end is left out: a process that the command left behind may go on
    /// writing.
    pub(crate) fn send(&self, kind: Kind, content: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        if state.has_ended {
            return Ok(());
        }
        match kind {
            Kind::Stdout => state.stdout_bytes += content.len() as u64,
            Kind::Stderr => state.stderr_bytes += content.len() as u64,
            _ => {}
        }
        if content.is_empty() {
            return state.port.write_all(&encode(kind, content));
        }
        content.chunks(FRAME_BYTES_MAX).try_for_each(|part| state.port.write_all(&encode(kind, part)))
    }

    /// Sends how the command ended. Nothing is sent after it.
    pub(crate) fn end(&self, how: How) -> io::Result<()> {
        let mut state = self.lock();
        let end = End { how, stdout_bytes: state.stdout_bytes, stderr_bytes: state.stderr_bytes };
        state.has_ended = true;
        let content = serde_json::to_vec(&end)?;
        state.port.write_all(&encode(Kind::End, &content[..content.len().min(FRAME_BYTES_MAX)]))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
