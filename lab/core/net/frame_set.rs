//! A set of frame numbers, kept as ranges: a flood of a million frames is a handful of them.
//!
//! `#[inline]`: bondlab-guest asks these for each frame, and is optimised in builds in which this package is not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Frame numbers of one flow. Ranges are ascending, apart, and both ends belong.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Frames(Vec<(u32, u32)>);

impl Frames {
    /// The numbers from 0 to `count - 1`.
    pub fn first(count: u32) -> Self {
        Self(if count == 0 { Vec::new() } else { vec![(0, count - 1)] })
    }

    /// Adds one number; `false` when it was there already.
    #[inline]
    pub fn insert(&mut self, number: u32) -> bool {
        // Frames come nearly in order: look at the last range first.
        let at = self.0.partition_point(|&(_, end)| end < number);
        if self.0.get(at).is_some_and(|&(start, _)| start <= number) {
            return false;
        }
        let joins_left = at > 0 && self.0[at - 1].1 + 1 == number;
        let joins_right = self.0.get(at).is_some_and(|&(start, _)| start == number + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = number,
            (false, true) => self.0[at].0 = number,
            (false, false) => self.0.insert(at, (number, number)),
        }
        true
    }

    /// How many numbers.
    #[inline]
    pub fn len(&self) -> u32 {
        self.0.iter().map(|&(start, end)| end - start + 1).sum()
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|&(start, end)| start..=end)
    }

    /// Numbers in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(a, b)), Some(&&(c, d))) = (left.peek(), right.peek()) {
            if a.max(c) <= b.min(d) {
                out.push((a.max(c), b.min(d)));
            }
            if b < d {
                left.next();
            } else {
                right.next();
            }
        }
        Self(out)
    }

    /// Numbers of this set that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Vec::new();
        for &(start, end) in &self.0 {
            let mut from = start;
            let mut done = false;
            for &(other_start, other_end) in other.0.iter().filter(|&&(s, e)| e >= start && s <= end) {
                if other_start > from {
                    out.push((from, other_start - 1));
                }
                if other_end >= end {
                    done = true;
                    break;
                }
                from = from.max(other_end + 1);
            }
            if !done {
                out.push((from, end));
            }
        }
        Self(out)
    }

    /// Numbers in either.
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<(u32, u32)> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut out: Vec<(u32, u32)> = Vec::new();
        for (start, end) in all {
            match out.last_mut() {
                Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => out.push((start, end)),
            }
        }
        Self(out)
    }

    /// Whether the ranges are ascending and apart, as everything here keeps them; false for a damaged record.
    pub fn is_sound(&self) -> bool {
        self.0.iter().all(|&(start, end)| start <= end)
            && self.0.windows(2).all(|pair| u64::from(pair[0].1) + 1 < u64::from(pair[1].0))
    }
}

impl FromIterator<u32> for Frames {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut frames = Self::default();
        for number in numbers {
            frames.insert(number);
        }
        frames
    }
}

impl fmt::Display for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (start, end)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if start == end { write!(f, "{comma}{start}")? } else { write!(f, "{comma}{start}-{end}")? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A small fixed generator: the same sets in each run.
    fn sets() -> impl Iterator<Item = (BTreeSet<u32>, BTreeSet<u32>)> {
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        (0..300).map(move |_| {
            let (left, right) = (next() % 20, next() % 20);
            ((0..left).map(|_| next() % 24).collect(), (0..right).map(|_| next() % 24).collect())
        })
    }

    #[test]
    fn it_is_a_set() {
        for (left, right) in sets() {
            let (a, b): (Frames, Frames) = (left.iter().copied().collect(), right.iter().copied().collect());
            let same = |frames: Frames, expected: Vec<u32>| {
                assert!(frames.is_sound(), "{frames:?} from {left:?} and {right:?}");
                assert_eq!(frames.iter().collect::<Vec<_>>(), expected, "{left:?} {right:?}");
                assert_eq!(frames.len() as usize, expected.len());
            };
            same(a.clone(), left.iter().copied().collect());
            same(a.intersection(&b), left.intersection(&right).copied().collect());
            same(a.difference(&b), left.difference(&right).copied().collect());
            same(a.union(&b), left.union(&right).copied().collect());
        }
    }

    #[test]
    fn a_number_counts_once() {
        let mut frames = Frames::first(3);
        assert!(!frames.insert(1));
        assert!(frames.insert(3));
        assert_eq!(frames.to_string(), "0-3");
    }

    #[test]
    fn damage_is_seen() {
        for text in ["[[5,3]]", "[[0,3],[3,4]]", "[[0,3],[4,5]]", "[[4,5],[0,1]]"] {
            assert!(!serde_json::from_str::<Frames>(text).unwrap().is_sound(), "{text}");
        }
    }
}
