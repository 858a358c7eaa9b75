//! A text without what tells whose machine it is of: Ethernet addresses, public IP addresses, host names and serial numbers are
//! replaced, the same everywhere in the text.
//!
//! An Ethernet address keeps its first octet (whether it is local, or a group's), its vendor becomes another one, and the order of
//! addresses stays: bonds and bridges choose by it. A public IP address keeps its place in its network, networks their order.
//! Private addresses stay. Addresses that were made of Ethernet addresses (EUI-64) follow these.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::capture::addresses::{Networks, V4, V6};

/// Why a text cannot be masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// There are more public networks than there is room for.
    #[error(
        "the text has more public networks than there are addresses to replace them\nhint: mask a part of it"
    )]
    TooManyNetworks,
}

/// Words of outputs, which a machine may have as its name.
const PLAIN: [&str; 14] = [
    "localhost",
    "linux",
    "link",
    "node",
    "bond",
    "vlan",
    "bridge",
    "dev",
    "default",
    "kernel",
    "server",
    "host",
    "lab",
    "none",
];
/// What a serial number stands behind.
const SERIAL: [&str; 6] =
    ["serial_number", "serial number", "vendor sn", "serial:", "board_serial", "serialno"];
/// What an identity in hexadecimal digits stands behind, in `ip -d link`.
const IDENTITY: [&str; 4] = ["portid", "switchid", "phys_port_id", "phys_switch_id"];

type MacBytes = [u8; 6];

/// A part of the text that may have to be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Mac(MacBytes),
    /// More bytes than an Ethernet address has: the last eight tell the machine (InfiniBand).
    Long(Vec<u8>),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// Replaces all of it. `names` are host names; those that the text's own prompts and `uname -a` show are found.
///
/// # Errors
/// [`MaskError`].
pub fn mask(text: &str, names: &[String]) -> Result<String, MaskError> {
    let plan = Plan::new(text)?;
    let addresses = rewritten(text, |token| plan.replace(token));
    let words = words(text, names);
    let mut out = String::with_capacity(addresses.len());
    let (mut serials, mut aliases) = (Numbered::new("serial"), Numbered::new("alias"));
    for line in addresses.split_inclusive('\n') {
        let line = replaced_words(line, &words);
        let line = identities(&line, &plan);
        let line = behind(&line, &SERIAL, &mut serials);
        out += &alias(&line, &mut aliases);
    }
    Ok(out)
}

/// Numbers for values, in the order of the text.
struct Numbered {
    word: &'static str,
    known: BTreeMap<String, usize>,
}

impl Numbered {
    fn new(word: &'static str) -> Self {
        Self { word, known: BTreeMap::new() }
    }

    fn of(&mut self, value: &str) -> String {
        let next = self.known.len() + 1;
        format!("{}{}", self.word, self.known.entry(value.to_owned()).or_insert(next))
    }
}

/// What takes the place of what.
struct Plan {
    macs: BTreeMap<MacBytes, MacBytes>,
    v4: Networks,
    v6: Networks,
    /// The lower halves of public IPv6 addresses that chance has made.
    halves: BTreeMap<u64, u64>,
    long: BTreeMap<u64, u64>,
}

