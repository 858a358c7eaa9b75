//! The version of a kernel: `6.12.57`, `7.3-rc7`.

pub(crate) mod range;

use std::fmt;
use std::str::FromStr;

pub use crate::net::version::range::{Bound, KernelRanges, RangeError};

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

impl Series {
    /// The series of two numbers.
    pub const fn new(version: u32, patchlevel: u32) -> Self {
        Self(version, patchlevel)
    }

    /// Its first release.
    pub fn first(self) -> KernelVersion {
        KernelVersion { series: self, candidate: u32::MAX, patch: 0 }
    }
}

/// The kernel under test, as far as its version is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// All of it.
    Version(KernelVersion),
    /// Debian's older releases (`6.1.0-28-amd64`) tell the number of an ABI in the place of the patch level.
    Series(Series),
}

impl Running {
    /// The version of a kernel by its id in `kernels.toml`, or else by what `uname -r` prints; `None` where neither has one.
    pub fn of(id: &str, release: &str) -> Option<Self> {
        if let Ok(version) = id.split(['/', ' ']).next().unwrap_or_default().parse() {
            return Some(Self::Version(version));
        }
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
        let (numbers, rest) = release.split_at(end);
        let series: Series = numbers.splitn(3, '.').take(2).collect::<Vec<_>>().join(".").parse().ok()?;
        if let Some(rest) = rest.strip_prefix("-rc") {
            let candidate = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            return format!("{series}-rc{candidate}").parse().ok().map(Self::Version);
        }
        Some(match numbers.parse::<KernelVersion>() {
            Ok(version) if version.patch > 0 || !rest.starts_with('-') => Self::Version(version),
            _ => Self::Series(series),
        })
    }

    /// Its series.
    pub fn series(self) -> Series {
        match self {
            Self::Version(version) => version.series(),
            Self::Series(series) => series,
        }
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
    fn a_running_kernel_is_known_by_its_id_or_by_its_release() {
        for (id, release, expected) in [
            ("6.12.57", "6.12.57+deb12-cloud-amd64", Some(Running::Version("6.12.57".parse().unwrap()))),
            ("6.12.57/generic", "", Some(Running::Version("6.12.57".parse().unwrap()))),
            ("host", "6.12.57+deb13-amd64", Some(Running::Version("6.12.57".parse().unwrap()))),
            ("host", "7.3-rc7-amd64", Some(Running::Version("7.3-rc7".parse().unwrap()))),
            ("host", "7.3.0-rc7+", Some(Running::Version("7.3-rc7".parse().unwrap()))),
            ("host", "6.1.0-28-amd64", Some(Running::Series(Series(6, 1)))),
            ("host", "6.12-local", Some(Running::Series(Series(6, 12)))),
            ("host", "", None),
            ("host", "mine", None),
        ] {
            assert_eq!(Running::of(id, release), expected, "{id} {release}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "6", "6.12", "6.12.", "6.12.x", "6.12.+7", "6.012.3", "7.3-rc", "6.12.57.1"] {
            assert!(text.parse::<KernelVersion>().is_err(), "{text}");
        }
    }
}
