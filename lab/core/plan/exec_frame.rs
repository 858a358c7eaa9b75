//! Frames of `lab exec`: standard streams, signals and the end of a command, each with its kind and length.

/// The longest content of a frame. A sender splits what is longer.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Kind and length before the content.
const HEADER_BYTES: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            fn of(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// To the guest: bytes of standard input.
    Input = 1,
    /// To the guest: standard input has ended.
    InputEnd = 2,
    /// To the guest: one byte, the number of a signal for the command's process group.
    Signal = 3,
    /// To the guest: the end has arrived, with all before it.
    Acknowledged = 4,
    /// To the guest: rows and columns of the terminal, 16 bits each.
    Resize = 5,
    /// To the host: the command runs.
    Started = 16,
    /// To the host: bytes of standard output, or of the terminal.
    Stdout = 17,
    /// To the host: bytes of standard error.
    Stderr = 18,
    /// To the host: so many more bytes of input may be sent, 32 bits.
    Credit = 19,
    /// To the host: a file of the command's output folder, its name; its content follows. A name that ends in `/` is a
    /// folder.
    File = 20,
    /// To the host: bytes of the last file.
    FileData = 21,
    /// To the host: how the command ended, as JSON.
    End = 22,
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its content.
    pub content: Vec<u8>,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that does not exist.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// A length over the limit.
    #[error("a frame of {0} bytes, at most {FRAME_BYTES_MAX} are allowed")]
    Long(u32),
}

/// The bytes of one frame.
///
/// # Panics
/// When the content is longer than [`FRAME_BYTES_MAX`].
#[must_use]
pub fn encode(kind: Kind, content: &[u8]) -> Vec<u8> {
    assert!(content.len() <= FRAME_BYTES_MAX, "a frame is split by its sender");
    let length = u32::try_from(content.len()).expect("under the limit");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + content.len());
    bytes.push(kind as u8);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(content);
    bytes
}

/// Frames from bytes, however they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// Where the next frame begins.
    at: usize,
}

impl Frames {
    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame.
    ///
    /// # Errors
    /// The bytes are no frame; nothing after them can be read.
    pub fn take(&mut self) -> Result<Option<Frame>, FrameError> {
        let rest = &self.bytes[self.at..];
        let [number, a, b, c, d, content @ ..] = rest else { return Ok(None) };
        let kind = Kind::of(*number).ok_or(FrameError::Kind(*number))?;
        let length = u32::from_le_bytes([*a, *b, *c, *d]);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size > FRAME_BYTES_MAX {
            return Err(FrameError::Long(length));
        }
        let Some(content) = content.get(..size) else { return Ok(None) };
        let frame = Frame { kind, content: content.to_vec() };
        self.at += HEADER_BYTES + size;
        Ok(Some(frame))
    }

    /// Whether nothing is left, not even a part of a frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_kind_length_and_content() {
        assert_eq!(encode(Kind::Stdout, b"ab"), [17, 2, 0, 0, 0, b'a', b'b']);
        assert_eq!(encode(Kind::InputEnd, b""), [2, 0, 0, 0, 0]);
    }

    #[test]
    fn frames_are_whole_however_the_bytes_arrive() {
        let bytes =
            [encode(Kind::Stdout, b"one"), encode(Kind::Started, b""), encode(Kind::End, b"{}")].concat();
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for part in bytes.chunks(size) {
                frames.push(part);
                while let Some(frame) = frames.take().unwrap() {
                    got.push((frame.kind, frame.content));
                }
            }
            let expected = [(Kind::Stdout, &b"one"[..]), (Kind::Started, b""), (Kind::End, b"{}")];
            assert_eq!(got, expected.map(|(kind, content)| (kind, content.to_vec())), "in parts of {size}");
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn half_a_frame_is_left_over() {
        let mut frames = Frames::default();
        frames.push(&encode(Kind::Stdout, b"abc")[..6]);
        assert_eq!(frames.take(), Ok(None));
        assert!(!frames.is_empty());
    }

    #[rstest::rstest]
    #[case(&[0, 0, 0, 0, 0], FrameError::Kind(0))]
    #[case(&[6, 0, 0, 0, 0], FrameError::Kind(6))]
    #[case(&[17, 1, 0, 1, 0], FrameError::Long(65_537))]
    #[case(&[17, 255, 255, 255, 255], FrameError::Long(u32::MAX))]
    fn bytes_that_are_no_frame_are_rejected(#[case] bytes: &[u8], #[case] error: FrameError) {
        let mut frames = Frames::default();
        frames.push(bytes);
        assert_eq!(frames.take(), Err(error));
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for kind in Kind::ALL {
            let mut frames = Frames::default();
            frames.push(&encode(*kind, b"x"));
            assert_eq!(frames.take().unwrap().map(|frame| frame.kind), Some(*kind));
        }
    }
}