impl Plan {
    fn new(text: &str) -> Result<Self, MaskError> {
        let mut macs = BTreeSet::new();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut halves, mut long) = (BTreeSet::new(), BTreeSet::new());
        tokens(text, |token, prefix| match token {
            Token::Mac(mac) => drop(macs.insert(*mac)),
            Token::Long(bytes) => drop(long.insert(tail(bytes))),
            Token::V4(address) if is_public_v4(*address) => {
                v4.push((u128::from(u32::from(*address)), prefix))
            }
            Token::V4(_) => {}
            Token::V6(address) => {
                let half = lower_half(*address);
                match mac_of(half) {
                    Some(mac) => drop(macs.insert(mac)),
                    None if is_public_v6(*address) && half >> 32 != 0 => drop(halves.insert(half)),
                    None => {}
                }
                if is_public_v6(*address) {
                    v6.push((u128::from(*address), prefix));
                }
            }
        });
        for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
            macs.extend(word.strip_prefix("enx").and_then(hex_mac));
            if is_identity_of_mac(word) {
                macs.extend(hex_mac(word));
            }
        }
        Ok(Self {
            macs: masked_macs(&macs),
            v4: V4.plan(v4).ok_or(MaskError::TooManyNetworks)?,
            v6: V6.plan(v6).ok_or(MaskError::TooManyNetworks)?,
            halves: counted(&halves, 1 << 32),
            long: counted(&long, 0),
        })
    }

    /// What takes a token's place; `None` if it stays.
    fn replace(&self, token: &Token) -> Option<String> {
        match token {
            Token::Mac(mac) => self.macs.get(mac).map(|masked| colons(masked)),
            Token::Long(bytes) => {
                let kept = bytes.len() - 8;
                let masked = self.long.get(&tail(bytes))?;
                let all: Vec<u8> = bytes[..kept].iter().copied().chain(masked.to_be_bytes()).collect();
                Some(colons(&all))
            }
            Token::V4(address) => {
                let masked =
                    self.v4.of(u128::from(u32::from(*address))).filter(|_| is_public_v4(*address))?;
                Some(Ipv4Addr::from(u32::try_from(masked).ok()?).to_string())
            }
            Token::V6(address) => self.v6(*address).map(|masked| masked.to_string()),
        }
    }

    fn v6(&self, address: Ipv6Addr) -> Option<Ipv6Addr> {
        let half = lower_half(address);
        let masked_half = match mac_of(half) {
            Some(mac) => self.macs.get(&mac).map_or(half, half_of),
            None => self.halves.get(&half).copied().filter(|_| is_public_v6(address)).unwrap_or(half),
        };
        let whole = u128::from(address);
        let masked = if is_public_v6(address) { self.v6.of(whole).unwrap_or(whole) } else { whole };
        let masked = Ipv6Addr::from(masked & !u128::from(u64::MAX) | u128::from(masked_half));
        (masked != address).then_some(masked)
    }
}

/// Each gets its number, in the order of their values.
fn counted(all: &BTreeSet<u64>, from: u64) -> BTreeMap<u64, u64> {
    all.iter().zip(1u64..).map(|(value, number)| (*value, from + number)).collect()
}

/// Vendors and addresses get numbers within the first octet and the vendor, in their order.
fn masked_macs(macs: &BTreeSet<MacBytes>) -> BTreeMap<MacBytes, MacBytes> {
    let mut masked = BTreeMap::new();
    let (mut vendor, mut vendors, mut address): ([u8; 3], u16, u32) = ([0; 3], 0, 0);
    for mac in macs.iter().filter(|mac| is_masked(mac)) {
        let own = [mac[0], mac[1], mac[2]];
        if masked.is_empty() || own != vendor {
            vendors = if masked.is_empty() || own[0] != vendor[0] { 1 } else { vendors + 1 };
            (vendor, address) = (own, 0);
        }
        address += 1;
        let [_, a, b, c] = address.to_be_bytes();
        let [high, low] = vendors.to_be_bytes();
        masked.insert(*mac, [mac[0], high, low, a, b, c]);
    }
    masked
}

/// Addresses that are the same on each machine stay: none, all, IANA's block, groups but those made of an IPv6 address.
fn is_masked(mac: &MacBytes) -> bool {
    let is_group = mac[0] & 1 == 1 && !mac.starts_with(&[0x33, 0x33, 0xff]);
    *mac != [0; 6] && !is_group && !mac.starts_with(&[0, 0, 0x5e])
}

