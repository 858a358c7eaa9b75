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
    #[error("no virtio-serial port named {0} after {timeout}s: is virtio_console loaded?", timeout = PORT_TIMEOUT.as_secs())]
    NoPort(&'static str),
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
    let writer = open_port(PORT_NAME)?;
    let reader = writer.try_clone();
    let reader = reader.map_err(|source| ChannelError::Port { path: PORT_NAME.into(), source })?;
    Ok((BufReader::new(reader), writer))
}

/// Opens the port that QEMU gave `name`. The kernel refuses a second open (`port_fops_open()`).
///
/// # Errors
/// When no such port appears, or it cannot be opened.
pub fn open_port(name: &'static str) -> Result<File, ChannelError> {
    let deadline = Instant::now() + PORT_TIMEOUT;
    let found = wait::until(deadline, PORT_INTERVAL, || find_port(name));
    let path = found.ok_or(ChannelError::NoPort(name))?;
    let open = File::options().read(true).write(true).open(&path);
    open.map_err(|source| ChannelError::Port { path, source })
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

fn find_port(wanted: &str) -> Option<PathBuf> {
    fs::read_dir(PORTS).ok()?.flatten().find_map(|port| {
        let name = fs::read_to_string(port.path().join("name")).ok()?;
        let node = PathBuf::from("/dev").join(port.file_name());
        (name.trim_end() == wanted && node.exists()).then_some(node)
    })
}
