//! DHCP as far as a pod's address needs it (RFC 2131, RFC 2132): messages both ways, and what a server answers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::net::address::Mac;
use crate::net::name::DeviceRef;

/// Where servers listen.
pub const SERVER_PORT: u16 = 67;
/// Where clients do.
pub const CLIENT_PORT: u16 = 68;

/// Where the daemon of the CNI plugin `dhcp` is asked: a name without a file.
pub const DAEMON_SOCKET: &str = "lab-cni-dhcp";

/// A server of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The network whose pods it serves.
    pub network: String,
    /// Where it listens.
    pub device: DeviceRef,
    /// Its own address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix.
    pub prefix: u8,
    /// The first address that is given out.
    pub first: Ipv4Addr,
    /// The last one.
    pub last: Ipv4Addr,
    /// The default route, if it tells one.
    pub router: Option<Ipv4Addr>,
    /// For how long an address is given, in s.
    pub lease_s: u32,
}

impl Server {
    /// The lowest free address.
    pub fn lowest_free(&self, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let all = u32::from(self.first)..=u32::from(self.last);
        all.map(Ipv4Addr::from).find(|address| *address != self.address && !is_taken(*address))
    }
}

/// Option 53, DHCP message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who has an address for me?
    Discover = 1,
    /// This one.
    Offer = 2,
    /// I take it.
    Request = 3,
    /// It is yours.
    Ack = 5,
    /// It is not.
    Nak = 6,
    /// I give it back.
    Release = 7,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Discover, Self::Offer, Self::Request, Self::Ack, Self::Nak, Self::Release];
}

/// What of a message matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// The exchange's number, the client's choice.
    pub xid: u32,
    /// The client's Ethernet address.
    pub mac: Mac,
    /// Option 61: tells apart clients that have one Ethernet address, as ipvlans have.
    pub client: Vec<u8>,
    /// `ciaddr`: what the client has.
    pub has: Ipv4Addr,
    /// `yiaddr`: what it gets.
    pub yours: Ipv4Addr,
    /// Option 50.
    pub requested: Option<Ipv4Addr>,
    /// Option 54.
    pub server: Option<Ipv4Addr>,
    /// Option 1.
    pub mask: Option<Ipv4Addr>,
    /// Option 3, the first of them.
    pub router: Option<Ipv4Addr>,
    /// Option 51, in s.
    pub lease_s: Option<u32>,
}

const OP_REQUEST: u8 = 1;
const OP_REPLY: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6];
/// The answer comes as a broadcast: the client has no address to be reached at yet.
const FLAG_BROADCAST: u16 = 0x8000;
const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// Up to the options.
const FIXED_BYTES: usize = 236;
const MASK: u8 = 1;
const ROUTER: u8 = 3;
const REQUESTED: u8 = 50;
const LEASE: u8 = 51;
const KIND: u8 = 53;
const SERVER: u8 = 54;
const CLIENT: u8 = 61;
const PAD: u8 = 0;
const END: u8 = 255;

impl Message {
    /// A client's message.
    pub fn of_client(kind: Kind, xid: u32, mac: Mac, client: &[u8]) -> Self {
        Self {
            kind,
            xid,
            mac,
            client: client.into(),
            has: Ipv4Addr::UNSPECIFIED,
            yours: Ipv4Addr::UNSPECIFIED,
            requested: None,
            server: None,
            mask: None,
            router: None,
            lease_s: None,
        }
    }

