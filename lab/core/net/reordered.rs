//! Frames that arrive behind one of a higher number: RFC 4737, 3.3, with the numbers of the lab.

/// How many frames were overtaken, of frames that are noted as they arrive, each number once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reordered {
    /// One more than the highest number so far ("NextExp").
    next: u64,
    count: u32,
}

impl Reordered {
    /// Notes a frame.
    #[inline]
    pub fn note(&mut self, sequence: u32) {
        if u64::from(sequence) < self.next {
            self.count = self.count.saturating_add(1);
        } else {
            self.next = u64::from(sequence) + 1;
        }
    }

    /// How many arrived behind one of a higher number.
    #[inline]
    pub fn count(self) -> u32 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(arrivals: &[u32]) -> u32 {
        let mut reordered = Reordered::default();
        arrivals.iter().for_each(|sequence| reordered.note(*sequence));
        reordered.count()
    }

    #[test]
    fn what_is_overtaken_counts_and_a_gap_does_not() {
        for (arrivals, expected) in [
            (&[][..], 0),
            (&[0, 1, 2, 3], 0),
            (&[0, 3, 7, u32::MAX], 0),
            // The examples of RFC 4737, 7.1 and 7.2: one late frame, and two.
            (&[1, 2, 3, 5, 4, 6], 1),
            (&[1, 4, 2, 3, 5], 2),
            // Two paths, one of them slower: all of the slower one but what came after the last of the other.
            (&[0, 2, 4, 6, 1, 3, 5, 7], 3),
        ] {
            assert_eq!(count(arrivals), expected, "{arrivals:?}");
        }
    }
}
