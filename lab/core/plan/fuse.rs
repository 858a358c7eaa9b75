//! FUSE messages of a read-only file system, from bytes and to bytes (include/uapi/linux/fuse.h, protocol 7.31 and later).
//!
//! Everything is little-endian: guest and host are x86-64. A request that is not one of these is answered with `ENOSYS`.

/// `struct fuse_in_header`.
pub const REQUEST_HEADER_BYTES: usize = 40;
/// `struct fuse_out_header`.
pub const REPLY_HEADER_BYTES: usize = 16;
/// Longer than every request of a read-only file system: names have 255 bytes, and a batch of forgotten nodes fills the
/// buffer that /dev/fuse is read into at the most.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The most that one read or one piece of a directory may ask for: 32 pages.
pub const READ_BYTES_MAX: u32 = 32 * 4096;
/// The longest reply.
pub const REPLY_BYTES_MAX: usize = REPLY_HEADER_BYTES + READ_BYTES_MAX as usize;
/// The node of the root (`FUSE_ROOT_ID`).
pub const ROOT_NODE: u64 = 1;

/// The longest name of a directory entry.
const NAME_BYTES_MAX: usize = 255;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const READLINK: u32 = 5;
const READ: u32 = 15;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const READDIR: u32 = 28;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// FUSE_ASYNC_READ, FUSE_DO_READDIRPLUS left out, FUSE_PARALLEL_DIROPS, FUSE_MAX_PAGES, FUSE_CACHE_SYMLINKS.
const INIT_FLAGS: u32 = 1 | 1 << 18 | 1 << 22 | 1 << 23;
const MAJOR: u32 = 7;
/// FUSE_MAX_PAGES came with 7.28; all kernels since 5.4 have 7.31.
const MINOR: u32 = 31;
const MINOR_MIN: u32 = 28;

/// How long the guest may keep names and attributes, in s. The host's files are taken not to change under a command.
const VALID_S: u64 = 3600;

/// A request of the guest's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number, which the reply has too.
    pub unique: u64,
    /// The node it is about.
    pub node: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Agree on the protocol; the kernel's minor version.
    Init {
        /// Of major version 7.
        minor: u32,
    },
    /// The node of a name in a directory.
    Lookup {
        /// Neither empty nor `.` or `..`, without `/` and zero bytes.
        name: Vec<u8>,
    },
    /// Nodes that the kernel knows no more, and how many lookups of each it takes back. It has no reply.
    Forget {
        /// Node and number.
        nodes: Vec<(u64, u64)>,
    },
    /// Attributes.
    Attributes,
    /// Where a symbolic link leads.
    ReadLink,
    /// A part of a file.
    Read {
        /// From here.
        offset: u64,
        /// So much, [`READ_BYTES_MAX`] at the most.
        size: u32,
    },
    /// Entries of a directory.
    ReadDir {
        /// How many entries to leave out.
        offset: u64,
        /// Room for so many bytes, [`READ_BYTES_MAX`] at the most.
        size: u32,
    },
    /// The size of the file system.
    StatFs,
    /// A request that is about one under way. It has no reply.
    Interrupt,
    /// Anything else.
    Other {
        /// Its number.
        opcode: u32,
    },
}

/// A message that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Too short, too long, or not as long as it says.
    #[error("a FUSE message of {0} bytes")]
    Length(usize),
    /// A content that the kernel does not send.
    #[error("a malformed FUSE request with opcode {0}")]
    Malformed(u32),
    /// Another protocol.
    #[error("FUSE {0}.{1}; {MAJOR}.{MINOR_MIN} and later are supported")]
    Version(u32, u32),
}

/// The length of a message, from its first bytes.
///
/// # Errors
/// It is shorter than a header, or longer than [`REQUEST_BYTES_MAX`].
pub fn request_bytes(header: &[u8; REQUEST_HEADER_BYTES]) -> Result<usize, MessageError> {
    let length = u32_at(header, 0).map_or(usize::MAX, |length| length as usize);
    let is_valid = (REQUEST_HEADER_BYTES..=REQUEST_BYTES_MAX).contains(&length);
    if is_valid { Ok(length) } else { Err(MessageError::Length(length)) }
}

/// The length of a reply, from its first bytes.
///
/// # Errors
/// It is shorter than a header, or longer than [`REPLY_BYTES_MAX`].
pub fn reply_bytes(header: &[u8; REPLY_HEADER_BYTES]) -> Result<usize, MessageError> {
    let length = u32_at(header, 0).map_or(usize::MAX, |length| length as usize);
    let is_valid = (REPLY_HEADER_BYTES..=REPLY_BYTES_MAX).contains(&length);
    if is_valid { Ok(length) } else { Err(MessageError::Length(length)) }
}

