//! One rtnetlink socket of one namespace: requests with a bound, errors with the kernel's own words.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, TokioSocket};
use nix::errno::Errno;
use rtnetlink::Handle;
use thiserror::Error;
use tokio::runtime::RuntimeFlavor;

use crate::syscall::decoder;
use crate::syscall::extack::ExtAck;
use crate::syscall::netns::{Namespace, NetnsError};
use bondlab_core::net::name::IfName;
use bondlab_core::plan::record::OpError;

/// An answer takes microseconds; a kernel under emulation that waits for RCU under RTNL takes some seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// A dump that something changed underneath is asked for again this often.
const DUMP_ATTEMPTS_MAX: u32 = 5;

/// Keep in sync with include/uapi/linux/netlink.h: the dump was inconsistent because something changed.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Why a request brought nothing.
#[derive(Debug, Error)]
pub enum RtnlError {
    /// The kernel said no.
    #[error("{}{}", errno_name(*.errno), .text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// Positive.
        errno: i32,
        /// Its extended acknowledgement, if any.
        text: Option<String>,
    },
    /// No answer in [`REQUEST_TIMEOUT`].
    #[error("no answer in {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// The socket ended before the answer did.
    #[error("the netlink socket closed before the answer was complete")]
    Closed,
    /// An answer of another kind than asked for.
    #[error("the kernel answered something else: {0}")]
    Unexpected(String),
    /// A message of the answer could not be read, so the answer is not complete.
    #[error("a message of the answer could not be decoded: {0}")]
    Undecodable(String),
    /// Something kept changing during a dump, or the receive buffer overran.
    #[error("the answer is not consistent after {DUMP_ATTEMPTS_MAX} attempts")]
    Inconsistent,
    /// Opening the socket.
    #[error("no rtnetlink socket: {0}")]
    Open(#[from] io::Error),
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// Messages that cannot be decoded would go unnoticed.
    #[error("another logger is installed: undecodable netlink messages would go unnoticed")]
    Logger,
}

impl RtnlError {
    /// The errno, when the kernel refused.
    pub fn errno(&self) -> Option<i32> {
        if let Self::Refused { errno, .. } = self { Some(*errno) } else { None }
    }

    /// The error as a record: what was tried is said by the caller.
    pub fn during(self, what: impl Into<String>) -> OpError {
        match self {
            Self::Refused { errno, text } => {
                OpError { what: what.into(), errno: Some(errno_name(errno)), text }
            }
            other => OpError { what: what.into(), errno: None, text: Some(other.to_string()) },
        }
    }
}

/// `EBUSY` for 16.
pub fn errno_name(errno: i32) -> String {
    match (errno, Errno::from_raw(errno)) {
        // include/linux/errno.h; not for user space, and yet it gets there.
        (524, _) => "ENOTSUPP".into(),
        (_, Errno::UnknownErrno) => format!("errno {errno}"),
        (_, known) => format!("{known:?}"),
    }
}

/// An rtnetlink socket in one namespace, for one thread.
#[derive(Debug)]
pub struct Rtnl {
    handle: Handle,
    /// True until the lab itself moves or deletes the device.
    indexes: RefCell<BTreeMap<IfName, u32>>,
    /// What the kernel said of requests that it carried out, with the number of them.
    acknowledged: RefCell<BTreeMap<String, u32>>,
}

impl Rtnl {
    /// Opens a socket in `namespace`. The connection runs on the current tokio runtime.
    ///
    /// # Errors
    /// No socket, or a foreign logger.
    ///
    /// # Panics
    /// Outside of a current-thread runtime: what cannot be decoded is noticed by thread.
    pub fn open(namespace: &Namespace) -> Result<Self, RtnlError> {
        let flavor = tokio::runtime::Handle::current().runtime_flavor();
        assert_eq!(flavor, RuntimeFlavor::CurrentThread, "one thread runs everything");
        if !decoder::install() {
            return Err(RtnlError::Logger);
        }
        let socket = namespace.enter(|| Socket::new(NETLINK_ROUTE))??;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // SAFETY: the descriptor was owned by `socket` until here and has no other owner.
        let socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
        let (mut connection, handle, _) = rtnetlink::from_socket(socket);
        // An answer is complete when the kernel says so, not when the stream ends: it also ends with the socket.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        tokio::spawn(connection);
        Ok(Self { handle, indexes: RefCell::default(), acknowledged: RefCell::default() })
    }

