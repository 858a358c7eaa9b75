//! Frames from the host: standard input, signals, and the acknowledgement of the end.
//!
//! One thread reads the port and never waits for the command, so that a signal is not stuck behind input that no one
//! reads. Another one writes the input, and grants the host more when the command has taken it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bondlab_core::plan::exec_frame::{Frame, Frames, Kind};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::exec::output::Output;

const READ_BYTES: usize = 32 * 1024;

/// What the command's standard input gets.
enum Item {
    Bytes(Vec<u8>),
    End,
}

/// The port from the host, being read.
pub(crate) struct Input {
    to_write: Mutex<Option<Receiver<Item>>>,
    target: Arc<Mutex<Target>>,
    output: Arc<Output>,
}

/// Whom signals are for. One that arrives before the command runs is kept for it.
#[derive(Default)]
struct Target {
    group: Option<Pid>,
    terminal: Option<File>,
    early: Vec<Signal>,
}

impl Input {
    /// Starts to read. `acknowledge` gets the host's last word.
    pub(crate) fn start(port: File, output: Arc<Output>, acknowledge: Sender<()>) -> Self {
        let (sender, receiver) = channel();
        let target = Arc::new(Mutex::new(Target::default()));
        let reading = Reading { sender, target: Arc::clone(&target), acknowledge };
        thread::spawn(move || reading.run(port));
        Self { to_write: Mutex::new(Some(receiver)), target, output }
    }

    /// Sends signals to a process group from now on, and changes of size to a terminal.
    pub(crate) fn aim(&self, group: Pid, terminal: Option<File>) {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in std::mem::take(&mut target.early) {
            // One that is dead already cannot be ended.
            let _ = killpg(group, signal);
        }
        target.group = Some(group);
        target.terminal = terminal;
    }

    /// Writes input to a command, on a thread of its own. For a terminal, the end of input is its end-of-file character.
    pub(crate) fn feed(&self, mut stdin: impl Write + Send + 'static, end: &'static [u8]) {
        let receiver = self.to_write.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = receiver else { return };
        let output = Arc::clone(&self.output);
        thread::spawn(move || {
            let mut is_open = true;
            for item in receiver {
                match item {
                    Item::Bytes(bytes) => {
                        // A command that has closed its input wants no more; the host may end in peace.
                        is_open = is_open && stdin.write_all(&bytes).is_ok();
                        let granted = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                        if output.send(Kind::Credit, &granted.to_le_bytes()).is_err() {
                            return;
                        }
                    }
                    Item::End => {
                        let _ = stdin.write_all(end);
                        return;
                    }
                }
            }
        });
    }
}

struct Reading {
    sender: Sender<Item>,
    target: Arc<Mutex<Target>>,
    acknowledge: Sender<()>,
}

impl Reading {
    /// Until the port breaks, which is noticed where the acknowledgement is waited for.
    fn run(&self, mut port: File) {
        let mut frames = Frames::default();
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match port.read(&mut chunk) {
                Ok(0) => return,
                Ok(length) => frames.push(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            loop {
                match frames.take() {
                    Ok(Some(frame)) => self.take(frame),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
        }
    }

    fn take(&self, frame: Frame) {
        // A receiver that is gone has what it wanted.
        match frame.kind {
            Kind::Input => drop(self.sender.send(Item::Bytes(frame.content))),
            Kind::InputEnd => drop(self.sender.send(Item::End)),
            Kind::Acknowledged => drop(self.acknowledge.send(())),
            Kind::Signal => self.signal(&frame.content),
            Kind::Resize => self.resize(&frame.content),
            _ => {}
        }
    }

    fn signal(&self, content: &[u8]) {
        let [number] = content else { return };
        let Ok(signal) = Signal::try_from(i32::from(*number)) else { return };
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match target.group {
            Some(group) => drop(killpg(group, signal)),
            None => target.early.push(signal),
        }
    }

    fn resize(&self, content: &[u8]) {
        let &[a, b, c, d] = content else { return };
        let target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(terminal) = &target.terminal {
            // The size is all that is lost.
            let _ =
                super::command::set_size(terminal, u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        }
    }
}