/// Whether a request has a reply, by its first bytes (`fuse_dev_do_write()` takes none for these).
#[must_use]
pub fn has_reply(request: &[u8]) -> bool {
    !matches!(u32_at(request, 4), Some(FORGET | BATCH_FORGET | INTERRUPT))
}

impl Request {
    /// Reads one whole message.
    ///
    /// # Errors
    /// It is none. A request that is merely unknown is [`Ask::Other`].
    pub fn parse(message: &[u8]) -> Result<Self, MessageError> {
        let length = MessageError::Length(message.len());
        let (Some(stated), Some(opcode), Some(unique), Some(node)) =
            (u32_at(message, 0), u32_at(message, 4), u64_at(message, 8), u64_at(message, 16))
        else {
            return Err(length);
        };
        if message.len() < REQUEST_HEADER_BYTES
            || message.len() > REQUEST_BYTES_MAX
            || stated as usize != message.len()
        {
            return Err(length);
        }
        let body = &message[REQUEST_HEADER_BYTES..];
        let malformed = MessageError::Malformed(opcode);
        let ask = match opcode {
            INIT => {
                let (major, minor) = u32_at(body, 0).zip(u32_at(body, 4)).ok_or(malformed)?;
                if major != MAJOR || minor < MINOR_MIN {
                    return Err(MessageError::Version(major, minor));
                }
                Ask::Init { minor }
            }
            LOOKUP => Ask::Lookup { name: name(body).ok_or(malformed)? },
            FORGET => Ask::Forget { nodes: vec![(node, u64_at(body, 0).ok_or(malformed)?)] },
            BATCH_FORGET => Ask::Forget { nodes: batch(body).ok_or(malformed)? },
            GETATTR => Ask::Attributes,
            READLINK => Ask::ReadLink,
            READ | READDIR => {
                let (offset, size) = u64_at(body, 8).zip(u32_at(body, 16)).ok_or(malformed.clone())?;
                if size > READ_BYTES_MAX {
                    return Err(malformed);
                }
                if opcode == READ { Ask::Read { offset, size } } else { Ask::ReadDir { offset, size } }
            }
            STATFS => Ask::StatFs,
            INTERRUPT => Ask::Interrupt,
            // OPEN and OPENDIR are among these: a kernel that gets ENOSYS for them opens without asking from then on, and
            // keeps what it has read (fuse_file_open(): no_open, no_opendir).
            opcode => Ask::Other { opcode },
        };
        Ok(Self { unique, node, ask })
    }
}

/// A name as the kernel sends it: with one zero byte, at its end.
fn name(body: &[u8]) -> Option<Vec<u8>> {
    let name = body.strip_suffix(&[0])?;
    let is_bad = name.is_empty()
        || name.len() > NAME_BYTES_MAX
        || name == b"."
        || name == b".."
        || name.iter().any(|byte| matches!(byte, 0 | b'/'));
    (!is_bad).then(|| name.to_vec())
}

/// `struct fuse_batch_forget_in`, and so many `struct fuse_forget_one`.
fn batch(body: &[u8]) -> Option<Vec<(u64, u64)>> {
    let count = usize::try_from(u32_at(body, 0)?).ok()?;
    let entries = body.get(8..)?;
    if entries.len() / 16 < count {
        return None;
    }
    entries.chunks_exact(16).take(count).map(|entry| u64_at(entry, 0).zip(u64_at(entry, 8))).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// What `struct fuse_attr` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Number that tells files of one file system apart.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Last access, change of content, change of attributes: s and ns since 1970.
    pub times: [(i64, u32); 3],
    /// Kind and permissions, as `st_mode`.
    pub mode: u32,
    /// Names it has.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    fn put(&self, bytes: &mut Vec<u8>) {
        for number in [self.inode, self.size, self.blocks] {
            bytes.extend(number.to_le_bytes());
        }
        for (seconds, _) in self.times {
            bytes.extend(seconds.to_le_bytes());
        }
        for (_, nanoseconds) in self.times {
            bytes.extend(nanoseconds.to_le_bytes());
        }
        // Device number 0: a device of the host's is no device of the guest's.
        for number in [self.mode, self.links, self.uid, self.gid, 0, 4096, 0] {
            bytes.extend(number.to_le_bytes());
        }
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// As in [`Attributes`].
    pub inode: u64,
    /// `DT_*` of readdir(3).
    pub kind: u8,
    /// Its name.
    pub name: Vec<u8>,
}

/// A whole reply that has some content.
#[must_use]
pub fn reply(unique: u64, content: &[u8]) -> Vec<u8> {
    framed(unique, 0, content)
}

/// A whole reply that says why not; `errno` is a positive number.
#[must_use]
pub fn refusal(unique: u64, errno: i32) -> Vec<u8> {
    framed(unique, -errno, &[])
}

