//! A checksum over the records of a run, in their order. The last record has it: one that is lost, doubled, moved or altered on
//! its way is noticed, whatever the others say.
//!
//! It is FNV-1a of 64 bits over each record's line. That is for damage, and not against a guest that lies: one can say anything.

use std::borrow::Cow;

use crate::net::clean;
use crate::plan::record::Record;

/// FNV-1a, 64 bits: offset basis and prime.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The checksum of the records that were added so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(BASIS)
    }
}

impl Digest {
    /// Adds a record. What it counts is the text as the host has it, which is cleaned when it is read.
    pub fn add(&mut self, record: &Record) {
        let line = serde_json::to_string(record).expect("a record has text keys only");
        let line: Cow<'_, str> = clean::json(&line, &[]);
        for byte in line.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }

    /// Of all records before the last.
    #[must_use]
    pub fn of(records: &[Record]) -> u64 {
        let mut digest = Self::default();
        records.iter().for_each(|record| digest.add(record));
        digest.value()
    }

    /// The checksum.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_unsafe_text_has_the_same_digest_on_both_sides() {
        let said = "a\u{1b}[2J\n\"b\"\\u{1b}\\\u{202e}\t\u{e9}";
        let record = Record::Missing { what: vec![said.into()] };
        let line = serde_json::to_string(&record).unwrap();
        let read: Record = serde_json::from_str(&clean::json(&line, &[])).unwrap();
        assert_ne!(read, record, "nothing was cleaned");
        assert_eq!(Digest::of(&[read]), Digest::of(&[record]));
    }

    #[test]
    fn order_and_number_of_records_count() {
        let [one, two] = [0, 1].map(|trial| Record::TrialStarted { trial });
        let digests = [
            Digest::of(&[]),
            Digest::of(std::slice::from_ref(&one)),
            Digest::of(&[one.clone(), two.clone()]),
            Digest::of(&[two.clone(), one.clone()]),
            Digest::of(&[one.clone(), one, two]),
        ];
        for (number, digest) in digests.iter().enumerate() {
            assert!(!digests[..number].contains(digest), "{number}");
        }
    }
}