fn tail(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take(8).rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

fn colons(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn lower_half(address: Ipv6Addr) -> u64 {
    u128::from(address) as u64
}

/// The Ethernet address of which a half was made (RFC 4291, appendix A).
fn mac_of(half: u64) -> Option<MacBytes> {
    let [a, b, c, 0xff, 0xfe, d, e, f] = half.to_be_bytes() else { return None };
    Some([a ^ 2, b, c, d, e, f])
}

fn half_of(mac: &MacBytes) -> u64 {
    let [a, b, c, d, e, f] = *mac;
    u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_own = address.is_private() || address.is_loopback() || address.is_link_local() || is_shared;
    !(is_own || address.is_multicast() || address.is_documentation() || a == 0 || a >= 224)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_documentation = first == 0x2001 && second == 0xdb8;
    first >> 13 == 1 && !is_documentation
}

/// `52:54:00:12:34:56`, `2001:db8::1`, `192.0.2.1`: what may be in a run of these characters.
fn token(run: &str) -> Option<Token> {
    if run.contains(':') {
        let groups: Vec<&str> = run.split(':').collect();
        let is_bytes = groups.iter().all(|group| group.len() == 2);
        let bytes: Option<Vec<u8>> = groups
            .iter()
            .map(|group| u8::from_str_radix(group, 16).ok())
            .collect::<Option<_>>()
            .filter(|_| is_bytes);
        return match bytes {
            Some(bytes) if bytes.len() == 6 => Some(Token::Mac(bytes.try_into().ok()?)),
            Some(bytes) if bytes.len() >= 8 => Some(Token::Long(bytes)),
            _ => run.parse().ok().map(Token::V6),
        };
    }
    run.parse().ok().map(Token::V4)
}

/// The token in a run, with its place and length: before a sentence's end, before a port, behind a bridge's priority.
fn in_run(run: &str) -> Option<(usize, usize, Token)> {
    let run = run.trim_end_matches('.');
    let run = run.strip_suffix(':').filter(|run| !run.ends_with(':')).unwrap_or(run);
    if let Some(token) = token(run) {
        return Some((0, run.len(), token));
    }
    if let Some((host, port)) = run.split_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return host.parse().ok().map(|address| (0, host.len(), Token::V4(address)));
    }
    // `ip -d link` prints a bridge's id without leading zeros: 8000.52:54:0:12:34:56.
    let (priority, mac) = run.split_once('.')?;
    let octets: Option<Vec<u8>> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16).ok()).collect();
    Some((priority.len() + 1, mac.len(), Token::Mac(octets?.try_into().ok()?)))
}

