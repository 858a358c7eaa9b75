//! The guest's end of the line to the host: one virtio-serial port, JSON both ways.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::agent::wait;
use bondlab_core::plan::handshake::{Hello, PORT_NAME, Ready};

/// Requests from the host.
pub type Reader = BufReader<File>;

/// Records to the host.
pub type Writer = File;

/// The port's name arrives in a control message after the driver's probe has returned (virtio_console.c,
/// control_work_handler), so it is not there at once. Loaded hosts took up to 0.1 s.
const PORT_TIMEOUT: Duration = Duration::from_secs(20);
const PORT_INTERVAL: Duration = Duration::from_millis(2);

const PORTS: &str = "/sys/class/virtio-ports";

/// Why the guest cannot talk to the host.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No port of that name.
    #[error("no virtio-serial port named {PORT_NAME} after {}s: is virtio_console loaded?", PORT_TIMEOUT.as_secs())]
    NoPort,
    /// The port is there but cannot be used.
    #[error("{path}: {source}")]
    Port {
        /// Its device node.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Opens the port that QEMU named [`PORT_NAME`].
///
/// # Errors
/// When no such port appears, or it cannot be opened.
pub fn open() -> Result<(Reader, Writer), ChannelError> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    let path = wait::until(deadline, PORT_INTERVAL, find_port).ok_or(ChannelError::NoPort)?;
    let open = || {
        let reader = File::options().read(true).write(true).open(&path)?;
        let writer = reader.try_clone()?;
        Ok((BufReader::new(reader), writer))
    };
    open().map_err(|source| ChannelError::Port { path: path.clone(), source })
}

/// Says that the guest waits for work.
///
/// # Errors
/// When the port does not take the line.
pub fn say_ready(writer: &mut Writer, ready: Ready) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Hello { ready })?;
    line.push(b'\n');
    writer.write_all(&line)
}

fn find_port() -> Option<PathBuf> {
    fs::read_dir(PORTS).ok()?.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        let node = PathBuf::from("/dev").join(port.file_name());
        (name.trim_end() == PORT_NAME && node.exists()).then_some(node)
    })
}