    /// As a datagram has it.
    pub fn bytes(&self) -> Vec<u8> {
        let is_reply = matches!(self.kind, Kind::Offer | Kind::Ack | Kind::Nak);
        let mut bytes = vec![if is_reply { OP_REPLY } else { OP_REQUEST }];
        bytes.extend(ETHERNET);
        bytes.push(0); // hops
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend([0, 0]); // seconds
        bytes.extend(FLAG_BROADCAST.to_be_bytes());
        bytes.extend(self.has.octets());
        bytes.extend(self.yours.octets());
        bytes.extend([0; 8]); // next server and relay
        bytes.extend(self.mac.0);
        bytes.resize(FIXED_BYTES, 0);
        bytes.extend(MAGIC);
        let mut option = |code: u8, value: &[u8]| {
            bytes.extend([code, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
            bytes.extend(value.iter().take(u8::MAX.into()));
        };
        option(KIND, &[self.kind as u8]);
        let addresses =
            [(MASK, self.mask), (ROUTER, self.router), (REQUESTED, self.requested), (SERVER, self.server)];
        for (code, address) in addresses {
            if let Some(address) = address {
                option(code, &address.octets());
            }
        }
        if let Some(lease_s) = self.lease_s {
            option(LEASE, &lease_s.to_be_bytes());
        }
        if !self.client.is_empty() {
            option(CLIENT, &self.client);
        }
        bytes.push(END);
        bytes
    }

    /// Reads a datagram; `None` is no message that matters here.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| -> Option<[u8; 4]> { bytes.get(at..at + 4)?.try_into().ok() };
        if word(FIXED_BYTES)? != MAGIC {
            return None;
        }
        let options = options(&bytes[FIXED_BYTES + MAGIC.len()..])?;
        let value = |code: u8| options.get(&code).copied();
        let four = |code: u8| -> Option<[u8; 4]> { value(code)?.get(..4)?.try_into().ok() };
        let address = |code: u8| four(code).map(Ipv4Addr::from);
        let number = *value(KIND)?.first()?;
        Some(Self {
            kind: Kind::ALL.into_iter().find(|kind| *kind as u8 == number)?,
            xid: u32::from_be_bytes(word(4)?),
            mac: Mac(bytes.get(28..34)?.try_into().ok()?),
            client: value(CLIENT).unwrap_or_default().into(),
            has: word(12)?.into(),
            yours: word(16)?.into(),
            requested: address(REQUESTED),
            server: address(SERVER),
            mask: address(MASK),
            router: address(ROUTER),
            lease_s: four(LEASE).map(u32::from_be_bytes),
        })
    }

    /// Who sends it: by option 61, else by Ethernet address.
    fn sender(&self) -> Vec<u8> {
        if self.client.is_empty() { self.mac.0.into() } else { self.client.clone() }
    }
}

/// Options by code; `None` when one is cut short.
fn options(mut bytes: &[u8]) -> Option<BTreeMap<u8, &[u8]>> {
    let mut options = BTreeMap::new();
    loop {
        match bytes {
            [] | [END, ..] => return Some(options),
            [PAD, rest @ ..] => bytes = rest,
            [code, len, rest @ ..] => {
                options.insert(*code, rest.get(..usize::from(*len))?);
                bytes = &rest[usize::from(*len)..];
            }
            [_] => return None,
        }
    }
}

/// A server's book: who has which address.
#[derive(Debug, Clone)]
pub struct Book {
    server: Server,
    given: BTreeMap<Vec<u8>, Ipv4Addr>,
}

impl Book {
    /// No client has an address.
    pub fn new(server: Server) -> Self {
        Self { server, given: BTreeMap::new() }
    }

    /// Whether somebody has this address.
    pub fn has_given(&self, address: Ipv4Addr) -> bool {
        self.given.values().any(|given| *given == address)
    }

    /// What the server answers; nothing to what is for another one, or when no address is left.
    pub fn answer(&mut self, message: &Message) -> Option<Message> {
        let who = message.sender();
        if message.server.is_some_and(|server| server != self.server.address) {
            return None;
        }
        match message.kind {
            Kind::Discover => {
                let address = self.address_for(&who)?;
                Some(self.reply(message, Kind::Offer, address))
            }
            Kind::Request => {
                let address = self.address_for(&who)?;
                let wanted = message.requested.unwrap_or(message.has);
                if wanted != address {
                    return Some(self.reply(message, Kind::Nak, Ipv4Addr::UNSPECIFIED));
                }
                self.given.insert(who, address);
                Some(self.reply(message, Kind::Ack, address))
            }
            Kind::Release => {
                self.given.remove(&who);
                None
            }
            Kind::Offer | Kind::Ack | Kind::Nak => None,
        }
    }

