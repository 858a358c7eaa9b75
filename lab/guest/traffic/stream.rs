//! A TCP flow: numbered writes into one connection, and what its other end reads out of it.
//!
//! Each write is one segment (TCP_NODELAY, and MSG_EOR keeps the next write out of it), or several where it is longer than the
//! MTU allows; a device with segmentation offload is given all of it at once. What becomes of a segment is
//! TCP's affair: it is sent again until it is acknowledged or the connection is given up. So the account is of writes:
//! read at the other end, refused with an errno, or still unacknowledged in the socket's send queue. Segments that were
//! lost on the way are frames of the kernel's own, and in that book.
//!
//! Silence means: for [`ANSWER_TIMEOUT`] after the last write it was not acknowledged, though TCP sent again after
//! 0.2, 0.6, 1.4 and 3 s (TCP_RTO_MIN, doubled each time).

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::syscall::{packet_options, sockopt};
use crate::traffic::sender::errno_name;
use bondlab_core::net::family::Family;
use bondlab_core::net::frame_set::Frames;
use bondlab_core::net::probe::Probe;
use bondlab_core::net::reordered::Reordered;
use bondlab_core::topology::scenario::Flow;

/// How long unacknowledged writes are waited for.
pub const ANSWER_TIMEOUT: Duration = Duration::from_millis(3_500);
/// A handshake on an idle machine takes less than a millisecond.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Room for all writes of a flow: TCP's own limit is not what is asked for.
const SEND_BUFFER_BYTES: usize = 64 << 20;

/// A connection with both its ends.
#[derive(Debug)]
struct Ends {
    sender: TcpStream,
    receiver: TcpStream,
}

/// A connection and what went through it.
#[derive(Debug)]
pub struct Stream {
    /// The errno of connect() where there is none.
    ends: Result<Ends, String>,
    record_len: usize,
    accepted: Frames,
    refused: BTreeMap<String, Frames>,
    /// The rest of a write that TCP took in part.
    unwritten: Vec<u8>,
    /// Read, but not a whole write yet.
    read: Vec<u8>,
    seen: Frames,
    duplicated: u32,
    reordered: Reordered,
    /// When the last write was read, and the longest time between two.
    last: Option<Instant>,
    longest_silence: Duration,
}

/// The listening end of a connection that is about to be made. Must be opened in the receiver's namespace.
///
/// # Errors
/// The address is not there.
pub fn listen(address: IpAddr) -> io::Result<TcpListener> {
    TcpListener::bind((address, 0))
}

