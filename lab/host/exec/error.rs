//! Why it is not known how a command ended.

use std::io;
use std::path::PathBuf;

use crate::kernel::modules::ModulesError;
use crate::vm::death::Death;
use crate::vm::initramfs::InitramfsError;
use crate::vm::qemu::QemuError;
use bondlab_core::plan::exec_frame::FrameError;
use bondlab_core::plan::fuse::MessageError;

/// Why it is not known how a command ended.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No QEMU.
    #[error(transparent)]
    Qemu(QemuError),
    /// No initramfs.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The kernel's modules cannot be read.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// The guest died.
    #[error("the guest died before the command's end was known: {0}")]
    Died(Box<Death>),
    /// The guest could not get to the command.
    #[error("the command did not run: {0}")]
    NotPrepared(String),
    /// The machine ended as if nothing were left to do.
    #[error("the machine ended before it sent the command's end")]
    Closed,
    /// The user ended the machine from its terminal.
    #[error("the machine was ended by Ctrl-]")]
    Escaped,
    /// A frame that is none.
    #[error("the guest sent what is no frame: {0}")]
    Frame(#[from] FrameError),
    /// A frame that does not belong there, or says what cannot be.
    #[error("the guest broke the protocol: {0}")]
    Protocol(String),
    /// Some output did not arrive.
    #[error("output was lost: the guest sent {sent} bytes of {stream}, {arrived} arrived")]
    Lost {
        /// Which stream.
        stream: &'static str,
        /// What the guest says.
        sent: u64,
        /// What was counted.
        arrived: u64,
    },
    /// The file system that is served to the guest broke.
    #[error("serve the host's files: {0}")]
    Serve(#[from] ServeError),
    /// A stream of this process.
    #[error("write the command's output: {0}")]
    Output(#[source] io::Error),
    /// The command's files.
    #[error("{path}: {source}")]
    File {
        /// Which one, on this host.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be caught.
    #[error("catch signals: {0}")]
    Signals(#[source] io::Error),
    /// No seed for the guest.
    #[error("read random numbers: {0}")]
    Entropy(#[source] io::Error),
}

/// Why the host's files are served no more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The root cannot be opened.
    #[error("open /: {0}")]
    Root(#[source] io::Error),
    /// The port broke.
    #[error("the port: {0}")]
    Port(#[from] io::Error),
    /// What the guest's kernel does not send.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The guest keeps more names than there is room for.
    #[error("the guest knows {0} files, and no more fit")]
    TooMany(usize),
}
