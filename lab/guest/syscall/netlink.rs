//! Netlink sockets for requests that netlink-packet-route does not have: requests, their answers, and acknowledgements.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

use crate::device::tc::options::attribute;
use crate::syscall::extack::ExtAck;
use crate::syscall::rtnl::RtnlError;
use crate::syscall::sockopt as sockopt_of;

const HEADER_BYTES: usize = 16;
pub(crate) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// A kernel's page, and more than an answer to one request has.
const ANSWER_BYTES: usize = 32_768;
/// No answer of the kernel is in more pieces.
const ANSWERS_MAX: usize = 4096;
/// The kernel answers before sendto(2) returns; a lost answer must not hang the agent.
const ANSWER_TIMEOUT_S: i64 = 5;

// Keep in sync with include/uapi/linux/genetlink.h.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

/// A socket of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens one in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel does not have this protocol.
    pub(crate) fn open(protocol: SockProtocol) -> io::Result<Self> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_TIMEOUT_S, 0))?;
        Ok(Self { socket, buffer: vec![0; ANSWER_BYTES] })
    }

    /// Sends the kernel one message, or several as one transaction.
    ///
    /// # Errors
    /// The socket's buffer is too small for it.
    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), messages, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    /// The next datagram of the kernel's answer.
    ///
    /// # Errors
    /// EAGAIN when none comes in time.
    pub(crate) fn receive(&mut self) -> io::Result<&[u8]> {
        let len = recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
        Ok(&self.buffer[..len])
    }

    /// The socket itself, which owns what was made through it.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

/// Sends a request in the calling thread's namespace, and returns the payloads of the answers.
///
/// # Errors
/// The kernel's refusal, or no complete answer.
pub fn request(protocol: SockProtocol, kind: u16, flags: u16, payload: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let mut netlink = Netlink::open(protocol)?;
    netlink.send(&message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload))?;
    let mut answers = Vec::new();
    loop {
        if take(netlink.receive()?, flags & NLM_F_DUMP == NLM_F_DUMP, &mut answers)? {
            return Ok(answers);
        }
        if answers.len() > ANSWERS_MAX {
            return Err(io::Error::other("the answer does not end"));
        }
    }
}

/// Sends a request of rtnetlink that changes something, in the calling thread's namespace.
///
/// # Errors
/// The kernel's refusal with its extended acknowledgement, or no answer.
pub fn change(kind: u16, flags: u16, payload: &[u8]) -> Result<(), RtnlError> {
    let sent = || -> io::Result<Netlink> {
        let netlink = Netlink::open(SockProtocol::NetlinkRoute)?;
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            sockopt_of::set(&netlink.socket, libc::SOL_NETLINK, option, 1)?;
        }
        netlink.send(&message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload))?;
        Ok(netlink)
    };
    let failed = |error: io::Error| RtnlError::Unexpected(error.to_string());
    acknowledged(sent().map_err(failed)?.receive().map_err(failed)?)
}

/// What an acknowledgement says: 0, or an errno with a text.
fn acknowledged(bytes: &[u8]) -> Result<(), RtnlError> {
    let errno = bytes.get(HEADER_BYTES..).and_then(errno_of);
    match errno {
        Some(0) => Ok(()),
        Some(errno) => {
            let text = ExtAck::parse(&bytes[HEADER_BYTES + 4..]).message;
            Err(RtnlError::Refused { errno, text })
        }
        None => Err(RtnlError::Unexpected("an answer that is cut".into())),
    }
}

/// A message with its `struct nlmsghdr`.
pub(crate) fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEADER_BYTES + payload.len()).expect("the lab's requests are short");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port
    bytes.extend(payload);
    bytes
}

/// Kinds and payloads of the messages of one datagram; an error where one is longer than what is there.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = io::Result<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?);
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let payload = bytes.get(HEADER_BYTES..len);
        // Nothing can be read behind a message without an end.
        bytes = payload.and_then(|_| bytes.get(len.next_multiple_of(4)..)).unwrap_or_default();
        Some(payload.map(|payload| (kind, payload)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    })
}