fn framed(unique: u64, error: i32, content: &[u8]) -> Vec<u8> {
    let length = REPLY_HEADER_BYTES + content.len();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(u32::try_from(length).expect("a reply is bounded").to_le_bytes());
    bytes.extend(error.to_le_bytes());
    bytes.extend(unique.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// `struct fuse_init_out`.
#[must_use]
pub fn init_content(minor: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for number in [MAJOR, minor.min(MINOR), READ_BYTES_MAX, INIT_FLAGS] {
        bytes.extend(number.to_le_bytes());
    }
    // max_background and congestion_threshold: 0 leaves the kernel's.
    bytes.extend([0; 4]);
    // max_write: nothing is written; the kernel wants a page at least. time_gran: 1 ns.
    for number in [4096_u32, 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(u16::try_from(READ_BYTES_MAX / 4096).expect("32").to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

/// `struct fuse_entry_out`: a name's node. Node 0 is a name that does not exist, which the kernel may keep as well.
#[must_use]
pub fn entry_content(node: u64, attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    for number in [node, 0, VALID_S, VALID_S, 0] {
        bytes.extend(number.to_le_bytes());
    }
    attributes.put(&mut bytes);
    bytes
}

/// `struct fuse_attr_out`.
#[must_use]
pub fn attributes_content(attributes: &Attributes) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(104);
    for number in [VALID_S, 0] {
        bytes.extend(number.to_le_bytes());
    }
    attributes.put(&mut bytes);
    bytes
}

/// `struct fuse_dirent`s from entry number `offset` on, as many as `size` has room for.
#[must_use]
pub fn directory_content(entries: &[Entry], offset: u64, size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = usize::try_from(offset).unwrap_or(usize::MAX);
    for (number, entry) in (1_u64..).zip(entries).skip(first) {
        let padded = (24 + entry.name.len()).next_multiple_of(8);
        if bytes.len() + padded > size as usize {
            break;
        }
        bytes.extend(entry.inode.to_le_bytes());
        bytes.extend(number.to_le_bytes());
        bytes.extend(u32::try_from(entry.name.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(u32::from(entry.kind).to_le_bytes());
        bytes.extend_from_slice(&entry.name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// `struct fuse_statfs_out`: no free room, names of 255 bytes.
#[must_use]
pub fn statfs_content() -> Vec<u8> {
    let mut bytes = vec![0; 40];
    for number in [4096, 255, 4096_u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.resize(80, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with the header that the kernel writes.
    fn message(opcode: u8, node: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(REQUEST_HEADER_BYTES + body.len()).unwrap();
        let mut bytes =
            vec![length, 0, 0, 0, opcode, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, node, 0, 0, 0, 0, 0, 0, 0];
        bytes.resize(REQUEST_HEADER_BYTES, 0);
        bytes.extend_from_slice(body);
        bytes
    }

    fn ask(opcode: u8, body: &[u8]) -> Result<Ask, MessageError> {
        Request::parse(&message(opcode, 5, body)).map(|request| {
            assert_eq!((request.unique, request.node), (7, 5));
            request.ask
        })
    }

    #[test]
    fn requests_of_the_kernel_are_read() {
        assert_eq!(ask(1, b"etc\0"), Ok(Ask::Lookup { name: b"etc".to_vec() }));
        assert_eq!(ask(2, &[3, 0, 0, 0, 0, 0, 0, 0]), Ok(Ask::Forget { nodes: vec![(5, 3)] }));
        assert_eq!(ask(3, &[0; 16]), Ok(Ask::Attributes));
        assert_eq!(ask(5, &[]), Ok(Ask::ReadLink));
        let mut read = [0; 40];
        read[9] = 0x10;
        read[17] = 0x20;
        assert_eq!(ask(15, &read), Ok(Ask::Read { offset: 4096, size: 8192 }));
        assert_eq!(ask(28, &read), Ok(Ask::ReadDir { offset: 4096, size: 8192 }));
        assert_eq!(ask(26, &[7, 0, 0, 0, 41, 0, 0, 0]), Ok(Ask::Init { minor: 41 }));
        assert_eq!(ask(17, &[]), Ok(Ask::StatFs));
        assert_eq!(ask(36, &[0; 8]), Ok(Ask::Interrupt));
        let two = [[2, 0, 0, 0, 0, 0, 0, 0], [9, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]];
        let two = [two.concat(), two[1..].concat()].concat();
        assert_eq!(ask(42, &two), Ok(Ask::Forget { nodes: vec![(9, 1), (9, 1)] }));
    }

    #[rstest::rstest]
    #[case::open(14)]
    #[case::opendir(27)]
    #[case::write(16)]
    #[case::create(35)]
    #[case::unlink(10)]
    #[case::setattr(4)]
    #[case::unknown(200)]
    fn whatever_else_is_asked_is_unknown(#[case] opcode: u8) {
        assert_eq!(ask(opcode, b"x\0"), Ok(Ask::Other { opcode: opcode.into() }));
    }

    #[rstest::rstest]
    #[case(b"")]
    #[case(b"\0")]
    #[case(b"etc")]
    #[case(b".\0")]
    #[case(b"..\0")]
    #[case(b"a/b\0")]
    #[case(b"a\0b\0")]
    fn a_name_that_is_no_name_is_malformed(#[case] body: &[u8]) {
        assert_eq!(ask(1, body), Err(MessageError::Malformed(1)));
    }

    #[test]
    fn a_name_may_have_255_bytes() {
        let name = |length: usize| {
            let mut message = message(1, 1, &[]);
            message.extend(vec![b'x'; length]);
            message.push(0);
            let length = u32::try_from(message.len()).unwrap();
            message[..4].copy_from_slice(&length.to_le_bytes());
            Request::parse(&message).map(drop)
        };
        assert_eq!(name(255), Ok(()));
        assert_eq!(name(256), Err(MessageError::Malformed(1)));
    }

    #[test]
    fn sizes_and_counts_over_the_limits_are_malformed() {
        let mut read = [0; 40];
        read[16..20].copy_from_slice(&(READ_BYTES_MAX + 1).to_le_bytes());
        assert_eq!(ask(15, &read), Err(MessageError::Malformed(15)));
        assert_eq!(ask(28, &read), Err(MessageError::Malformed(28)));
        assert_eq!(ask(42, &[255, 255, 255, 255, 0, 0, 0, 0]), Err(MessageError::Malformed(42)));
        assert_eq!(ask(15, &[0; 8]), Err(MessageError::Malformed(15)));
    }

    #[test]
    fn lengths_are_checked_before_anything_is_read() {
        assert_eq!(Request::parse(&[]), Err(MessageError::Length(0)));
        let mut short = message(3, 1, &[]);
        short[0] = 39;
        assert_eq!(Request::parse(&short), Err(MessageError::Length(40)));
        let header = |length: u32| {
            let mut header = [0; REQUEST_HEADER_BYTES];
            header[..4].copy_from_slice(&length.to_le_bytes());
            request_bytes(&header)
        };
        assert_eq!(header(40), Ok(40));
        assert_eq!(header(39), Err(MessageError::Length(39)));
        assert_eq!(header(u32::MAX), Err(MessageError::Length(u32::MAX as usize)));
        let mut reply = [0; REPLY_HEADER_BYTES];
        reply[..4].copy_from_slice(&15_u32.to_le_bytes());
        assert_eq!(reply_bytes(&reply), Err(MessageError::Length(15)));
    }

    #[test]
    fn another_protocol_is_rejected() {
        assert_eq!(ask(26, &[8, 0, 0, 0, 0, 0, 0, 0]), Err(MessageError::Version(8, 0)));
        assert_eq!(ask(26, &[7, 0, 0, 0, 23, 0, 0, 0]), Err(MessageError::Version(7, 23)));
    }

    #[test]
    fn replies_have_the_lengths_of_the_kernels_structures() {
        let attributes = Attributes { inode: 1, mode: 0o100_755, ..Attributes::default() };
        assert_eq!(init_content(41).len(), 64);
        assert_eq!(init_content(41)[..8], [7, 0, 0, 0, 31, 0, 0, 0]);
        assert_eq!(entry_content(2, &attributes).len(), 128);
        assert_eq!(attributes_content(&attributes).len(), 104);
        assert_eq!(statfs_content().len(), 80);
        let refused = refusal(9, 2);
        assert_eq!(refused, [16, 0, 0, 0, 254, 255, 255, 255, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reply(1, b"ab")[..4], [18, 0, 0, 0]);
    }

    #[test]
    fn a_directory_comes_in_parts_that_fit() {
        let entry = |inode, name: &str| Entry { inode, kind: 8, name: name.into() };
        let entries = [entry(11, "a"), entry(12, "long-name"), entry(13, "c")];
        let first = directory_content(&entries, 0, 80);
        assert_eq!(first.len(), 32 + 40);
        assert_eq!(
            first[..26],
            [11, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, b'a', 0]
        );
        let rest = directory_content(&entries, 2, 80);
        assert_eq!((rest.len(), rest[0], rest[8]), (32, 13, 3));
        assert!(directory_content(&entries, 3, 80).is_empty());
        assert!(directory_content(&entries, u64::MAX, 80).is_empty());
    }

    #[test]
    fn only_forgets_and_interrupts_have_no_reply() {
        for opcode in 0..=60 {
            let expected = ![2, 36, 42].contains(&opcode);
            assert_eq!(has_reply(&message(opcode, 1, &[])), expected, "opcode {opcode}");
        }
    }
}
