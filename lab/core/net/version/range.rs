//! Ranges of kernels: `6.12..6.18`, `6.11..`, `..6.10`, or several, with commas between them.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::net::version::{KernelVersion, Running, Series};

/// Kernels that lie in one of some ranges, both ends included; a series has all it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct KernelRanges {
    ranges: Vec<(Option<Bound>, Option<Bound>)>,
    text: String,
}

/// Text that is no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no range of kernels: write 6.11.., ..6.10 or 6.12..6.18, or several with commas")]
pub struct RangeError(pub String);

/// An end of a range: a version, or a series with all it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// One kernel.
    Version(KernelVersion),
    /// All of a series.
    Series(Series),
}

impl Bound {
    /// Reads an end of a range.
    pub fn parse(text: &str) -> Option<Self> {
        let version = text.parse().map(Self::Version);
        version.or_else(|_| text.parse().map(Self::Series)).ok()
    }

    /// Whether a range that begins here can have that version.
    pub fn is_at_most(&self, version: &KernelVersion) -> bool {
        match self {
            Self::Version(bound) => bound <= version,
            Self::Series(bound) => *bound <= version.series(),
        }
    }

    /// Whether a range that ends here can have that version.
    pub fn is_at_least(&self, version: &KernelVersion) -> bool {
        match self {
            Self::Version(bound) => bound >= version,
            Self::Series(bound) => *bound >= version.series(),
        }
    }

    /// Whether it lies inside that series: then the series alone does not say on which side a kernel is.
    fn splits(&self, series: Series) -> bool {
        matches!(self, Self::Version(bound) if bound.series() == series)
    }
}

impl KernelRanges {
    /// Whether a kernel lies in one of them; `None` where only its series is known, and an end lies in that series.
    pub fn contain(&self, kernel: Running) -> Option<bool> {
        let ends = || self.ranges.iter().flat_map(|(from, to)| [from, to]).flatten();
        let version = match kernel {
            Running::Version(version) => version,
            Running::Series(series) if ends().any(|end| end.splits(series)) => return None,
            Running::Series(series) => series.first(),
        };
        let holds = |(from, to): &(Option<Bound>, Option<Bound>)| {
            from.is_none_or(|bound| bound.is_at_most(&version))
                && to.is_none_or(|bound| bound.is_at_least(&version))
        };
        Some(self.ranges.iter().any(holds))
    }
}

impl FromStr for KernelRanges {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError(text.to_owned());
        let end = |text: &str| match text {
            "" => Ok(None),
            _ => Bound::parse(text).map(Some).ok_or_else(wrong),
        };
        let range = |item: &str| {
            let (from, to) = item.trim().split_once("..").ok_or_else(wrong)?;
            let (from, to) = (end(from)?, end(to)?);
            let is_empty = match (&from, &to) {
                (None, None) => return Err(wrong()),
                (Some(Bound::Version(from)), Some(to)) => !to.is_at_least(from),
                (Some(Bound::Series(from)), Some(to)) => !to.is_at_least(&from.first()),
                _ => false,
            };
            if is_empty { Err(wrong()) } else { Ok((from, to)) }
        };
        let ranges = text.split(',').map(range).collect::<Result<_, _>>()?;
        Ok(Self { ranges, text: text.to_owned() })
    }
}

impl fmt::Display for KernelRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for KernelRanges {
    type Error = RangeError;

    fn try_from(text: String) -> Result<Self, RangeError> {
        text.parse()
    }
}

impl From<KernelRanges> for String {
    fn from(ranges: KernelRanges) -> Self {
        ranges.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_inside_and_a_series_is_whole() {
        for (range, inside, outside) in [
            ("6.11..", "6.11.0 6.12.57 7.3-rc1", "6.10.14 5.10.262"),
            ("..6.10", "5.10.262 6.10.99", "6.11.0 6.11-rc1"),
            ("6.12..6.18", "6.12-rc7 6.12.57 6.18.15", "6.11.9 6.19.0"),
            ("6.12.57..6.12.117", "6.12.57 6.12.117", "6.12.56 6.12.118"),
            ("..5.10,6.12..6.12, 7.3..", "5.10.1 6.12.57 7.3.4", "5.15.1 6.11.1 6.18.15"),
        ] {
            let ranges: KernelRanges = range.parse().unwrap();
            for (versions, expected) in [(inside, true), (outside, false)] {
                for version in versions.split(' ') {
                    let kernel = Running::of("host", version).unwrap();
                    assert_eq!(ranges.contain(kernel), Some(expected), "{range} {version}");
                }
            }
        }
    }

    #[test]
    fn a_series_alone_does_not_tell_on_which_side_of_a_version_a_kernel_is() {
        let debian = Running::of("host", "6.1.0-28-amd64").unwrap();
        for (range, expected) in
            [("6.1.50..", None), ("6.1..", Some(true)), ("6.2.5..", Some(false)), ("..6.0.9", Some(false))]
        {
            assert_eq!(range.parse::<KernelRanges>().unwrap().contain(debian), expected, "{range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "..", "6.11", "6.12.57", "6.x..", "6.18..6.12", "6.12.57..6.12.56", "6.11..,", "quick"]
        {
            assert_eq!(text.parse::<KernelRanges>(), Err(RangeError(text.to_owned())), "{text}");
        }
    }
}
