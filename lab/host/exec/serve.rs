//! Answers a guest's FUSE requests from this host's files, one after the other, until the port closes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;

use crate::exec::error::ServeError;
use crate::exec::nodes::{Nodes, Refusal};
use bondlab_core::plan::fuse::{
    Ask, REQUEST_HEADER_BYTES, Request, attributes_content, directory_content, entry_content, init_content,
    refusal, reply, request_bytes, statfs_content,
};

/// Serves `root` until the guest or its machine closes the port.
pub(super) fn serve(mut port: UnixStream, root: &Path) -> Result<(), ServeError> {
    let mut nodes = Nodes::new(root)?;
    loop {
        let mut header = [0; REQUEST_HEADER_BYTES];
        if !read_header(&mut port, &mut header)? {
            return Ok(());
        }
        let mut message = vec![0; request_bytes(&header)?];
        message[..REQUEST_HEADER_BYTES].copy_from_slice(&header);
        port.read_exact(&mut message[REQUEST_HEADER_BYTES..])?;
        let request = Request::parse(&message)?;
        if let Some(answer) = answer(&mut nodes, &request)? {
            match port.write_all(&answer) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// False where the port is closed. A machine that ends may leave half a message.
fn read_header(port: &mut UnixStream, header: &mut [u8]) -> Result<bool, ServeError> {
    match port.read_exact(header) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// The whole reply; nothing for requests that have none.
fn answer(nodes: &mut Nodes, request: &Request) -> Result<Option<Vec<u8>>, ServeError> {
    let Request { unique, node, ask } = request;
    let content = match ask {
        Ask::Forget { nodes: forgotten } => {
            forgotten.iter().for_each(|(node, lookups)| nodes.forget(*node, *lookups));
            return Ok(None);
        }
        Ask::Interrupt => return Ok(None),
        Ask::Init { minor } => Ok(init_content(*minor)),
        Ask::Lookup { name } => match nodes.lookup(*node, name) {
            Ok((node, attributes)) => Ok(entry_content(node, &attributes)),
            // The kernel may keep that it is not there.
            Err(Refusal::Errno(Errno::ENOENT)) => Ok(entry_content(0, &Default::default())),
            Err(refusal) => Err(refusal),
        },
        Ask::Attributes => nodes.attributes(*node).map(|attributes| attributes_content(&attributes)),
        Ask::ReadLink => nodes.read_link(*node),
        Ask::Read { offset, size } => nodes.read(*node, *offset, *size),
        Ask::ReadDir { offset, size } => {
            nodes.list(*node, *offset == 0).map(|entries| directory_content(entries, *offset, *size))
        }
        Ask::StatFs => Ok(statfs_content()),
        Ask::Other { .. } => Err(Refusal::Errno(Errno::ENOSYS)),
    };
    match content {
        Ok(content) => Ok(Some(reply(*unique, &content))),
        Err(Refusal::Errno(errno)) => Ok(Some(refusal(*unique, errno as i32))),
        Err(Refusal::TooMany) => Err(ServeError::TooMany(nodes.len())),
    }
}
