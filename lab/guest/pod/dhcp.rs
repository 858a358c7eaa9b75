//! DHCP: a server that answers in a namespace until it is dropped, and a client's exchange for one device.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind};

use crate::agent::guard::Guard;
use crate::agent::testbed::{Testbed, netns_error};
use crate::agent::wait;
use crate::device::addresses;
use crate::syscall::sockopt;
use bondlab_core::net::address::{Cidr, Mac};
use bondlab_core::net::dhcp::{Book, CLIENT_PORT, Kind, Message, SERVER_PORT, Server};
use bondlab_core::net::link::Link;
use bondlab_core::net::name::DeviceRef;
use bondlab_core::net::route::Route;
use bondlab_core::plan::LeaseCall;
use bondlab_core::plan::record::OpError;

/// DISCOVER or REQUEST is sent so often.
const TRIES: u32 = 4;
/// And an answer to it awaited so long: an exchange takes some ms, a guest under emulation may be held up.
const TRY_TIMEOUT: Duration = Duration::from_millis(1500);
/// Until the server has heard that an address is given back. A RELEASE that is lost is no failure (RFC 2131, 4.4.6).
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
const RELEASE_LOOK: Duration = Duration::from_millis(5);
/// Larger than any message of the lab's.
const MESSAGE_BYTES: usize = 1500;

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Serving {
    book: Arc<Mutex<Book>>,
    /// Hanging up wakes the thread, which ends.
    line: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.line = None;
        if let Some(thread) = self.thread.take() {
            // It only answers: a panic of it would be one of the library's.
            let _ = thread.join();
        }
    }
}

/// An address that a client has.
#[derive(Debug)]
pub struct Leased {
    address: Ipv4Addr,
    server: Ipv4Addr,
}

/// Starts a server.
///
/// # Errors
/// No socket at its device.
pub fn serve(bed: &mut Testbed, server: &Server) -> Result<(), OpError> {
    let what = format!("serve DHCP at {}", server.device);
    let open = || socket(SERVER_PORT, server.device.name.as_str());
    let opened = bed.namespaces.enter(&server.device.ns, open).map_err(|error| netns_error(&what, &error))?;
    let failed =
        |error: io::Error| OpError { what: what.clone(), errno: None, text: Some(error.to_string()) };
    let socket = opened.map_err(failed)?;
    let (line, hung_up) = UnixStream::pair().map_err(failed)?;
    let book = Arc::new(Mutex::new(Book::new(server.clone())));
    let thread = std::thread::spawn({
        let book = Arc::clone(&book);
        move || while answer(&socket, &hung_up, &book) {}
    });
    let serving = Serving { book, line: Some(line), thread: Some(thread) };
    bed.held.insert(server_key(&server.network), Guard::DhcpServer(serving));
    Ok(())
}

fn server_key(network: &str) -> String {
    format!("DHCP server of {network}")
}

fn lease_key(device: &DeviceRef) -> String {
    format!("DHCP lease of {device}")
}

/// A datagram socket on one device, which may have no address yet.
fn socket(port: u16, device: &str) -> io::Result<UdpSocket> {
    let socket =
        nix::sys::socket::socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // Before the port is taken: another device of the namespace may have its own server.
    sockopt::bind_to_device(&socket, device)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    let socket = UdpSocket::from(socket);
    socket.set_broadcast(true)?;
    Ok(socket)
}

/// Waits for one message and answers it; `false` when the connection is closed.
fn answer(socket: &UdpSocket, hung_up: &UnixStream, book: &Mutex<Book>) -> bool {
    let mut ready =
        [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(hung_up.as_fd(), PollFlags::POLLIN)];
    if poll(&mut ready, PollTimeout::NONE).is_err() {
        return true;
    }
    if ready[1].any().unwrap_or(true) {
        return false;
    }
    let mut buffer = [0; MESSAGE_BYTES];
    let Ok(len) = socket.recv(&mut buffer) else { return true };
    let Some(message) = Message::parse(&buffer[..len]) else { return true };
    let reply = book.lock().unwrap_or_else(PoisonError::into_inner).answer(&message);
    if let Some(reply) = reply {
        // What a broken link refuses is a lost answer: the client asks again.
        let _ = socket.send_to(&reply.bytes(), SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT));
    }
    true
}

