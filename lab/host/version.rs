//! The version of a kernel: `6.12.57`, `7.3-rc7`.

use std::fmt;
use std::str::FromStr;

/// An upstream kernel version. A release candidate sorts before its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    series: Series,
    /// Candidates count from 1; a release is `u32::MAX`, after all of them.
    candidate: u32,
    patch: u32,
}

/// The first two numbers of a version: `6.12`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series(u32, u32);

/// Text that is no version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a kernel version: write it as 6.12.57 or 7.3-rc7")]
pub struct VersionError(pub String);

impl KernelVersion {
    /// Its first two numbers.
    pub fn series(&self) -> Series {
        self.series
    }
}

impl FromStr for Series {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let numbers = text.split_once('.').and_then(|(a, b)| Some(Series(number(a)?, number(b)?)));
        numbers.ok_or_else(|| VersionError(text.to_owned()))
    }
}

impl FromStr for KernelVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let parse = || {
            if let Some((series, candidate)) = text.split_once("-rc") {
                let series = series.parse().ok()?;
                return Some(KernelVersion { series, candidate: number(candidate)?, patch: 0 });
            }
            let (series, patch) = text.rsplit_once('.')?;
            let series = series.parse().ok()?;
            Some(KernelVersion { series, candidate: u32::MAX, patch: number(patch)? })
        };
        parse().ok_or_else(|| VersionError(text.to_owned()))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.candidate {
            u32::MAX => write!(f, "{}.{}", self.series, self.patch),
            candidate => write!(f, "{}-rc{candidate}", self.series),
        }
    }
}

/// Digits only, no sign, so that every version has one spelling.
fn number(text: &str) -> Option<u32> {
    let canonical = text == "0" || !text.starts_with('0');
    (canonical && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_as_released() {
        let sorted =
            ["5.10.262", "6.1.192", "6.12.57", "6.12.117", "7.2.12", "7.3-rc1", "7.3-rc7", "7.3.0", "7.3.4"];
        let versions: Vec<KernelVersion> = sorted.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted());
        let back: Vec<String> = versions.iter().map(ToString::to_string).collect();
        assert_eq!(back, sorted);
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "6", "6.12", "6.12.", "6.12.x", "6.12.+7", "6.012.3", "7.3-rc", "6.12.57.1"] {
            assert!(text.parse::<KernelVersion>().is_err(), "{text}");
        }
    }
}
