//! A reader with a budget: what a package unpacks to is bounded, whatever it says of itself.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Most bytes that a package may unpack to. A generic kernel with its modules has half a gigabyte, Debian's source packages
/// hold 170 MB.
pub const UNPACKED_BYTES_MAX: u64 = 4 << 30;

/// Reads from another reader until the budget is used up, and fails then.
#[derive(Debug)]
pub struct Limited<R> {
    inner: R,
    budget: Budget,
}

/// How many bytes may still be read; the owner can look at it and change it while a parser holds the reader.
#[derive(Debug, Clone)]
pub struct Budget(Rc<Cell<u64>>);

impl<R: Read> Limited<R> {
    /// A reader of at most so many bytes of `inner`.
    pub fn new(inner: R, bytes_max: u64) -> Self {
        Self { inner, budget: Budget(Rc::new(Cell::new(bytes_max))) }
    }

    /// The budget of this reader.
    pub fn budget(&self) -> Budget {
        self.budget.clone()
    }
}

impl Budget {
    /// What is left.
    pub fn left(&self) -> u64 {
        self.0.get()
    }

    /// Sets what is left.
    pub fn set(&self, bytes: u64) {
        self.0.set(bytes);
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // One byte more than is left may be asked for: only who has it is over the limit.
        let wanted = usize::try_from(self.budget.left().saturating_add(1)).unwrap_or(usize::MAX);
        let count = buffer.len().min(wanted);
        let got = self.inner.read(&mut buffer[..count])?;
        match self.budget.left().checked_sub(got as u64) {
            Some(left) => self.budget.set(left),
            None => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more bytes than are read"));
            }
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up_and_not_exceeded() {
        let read = |bytes_max| {
            let mut bytes = Vec::new();
            Limited::new(&b"12345"[..], bytes_max).read_to_end(&mut bytes).map(|_| bytes)
        };
        assert_eq!(read(5).unwrap(), b"12345");
        assert_eq!(read(9).unwrap(), b"12345");
        assert_eq!(read(4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