/// Connects, in the sender's namespace. The handshake is done when it returns.
///
/// # Errors
/// No route, or no answer in time.
pub fn connect(listener: &TcpListener, source: IpAddr, flow: &Flow) -> io::Result<Stream> {
    let to = listener.local_addr()?;
    // Where nothing leads there any more, its address is no address of this host either.
    let source = match flow.shape.family {
        _ if !flow.connect_late => source,
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = sockopt::tcp_socket(SocketAddr::new(source, 0), flow.from.name.as_str())?;
    packet_options::shape(&socket, &flow.shape)?;
    sockopt::connect_within(&socket, to, CONNECT_TIMEOUT)?;
    let sender = TcpStream::from(socket);
    sockopt::send_buffer(&sender, SEND_BUFFER_BYTES)?;
    sender.set_nodelay(true)?;
    if let Some(seconds) = flow.keepalive_s {
        sockopt::keep_alive(&sender, seconds)?;
    }
    sender.set_nonblocking(true)?;
    let (receiver, _) = listener.accept()?;
    receiver.set_nonblocking(true)?;
    Ok(Stream::new(Ok(Ends { sender, receiver }), flow))
}

impl Stream {
    /// A connection that was never made: its writer gets the errno of connect().
    pub fn refused(error: &io::Error, flow: &Flow) -> Self {
        Self::new(Err(errno_name(error)), flow)
    }

    fn new(ends: Result<Ends, String>, flow: &Flow) -> Self {
        Self {
            ends,
            record_len: flow.len - flow.shape.family.tcp_headers_len(),
            accepted: Frames::default(),
            refused: BTreeMap::new(),
            unwritten: Vec::new(),
            read: Vec::new(),
            seen: Frames::default(),
            duplicated: 0,
            reordered: Reordered::default(),
            last: None,
            longest_silence: Duration::ZERO,
        }
    }

    /// Writes one numbered record, and notes the kernel's answer.
    pub fn send(&mut self, probe: Probe) {
        match self.write(probe) {
            Ok(()) => self.accepted.insert(probe.sequence),
            Err(errno) => self.refused.entry(errno).or_default().insert(probe.sequence),
        };
    }

    fn write(&mut self, probe: Probe) -> Result<(), String> {
        let Ends { sender, .. } = self.ends.as_ref().map_err(Clone::clone)?;
        let segment = |bytes: &[u8]| sockopt::send_segment(sender, bytes).map_err(|error| errno_name(&error));
        let rest = std::mem::take(&mut self.unwritten);
        if !rest.is_empty() {
            let sent = segment(&rest).inspect_err(|_| self.unwritten = rest.clone());
            self.unwritten = rest[sent?..].to_vec();
        }
        if !self.unwritten.is_empty() {
            return Err(errno_name(&io::Error::from_raw_os_error(libc::EAGAIN)));
        }
        let record = probe.emit(self.record_len);
        let sent = segment(&record)?;
        self.unwritten = record[sent..].to_vec();
        Ok(())
    }

    /// Reads what has arrived; returns how many writes of this flow were among it.
    ///
    /// # Errors
    /// When the other end fails in another way than by being reset.
    pub fn drain(&mut self, trial: u16) -> io::Result<u32> {
        let Ok(Ends { receiver, .. }) = &mut self.ends else { return Ok(0) };
        let mut buffer = [0; 16 * 1024];
        loop {
            match receiver.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => self.read.extend_from_slice(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        let whole = self.read.len() / self.record_len * self.record_len;
        let mut news = 0;
        for record in self.read[..whole].chunks(self.record_len) {
            if let Some(probe) = Probe::parse(record).filter(|probe| probe.trial == trial) {
                news += 1;
                if let Some(last) = self.last.replace(Instant::now()) {
                    self.longest_silence = self.longest_silence.max(last.elapsed());
                }
                if self.seen.insert(probe.sequence) {
                    self.reordered.note(probe.sequence);
                } else {
                    self.duplicated += 1;
                }
            }
        }
        self.read.drain(..whole);
        Ok(news)
    }

    /// Takes the time from now on.
    pub fn listen(&mut self) {
        self.last = Some(Instant::now());
    }

    /// The longest time in which nothing could be read, the time since the last write that was included.
    pub fn longest_silence(&self) -> Duration {
        self.longest_silence.max(self.last.map_or(Duration::ZERO, |last| last.elapsed()))
    }

    /// Whether every write that was accepted has been read.
    pub fn is_done(&self) -> bool {
        self.accepted.difference(&self.seen).is_empty()
    }

    /// Writes that were read, each number once, and how many of them again.
    pub fn seen(&self) -> (Frames, u32) {
        (self.seen.clone(), self.duplicated)
    }

    /// Writes that were read behind one of a higher number, and segments that TCP has sent again.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn order(&self) -> io::Result<(u32, Option<u32>)> {
        let ends = self.ends.as_ref().ok();
        let again = ends.map(|ends| packet_options::retransmitted(&ends.sender)).transpose()?;
        Ok((self.reordered.count(), again))
    }

    /// What the kernel answered: writes accepted, refused by errno, and accepted but not acknowledged by now.
    ///
    /// # Errors
    /// The send queue cannot be read.
    pub fn answers(&self) -> io::Result<(Frames, BTreeMap<String, Frames>, Frames)> {
        // What is not acknowledged is the end of what was written (SIOCOUTQ: write_seq - snd_una).
        let queued = match &self.ends {
            Ok(ends) => sockopt::unacknowledged_bytes(&ends.sender)? + self.unwritten.len(),
            Err(_) => 0,
        };
        let unacknowledged = queued.div_ceil(self.record_len);
        let acknowledged = (self.accepted.len() as usize).saturating_sub(unacknowledged);
        let unacknowledged: Frames = self.accepted.iter().skip(acknowledged).collect();
        Ok((self.accepted.clone(), self.refused.clone(), unacknowledged))
    }
}
