//! Carries FUSE messages between /dev/fuse and a port, one request at a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::thread;

use bondlab_core::plan::fuse::{
    REPLY_BYTES_MAX, REPLY_HEADER_BYTES, REQUEST_BYTES_MAX, has_reply, reply_bytes,
};
use nix::errno::Errno;

/// Starts to carry. The thread ends with the file system or with the port; the file system is aborted then, and whoever
/// waits for it gets ENOTCONN.
pub(crate) fn start(device: File, port: File) {
    thread::spawn(move || {
        // The reason is seen by the command, whose files are gone.
        let _ = carry(device, port);
    });
}

fn carry(mut device: File, mut port: File) -> io::Result<()> {
    // The kernel wants room for the longest request it may have (fuse_dev_do_read()).
    let mut request = vec![0; REQUEST_BYTES_MAX];
    let mut reply = vec![0; REPLY_BYTES_MAX];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            // An interrupted request vanishes (ENOENT).
            Err(error) if is_passing(&error) => continue,
            Err(error) => return Err(error),
        };
        port.write_all(&request[..length])?;
        if !has_reply(&request[..length]) {
            continue;
        }
        port.read_exact(&mut reply[..REPLY_HEADER_BYTES])?;
        let header: &[u8; REPLY_HEADER_BYTES] =
            reply[..REPLY_HEADER_BYTES].try_into().expect("it has this length");
        let whole = reply_bytes(header).map_err(io::Error::other)?;
        port.read_exact(&mut reply[REPLY_HEADER_BYTES..whole])?;
        match device.write(&reply[..whole]) {
            Ok(_) => {}
            // Whoever asked was killed meanwhile.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    let passing = [Errno::EINTR, Errno::EAGAIN, Errno::ENOENT];
    error.raw_os_error().is_some_and(|number| passing.contains(&Errno::from_raw(number)))
}