    /// Asks for a change and waits until it is made. `flags` besides NLM_F_REQUEST and NLM_F_ACK.
    ///
    /// # Errors
    /// The kernel's refusal, or no complete answer.
    pub async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), RtnlError> {
        self.exchange(message, NLM_F_ACK | flags).await.map(|_| ())
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The kernel's refusal, or no complete answer.
    pub async fn get(&self, message: RouteNetlinkMessage) -> Result<RouteNetlinkMessage, RtnlError> {
        let mut answers = self.exchange(message, NLM_F_ACK).await?;
        match answers.pop() {
            Some(answer) if answers.is_empty() => Ok(answer),
            _ => Err(RtnlError::Unexpected("not exactly one message".into())),
        }
    }

    /// Asks for all there is of a kind.
    ///
    /// # Errors
    /// The kernel's refusal, or no complete and consistent answer.
    pub async fn dump(&self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, RtnlError> {
        for _ in 0..DUMP_ATTEMPTS_MAX {
            match self.exchange(message.clone(), NLM_F_DUMP).await {
                Err(RtnlError::Inconsistent) => {}
                other => return other,
            }
        }
        Err(RtnlError::Inconsistent)
    }

    async fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, RtnlError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        // What was lost before, by a request that was given up, is no matter of this one.
        decoder::lost();
        let answers = self.handle.clone().request(request).map_err(|_| RtnlError::Closed)?;
        let said = &self.acknowledged;
        let result = tokio::time::timeout(REQUEST_TIMEOUT, collect(answers, &bytes, said)).await;
        match decoder::lost() {
            Some(text) => Err(RtnlError::Undecodable(text)),
            None => result.unwrap_or(Err(RtnlError::Timeout)),
        }
    }

    /// A link by name, as it is now.
    ///
    /// # Errors
    /// There is none.
    pub async fn link(&self, name: &IfName) -> Result<LinkMessage, RtnlError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.as_str().into()));
        match self.get(RouteNetlinkMessage::GetLink(message)).await? {
            RouteNetlinkMessage::NewLink(link) => Ok(link),
            _ => Err(RtnlError::Unexpected("no link".into())),
        }
    }

    /// All links, as they are now.
    ///
    /// # Errors
    /// No complete answer.
    pub async fn links(&self) -> Result<Vec<LinkMessage>, RtnlError> {
        let answers = self.dump(RouteNetlinkMessage::GetLink(LinkMessage::default())).await?;
        answers
            .into_iter()
            .map(|answer| match answer {
                RouteNetlinkMessage::NewLink(link) => Ok(link),
                _ => Err(RtnlError::Unexpected("no link".into())),
            })
            .collect()
    }

    /// Forgets all numbers: something was deleted, and may come back under another one.
    pub fn forget_all(&self) {
        self.indexes.borrow_mut().clear();
    }

    /// The number of a device.
    ///
    /// # Errors
    /// There is none of that name.
    pub async fn index(&self, name: &IfName) -> Result<u32, RtnlError> {
        let known = self.indexes.borrow().get(name).copied();
        if let Some(index) = known {
            return Ok(index);
        }
        let index = self.link(name).await?.header.index;
        self.indexes.borrow_mut().insert(name.clone(), index);
        Ok(index)
    }

    /// What the kernel said of requests that it carried out, with the number of them.
    pub fn acknowledged(&self) -> BTreeMap<String, u32> {
        self.acknowledged.borrow().clone()
    }

    /// The device of that name is another one from now on, or none.
    pub fn forget(&self, name: &IfName) {
        self.indexes.borrow_mut().remove(name);
    }
}