    /// What a client has, or the lowest free one.
    fn address_for(&self, who: &[u8]) -> Option<Ipv4Addr> {
        let has = self.given.get(who).copied();
        has.or_else(|| self.server.lowest_free(|address| self.has_given(address)))
    }

    fn reply(&self, to: &Message, kind: Kind, yours: Ipv4Addr) -> Message {
        let is_given = kind != Kind::Nak;
        let bits = u32::MAX.checked_shl(u32::from(32 - self.server.prefix)).unwrap_or(0);
        Message {
            yours,
            server: Some(self.server.address),
            mask: is_given.then(|| Ipv4Addr::from(bits)),
            router: self.server.router.filter(|_| is_given),
            lease_s: is_given.then_some(self.server.lease_s),
            ..Message::of_client(kind, to.xid, to.mac, &to.client)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        Book::new(Server {
            network: "n".into(),
            device: "router:p0".parse().unwrap(),
            address: "10.20.0.1".parse().unwrap(),
            prefix: 24,
            first: "10.20.0.1".parse().unwrap(),
            last: "10.20.0.3".parse().unwrap(),
            router: Some("10.20.0.1".parse().unwrap()),
            lease_s: 3600,
        })
    }

    fn exchange(book: &mut Book, client: &[u8]) -> Option<Message> {
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let offer = book.answer(&Message::of_client(Kind::Discover, 7, mac, client))?;
        let request = Message {
            requested: Some(offer.yours),
            server: offer.server,
            ..Message::of_client(Kind::Request, 7, mac, client)
        };
        book.answer(&request)
    }

    #[test]
    fn the_lowest_free_address_is_given_and_comes_back() {
        let mut book = book();
        let first = exchange(&mut book, b"a").unwrap();
        assert_eq!((first.kind, first.yours), (Kind::Ack, "10.20.0.2".parse().unwrap()));
        assert_eq!(first.mask, Some("255.255.255.0".parse().unwrap()));
        // One Ethernet address, two clients.
        assert_eq!(exchange(&mut book, b"b").unwrap().yours.octets()[3], 3);
        assert_eq!(exchange(&mut book, b"c"), None);
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        assert_eq!(book.answer(&Message::of_client(Kind::Release, 8, mac, b"a")), None);
        assert_eq!(exchange(&mut book, b"c").unwrap().yours, first.yours);
    }

    #[test]
    fn what_another_server_offered_is_not_answered_and_a_wrong_address_is_refused() {
        let mut book = book();
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let request = Message::of_client(Kind::Request, 7, mac, b"a");
        let other = Message { server: Some("10.20.0.9".parse().unwrap()), ..request.clone() };
        assert_eq!(book.answer(&other), None);
        let wrong = Message { requested: Some("10.20.0.77".parse().unwrap()), ..request };
        assert_eq!(book.answer(&wrong).unwrap().kind, Kind::Nak);
        assert!(!book.has_given("10.20.0.77".parse().unwrap()));
    }

    #[test]
    fn a_message_is_as_the_rfc_has_it() {
        let message = Message {
            requested: Some("10.20.0.2".parse().unwrap()),
            ..Message::of_client(Kind::Request, 0x0102_0304, Mac([2, 0, 0, 0, 0, 9]), b"x")
        };
        let bytes = message.bytes();
        assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
        assert_eq!(bytes[28..34], [2, 0, 0, 0, 0, 9]);
        assert_eq!(bytes[236..], [99, 130, 83, 99, 53, 1, 3, 50, 4, 10, 20, 0, 2, 61, 1, b'x', 255]);
        assert_eq!(Message::parse(&bytes), Some(message));
        for end in 0..bytes.len() {
            // Cut short anywhere: no panic, and never another message's kind.
            assert!(Message::parse(&bytes[..end]).is_none_or(|parsed| parsed.kind == Kind::Request));
        }
    }
}