/// Calls for each run of hexadecimal digits, colons and dots that is a token, with its place and the prefix behind it.
fn each_token(text: &str, mut found: impl FnMut(usize, usize, Token, Option<u8>)) {
    let bytes = text.as_bytes();
    let is_run = |byte: u8| byte.is_ascii_hexdigit() || byte == b':' || byte == b'.';
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut at = 0;
    while at < bytes.len() {
        if !is_run(bytes[at]) || (at > 0 && is_word(bytes[at - 1])) {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().take_while(|byte| is_run(**byte)).count();
        let is_whole = bytes.get(end).is_none_or(|byte| !is_word(*byte));
        if let Some((from, len, token)) = in_run(&text[at..end]).filter(|_| is_whole) {
            let (from, to) = (at + from, at + from + len);
            let rest = text[to..].strip_prefix('/').unwrap_or_default();
            let digits: String = rest.chars().take(3).take_while(char::is_ascii_digit).collect();
            found(from, to, token, digits.parse().ok());
        }
        at = end.max(at + 1);
    }
}

fn tokens(text: &str, mut found: impl FnMut(&Token, Option<u8>)) {
    each_token(text, |_, _, token, prefix| found(&token, prefix));
}

fn rewritten(text: &str, replace: impl Fn(&Token) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    each_token(text, |from, to, token, _| {
        if let Some(masked) = replace(&token) {
            out += &text[done..from];
            out += &masked;
            done = to;
        }
    });
    out + &text[done..]
}

/// Host names with what takes their places, the longest first.
fn words(text: &str, names: &[String]) -> Vec<(String, String)> {
    let found = text.lines().filter_map(|line| of_uname(line).or_else(|| of_prompt(line)));
    let mut hosts: Vec<String> = Vec::new();
    for name in names.iter().map(String::as_str).chain(found) {
        let first = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
        let is_name =
            first.len() > 2 && !PLAIN.contains(&first.as_str()) && !first.bytes().all(|b| b.is_ascii_digit());
        if is_name && !hosts.contains(&first) {
            hosts.push(first);
        }
    }
    let mut words: Vec<(String, String)> =
        hosts.into_iter().zip(1..).map(|(name, number)| (name, format!("host{number}"))).collect();
    words.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    words
}

/// The name in `Linux NAME 6.12.57 #1 SMP ...`.
fn of_uname(line: &str) -> Option<&str> {
    let mut words = line.trim().strip_prefix("Linux ")?.split(' ');
    let (name, release) = (words.next()?, words.next()?);
    (release.starts_with(|c: char| c.is_ascii_digit()) && release.contains('.')).then_some(name)
}

/// The name in `user@NAME:~# ip link` and `[user@NAME ~]$ ip link`.
fn of_prompt(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches('[');
    let (user, rest) = line.split_once('@')?;
    let is_user =
        !user.is_empty() && user.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let end = rest.find([':', ' '])?;
    let (name, rest) = rest.split_at(end);
    let is_prompt = ["# ", "$ "].iter().any(|end| rest.contains(end)) || rest.ends_with(['#', '$']);
    (is_user && is_prompt).then_some(name)
}

/// Each of the words, as a word of its own, with the domain behind it.
fn replaced_words(line: &str, words: &[(String, String)]) -> String {
    let mut line = line.to_owned();
    let is_part = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    for (name, masked) in words {
        let mut from = 0;
        // Same length: only ASCII letters are changed.
        while let Some(at) = line[from..].to_ascii_lowercase().find(name.as_str()).map(|at| from + at) {
            let mut end = at + name.len();
            let bytes = line.as_bytes();
            let is_within = at > 0 && is_part(bytes.get(at - 1));
            let is_whole = !is_within && !is_part(bytes.get(end));
            if !is_whole {
                from = end;
                continue;
            }
            while bytes.get(end) == Some(&b'.') && is_part(bytes.get(end + 1)) {
                end += 1 + bytes[end + 1..].iter().take_while(|byte| is_part(Some(byte))).count();
            }
            line.replace_range(at..end, masked);
            from = at + masked.len();
        }
    }
    line
}

fn hex_mac(digits: &str) -> Option<MacBytes> {
    let is_hex = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    number.to_be_bytes()[2..].try_into().ok()
}

/// Whether twelve digits may be an Ethernet address: a counter has no letters.
fn is_identity_of_mac(word: &str) -> bool {
    hex_mac(word).is_some() && word.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Names of NICs made of their addresses (`enx525400123456`), and identities of ports and switches.
fn identities(line: &str, plan: &Plan) -> String {
    let mut out = String::with_capacity(line.len());
    let mut before = String::new();
    for part in line.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let digits = word.strip_prefix("enx").unwrap_or(word);
        let masked = hex_mac(digits).and_then(|mac| plan.macs.get(&mac));
        let is_id = IDENTITY.contains(&before.as_str()) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        match masked {
            Some(masked) if word.starts_with("enx") || is_id || is_identity_of_mac(word) => {
                let digits: String = masked.iter().map(|byte| format!("{byte:02x}")).collect();
                out += &part.replace(word.trim_start_matches("enx"), &digits);
            }
            // Of another length: what it begins with is the vendor's.
            None if is_id && !word.is_empty() => out += &part.replace(word, &"0".repeat(word.len())),
            _ => out += part,
        }
        word.clone_into(&mut before);
    }
    out
}

/// The word behind one of these.
fn behind(line: &str, keys: &[&str], numbered: &mut Numbered) -> String {
    let lower = line.to_ascii_lowercase();
    let Some(end) = keys.iter().find_map(|key| lower.find(key).map(|at| at + key.len())) else {
        return line.to_owned();
    };
    let rest = &line[end..];
    let start = rest.len() - rest.trim_start_matches([':', '=', '"', ' ', '\t']).len();
    let value = rest[start..].split([' ', '\t', '"', ',', '\n', '\r']).next().unwrap_or_default();
    if value.is_empty() || value.starts_with(numbered.word) {
        return line.to_owned();
    }
    let masked = numbered.of(value);
    format!("{}{}{masked}{}", &line[..end], &rest[..start], &rest[start + value.len()..])
}

/// A link's alias is free text: whose line it is, and at which carrier.
fn alias(line: &str, numbered: &mut Numbered) -> String {
    match line.trim_start().strip_prefix("alias ") {
        Some(text) if line.starts_with("    alias ") => {
            format!("    alias {}{}", numbered.of(text.trim_end()), &line[line.trim_end().len()..])
        }
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "fool@node7:~# ip -d link\n\
        2: enp2s0: <BROADCAST,UP> mtu 1500 master bond0\n    \
        link/ether b4:96:91:aa:bb:02 brd ff:ff:ff:ff:ff:ff permaddr b4:96:91:aa:bb:01 portid b49691aabb01\n    \
        alias carrier X, circuit 4711\n    \
        bridge_id 8000.b4:96:91:aa:bb:1 root 8000.b4:96:91:aa:bb:03\n    \
        inet 8.8.4.20/26 brd 8.8.4.63 scope global\n    inet 10.1.2.3/8 scope global\n    \
        inet6 2a01:4f8:1:2:b696:91ff:feaa:bb02/64 scope global\n    inet6 fe80::b696:91ff:feaa:bb02/64 scope link\n\
        3: enxb49691aabb03: <UP>\ndefault via 8.8.4.1 dev bond0\n\
        Linux node7.example.net 6.12.57 #1 SMP\nserial_number: ABC-17\nboard.serial_number ABC-17\nnode7 said 8.8.4.20:22.\n";

    fn masked() -> String {
        mask(TEXT, &[]).expect("there is room")
    }

    #[test]
    fn nothing_that_tells_the_machine_is_left() {
        let text = masked();
        for secret in
            ["96:91", "9691", "8.8.4", "2a01:4f8", "91ff:feaa", "node7", "example.net", "ABC-17", "4711"]
        {
            assert!(!text.contains(secret), "{secret} is in\n{text}");
        }
        for kept in ["10.1.2.3/8", "ff:ff:ff:ff:ff:ff", "brd 198.18.0.63", "enp2s0", "6.12.57", "fe80::"] {
            assert!(text.contains(kept), "{kept} is not in\n{text}");
        }
    }

    #[test]
    fn one_value_is_replaced_alike_everywhere() {
        let text = masked();
        assert_eq!(text.matches("b4:00:01:00:00:02").count(), 1, "{text}");
        assert_eq!(text.matches("b600:1ff:fe00:2").count(), 2, "of EUI-64, public and link-local: {text}");
        assert_eq!(text.matches("b40001000001").count(), 1, "portid: {text}");
        assert_eq!(text.matches("enxb40001000003").count(), 1, "{text}");
        assert_eq!(text.matches("serial1").count(), 2, "{text}");
        assert_eq!(text.matches("host1").count(), 3, "{text}");
        assert_eq!(text.matches("198.18.0.20").count(), 2, "{text}");
    }

    #[test]
    fn addresses_keep_their_order_and_their_first_octet() {
        let macs = [
            "02:00:00:00:00:09",
            "00:1b:21:00:00:02",
            "00:1b:21:00:00:01",
            "00:0c:29:ff:ff:ff",
            "02:00:00:00:00:01",
        ];
        let text = mask(&macs.join(" "), &[]).expect("there is room");
        let masked: Vec<&str> = text.split(' ').collect();
        for (one, own) in macs.iter().zip(&masked) {
            for (other, theirs) in macs.iter().zip(&masked) {
                assert_eq!(one.cmp(other), own.cmp(theirs), "{one} and {other} became {own} and {theirs}");
                assert_eq!(one[..8] == other[..8], own[..8] == theirs[..8], "vendors");
            }
            assert_eq!(one[..2], own[..2]);
        }
    }

    #[test]
    fn a_masked_text_is_masked_already() {
        let once = masked();
        assert_eq!(mask(&once, &[]).expect("there is room"), once);
    }

    #[test]
    fn numbers_times_and_versions_stay() {
        let text =
            "12:34:56 1.2.3 6.12.57-talos 0000:01:00.0 cafe: 8000 :: ::1 1:2 0x1f a.b firmware 2.5-14\n";
        assert_eq!(mask(text, &[]).expect("there is room"), text);
    }

    #[test]
    fn infiniband_addresses_keep_what_is_no_machine_s() {
        let text = "link/infiniband 80:00:00:48:fe:80:00:00:00:00:00:00:e4:1d:2d:03:00:12:34:56 brd\n";
        let text = mask(text, &[]).expect("there is room");
        assert_eq!(text, "link/infiniband 80:00:00:48:fe:80:00:00:00:00:00:00:00:00:00:00:00:00:00:01 brd\n");
    }
}