/// Collects the messages of an answer up to the one that ends it, and what the kernel says of a request that it has carried
/// out (NL_SET_ERR_MSG() without an error is a warning).
async fn collect(
    answers: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
    request: &[u8],
    acknowledged: &RefCell<BTreeMap<String, u32>>,
) -> Result<Vec<RouteNetlinkMessage>, RtnlError> {
    let mut answers = std::pin::pin!(answers);
    let mut messages = Vec::new();
    let mut interrupted = false;
    while let Some(answer) = answers.next().await {
        interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::InnerMessage(message) => messages.push(message),
            NetlinkPayload::Done(done) if done.code < 0 => {
                // A dump's end carries the attributes right after the code: put the header's place before them.
                let ack = [&[0; 16], done.extended_ack.as_slice()].concat();
                return Err(refused(done.code, &ack, request));
            }
            NetlinkPayload::Error(ErrorMessage { code: Some(code), header, .. }) => {
                return Err(refused(code.get(), &header, request));
            }
            NetlinkPayload::Done(_) | NetlinkPayload::Error(_) if interrupted => {
                return Err(RtnlError::Inconsistent);
            }
            NetlinkPayload::Error(ErrorMessage { header, .. }) => {
                if let Some(text) = ExtAck::parse(&header).message {
                    *acknowledged.borrow_mut().entry(text).or_default() += 1;
                }
                return Ok(messages);
            }
            NetlinkPayload::Done(_) => return Ok(messages),
            NetlinkPayload::Overrun(_) => return Err(RtnlError::Inconsistent),
            other => return Err(RtnlError::Unexpected(format!("{other:?}"))),
        }
    }
    Err(RtnlError::Closed)
}

fn refused(code: i32, after_errno: &[u8], request: &[u8]) -> RtnlError {
    let text = ExtAck::parse(after_errno).describe(request);
    RtnlError::Refused { errno: code.saturating_abs(), text }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroI32;

    use futures_util::stream;
    use netlink_packet_core::NetlinkHeader;

    use super::*;

    fn answer(payload: NetlinkPayload<RouteNetlinkMessage>) -> NetlinkMessage<RouteNetlinkMessage> {
        NetlinkMessage::new(NetlinkHeader::default(), payload)
    }

    fn link() -> NetlinkMessage<RouteNetlinkMessage> {
        answer(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(LinkMessage::default())))
    }

    fn ack(code: i32) -> NetlinkMessage<RouteNetlinkMessage> {
        let mut message = ErrorMessage::default();
        message.code = NonZeroI32::new(code);
        answer(NetlinkPayload::Error(message))
    }

    async fn outcome(answers: Vec<NetlinkMessage<RouteNetlinkMessage>>) -> String {
        match collect(stream::iter(answers), &[], &RefCell::default()).await {
            Ok(messages) => format!("{} messages", messages.len()),
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn only_an_end_ends_an_answer() {
        let mut interrupted = link();
        interrupted.header.flags |= NLM_F_DUMP_INTR;
        for (answers, expected) in [
            (vec![], "the netlink socket closed before the answer was complete"),
            (vec![link()], "the netlink socket closed before the answer was complete"),
            (vec![link(), ack(0)], "1 messages"),
            (vec![link(), ack(-16)], "EBUSY"),
            (vec![interrupted, ack(0)], "the answer is not consistent after 5 attempts"),
        ] {
            assert_eq!(outcome(answers).await, expected);
        }
    }

    #[tokio::test]
    async fn what_is_said_of_a_request_that_is_carried_out_is_kept() {
        let mut message = ErrorMessage::default();
        // NLMSGERR_ATTR_MSG after the header of the request.
        message.header = [&[0; 16][..], &[12, 0, 1, 0], b"deprec.\0"].concat();
        let said = RefCell::default();
        for _ in 0..2 {
            let answers = stream::iter(vec![answer(NetlinkPayload::Error(message.clone()))]);
            assert!(collect(answers, &[], &said).await.is_ok());
        }
        assert_eq!(said.into_inner(), [("deprec.".to_owned(), 2)].into());
    }

    #[test]
    fn errors_have_names() {
        for (errno, name) in [(16, "EBUSY"), (524, "ENOTSUPP"), (9999, "errno 9999")] {
            assert_eq!(errno_name(errno), name);
        }
    }

    #[test]
    fn a_refusal_is_recorded_with_the_kernels_words() {
        let error = RtnlError::Refused { errno: 34, text: Some("8021q: Invalid VLAN id".into()) };
        let record = error.during("create vlan node:v");
        assert_eq!(record.what, "create vlan node:v");
        assert_eq!(record.errno.as_deref(), Some("ERANGE"));
        assert_eq!(record.text.as_deref(), Some("8021q: Invalid VLAN id"));
    }
}