/// DISCOVER, OFFER, REQUEST, ACK; then the address and the default route that were given.
///
/// # Errors
/// No server answers, or the kernel refuses the address.
pub async fn lease(bed: &mut Testbed, call: &LeaseCall) -> Result<(), OpError> {
    // As the daemon of containernetworking/plugins says it.
    let what = format!("error calling DHCP.Allocate for {}", call.device);
    let failed = |text: String| OpError { what: what.clone(), errno: None, text: Some(text) };
    let mac = addresses::mac_of(bed, &call.device).await?;
    let exchanged = bed.namespaces.enter(&call.device.ns, || exchange(call, mac));
    let ack =
        exchanged.map_err(|error| netns_error(&what, &error))?.map_err(|error| failed(error.to_string()))?;
    let Some(ack) = ack else { return Err(failed("no more tries".into())) };
    let (Some(mask), Some(server)) = (ack.mask, ack.server) else {
        return Err(failed("the server tells no netmask, or not who it is".into()));
    };
    let prefix = u8::try_from(u32::from(mask).leading_ones()).expect("at most 32");
    let mut link = Link::new(call.device.clone(), bondlab_core::net::link::LinkKind::Dummy);
    link.addresses = vec![Cidr { address: ack.yours.into(), prefix }];
    addresses::add_all(bed, &link).await?;
    if let Some(router) = ack.router {
        let route = Route::new(None, Some(router.into()), Some(call.device.name.clone()));
        addresses::prepend_route(bed, &call.device.ns, &route).await?;
    }
    bed.held.insert(lease_key(&call.device), Guard::DhcpLease(Leased { address: ack.yours, server }));
    Ok(())
}

/// The server's last word; `None` when no server has answered.
fn exchange(call: &LeaseCall, mac: Mac) -> io::Result<Option<Message>> {
    let socket = socket(CLIENT_PORT, call.device.name.as_str())?;
    let client = call.client.as_bytes();
    let xid = u32::from_be_bytes([mac.0[2], mac.0[3], mac.0[4], mac.0[5]]);
    let discover = Message::of_client(Kind::Discover, xid, mac, client);
    let Some(offer) = ask(&socket, &discover, &[Kind::Offer])? else { return Ok(None) };
    let request = Message {
        requested: Some(offer.yours),
        server: offer.server,
        ..Message::of_client(Kind::Request, xid, mac, client)
    };
    let answered = ask(&socket, &request, &[Kind::Ack, Kind::Nak])?;
    Ok(answered.filter(|answer| answer.kind == Kind::Ack))
}

/// Sends until somebody answers in one of these ways.
fn ask(socket: &UdpSocket, message: &Message, answers: &[Kind]) -> io::Result<Option<Message>> {
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
    for _ in 0..TRIES {
        socket.send_to(&message.bytes(), to)?;
        let deadline = Instant::now() + TRY_TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            socket.set_read_timeout(Some(left))?;
            let mut buffer = [0; MESSAGE_BYTES];
            let len = match socket.recv(&mut buffer) {
                Ok(len) => len,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(error),
            };
            let answer = Message::parse(&buffer[..len]);
            let is_meant = |answer: &Message| {
                answer.xid == message.xid && answer.client == message.client && answers.contains(&answer.kind)
            };
            if let Some(answer) = answer.filter(is_meant) {
                return Ok(Some(answer));
            }
        }
    }
    Ok(None)
}

/// RELEASE, and waits until the server has heard it: its link is about to go. Nothing where there is no lease.
///
/// # Errors
/// No namespace, or no Ethernet address.
pub async fn release(bed: &mut Testbed, call: &LeaseCall) -> Result<(), OpError> {
    let Some(Guard::DhcpLease(leased)) = bed.held.remove(&lease_key(&call.device)) else { return Ok(()) };
    let what = format!("give the address of {} back", call.device);
    let mac = addresses::mac_of(bed, &call.device).await?;
    let message = Message {
        has: leased.address,
        server: Some(leased.server),
        ..Message::of_client(Kind::Release, 0, mac, call.client.as_bytes())
    };
    let send = || -> io::Result<usize> {
        let socket = socket(CLIENT_PORT, call.device.name.as_str())?;
        socket.send_to(&message.bytes(), SocketAddrV4::new(leased.server, SERVER_PORT))
    };
    let sent = bed.namespaces.enter(&call.device.ns, send).map_err(|error| netns_error(&what, &error))?;
    let serving = bed.held.get(&server_key(&call.network));
    if let (Ok(_), Some(Guard::DhcpServer(serving))) = (sent, serving) {
        let is_back = || {
            let book = serving.book.lock().unwrap_or_else(PoisonError::into_inner);
            (!book.has_given(leased.address)).then_some(())
        };
        wait::until(Instant::now() + RELEASE_TIMEOUT, RELEASE_LOOK, is_back);
    }
    Ok(())
}
