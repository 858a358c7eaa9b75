//! Bytes from a guest to whole lines of text, with a bound on each.

use std::collections::VecDeque;

/// A record is under 1 KiB and an echoed plan under 1 MiB; a guest must not fill the host's memory.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Lines that have arrived and the beginning of the next.
#[derive(Debug, Default)]
pub struct Lines {
    whole: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl Lines {
    /// Takes what has arrived.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(&bytes[..end]);
            self.whole.push_back(std::mem::take(&mut self.partial));
            bytes = &bytes[end + 1..];
        }
        self.partial.extend_from_slice(bytes);
    }

    /// The next whole line.
    ///
    /// # Errors
    /// What is wrong with it, when it is not text or has no end in sight.
    pub fn take(&mut self) -> Option<Result<String, String>> {
        if let Some(line) = self.whole.pop_front() {
            return Some(String::from_utf8(line).map_err(|error| excerpt(error.as_bytes())));
        }
        let is_endless = self.partial.len() > LINE_BYTES_MAX;
        is_endless.then(|| Err(format!("a line of more than {LINE_BYTES_MAX} bytes")))
    }

    /// Nothing is left, not even half a line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.partial.is_empty()
    }

    /// Says what is left, and forgets it.
    pub fn discard(&mut self) -> String {
        let first = self.whole.front().unwrap_or(&self.partial);
        let text =
            format!("{} unread lines and {} bytes, {}", self.whole.len(), self.partial.len(), excerpt(first));
        *self = Self::default();
        text
    }
}

/// Enough of a bad line to know where it came from.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    const BYTES_SHOWN: usize = 80;
    let shown = &bytes[..bytes.len().min(BYTES_SHOWN)];
    format!("{:?}", String::from_utf8_lossy(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        let text = b"one\n\ntwo \xc3\xa9\nhalf";
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            text.chunks(size).for_each(|chunk| lines.push(chunk));
            let got: Vec<String> = std::iter::from_fn(|| lines.take()).map(Result::unwrap).collect();
            assert_eq!(got, ["one", "", "two é"], "in pieces of {size}");
            assert!(!lines.is_empty());
            assert_eq!(lines.discard(), "0 unread lines and 4 bytes, \"half\"");
            assert!(lines.is_empty());
        }
    }

    #[test]
    fn what_is_not_text_or_never_ends_is_no_line() {
        let mut lines = Lines::default();
        lines.push(b"\xff\xfe\nok\n");
        assert!(lines.take().unwrap().is_err());
        assert_eq!(lines.take(), Some(Ok("ok".to_owned())));
        lines.push(&vec![b'x'; LINE_BYTES_MAX + 1]);
        assert!(lines.take().unwrap().unwrap_err().contains("more than"));
    }
}