/// The errno at the beginning of an acknowledgement (`struct nlmsgerr`) or of a dump's end (`netlink_dump_done()`), 0 for success.
fn errno_of(payload: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(*payload.first_chunk()?).saturating_abs())
}

/// What a message of the kind NLMSG_ERROR or NLMSG_DONE says.
///
/// # Errors
/// The kernel's refusal, or a message that is cut.
pub(crate) fn accepted(payload: &[u8]) -> io::Result<()> {
    match errno_of(payload) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Takes the messages of one datagram; whether the last one of the answer is among them.
fn take(bytes: &[u8], is_dump: bool, answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    for message in messages(bytes) {
        match message? {
            (kind @ (NLMSG_ERROR | NLMSG_DONE), payload) => {
                accepted(payload)?;
                if kind == NLMSG_DONE || !is_dump {
                    return Ok(true);
                }
            }
            (_, payload) => answers.push(payload.to_vec()),
        }
    }
    Ok(false)
}

/// A generic netlink request: `family` by name, command, version and attributes.
///
/// # Errors
/// There is no such family (ENOENT), or the kernel's refusal.
pub fn generic(family: &str, command: u8, version: u8, attributes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let name = [family.as_bytes(), &[0]].concat();
    let get = [genl_header(CTRL_CMD_GETFAMILY, 1), attribute(CTRL_ATTR_FAMILY_NAME, &name)].concat();
    let answers = request(SockProtocol::NetlinkGeneric, GENL_ID_CTRL, 0, &get)?;
    let id = answers.iter().find_map(|answer| family_id(answer));
    let id = id.ok_or_else(|| io::Error::other(format!("the kernel does not say the number of {family}")))?;
    request(
        SockProtocol::NetlinkGeneric,
        id,
        0,
        &[genl_header(command, version), attributes.to_vec()].concat(),
    )
}

/// `struct genlmsghdr`.
fn genl_header(command: u8, version: u8) -> Vec<u8> {
    vec![command, version, 0, 0]
}

fn family_id(answer: &[u8]) -> Option<u16> {
    let attributes = netlink_packet_core::NlasIterator::new(answer.get(4..)?).filter_map(Result::ok);
    let mut ids = attributes.filter(|nla| nla.kind() == CTRL_ATTR_FAMILY_ID);
    Some(u16::from_ne_bytes(ids.next()?.value().try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_acknowledgement() {
        let mut answers = Vec::new();
        let data = message(20, 0, &[1, 2, 3, 4]);
        assert!(!take(&data, false, &mut answers).unwrap());
        assert!(take(&message(NLMSG_ERROR, 0, &[0; 20]), false, &mut answers).unwrap());
        assert_eq!(answers, [[1, 2, 3, 4]]);
        let refused = message(NLMSG_ERROR, 0, &(-22_i32).to_ne_bytes());
        assert_eq!(take(&refused, false, &mut answers).unwrap_err().raw_os_error(), Some(22));
    }

    #[test]
    fn a_refusal_has_the_kernels_text() {
        let text = attribute(1, b"Bridge device is not running\0");
        let refusal = [&(-22_i32).to_ne_bytes()[..], &[0; 16], &text].concat();
        let Err(RtnlError::Refused { errno, text }) = acknowledged(&message(NLMSG_ERROR, 0, &refusal)) else {
            panic!("it is a refusal");
        };
        assert_eq!((errno, text.as_deref()), (22, Some("Bridge device is not running")));
        assert!(acknowledged(&message(NLMSG_ERROR, 0, &[0; 20])).is_ok());
        assert!(acknowledged(&[0; 18]).is_err(), "an answer that is cut");
    }

    #[test]
    fn a_message_that_is_cut_is_no_answer() {
        let whole = message(20, 0, &[1, 2, 3, 4]);
        assert!(take(&whole[..18], false, &mut Vec::new()).is_err());
    }

    #[test]
    fn the_number_of_a_family_is_in_its_answer() {
        let answer = [genl_header(1, 2), attribute(CTRL_ATTR_FAMILY_ID, &[0x1c, 0])].concat();
        assert_eq!(family_id(&answer), Some(0x1c));
        assert_eq!(family_id(&[0, 0]), None);
    }
}
