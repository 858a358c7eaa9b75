//! Where the archive is: what the user says, else what this machine's apt is configured with.
//!
//! A pool path holds on every mirror of an archive and for all its suites, so that a machine that knows
//! only its own suite can fetch the kernels of others.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::child::{die_with_parent, output_within};
use crate::kernel::pins::Archive;
use bondlab_core::net::clean;

/// apt answers from its configuration, in well under a second.
const APT_TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MirrorError {
    /// Neither the user nor apt names one.
    #[error(
        "no Debian mirror is known on this machine; set LAB_MIRROR to the address of one (it has the directories dists and pool)"
    )]
    NoMirror,
    /// A path, or a name without a scheme.
    #[error("{0} is not the address of a mirror: it has no scheme, as in http://MIRROR/debian")]
    NoScheme(String),
    /// The main archive's address does not tell that of the security archive.
    #[error("the address of the security archive cannot be derived from {0}; set LAB_MIRROR_SECURITY")]
    NoSecurity(String),
}

/// Base addresses of the archives, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    debian: String,
    security: Option<String>,
}

impl Mirrors {
    /// What `given` (an argument) says, else LAB_MIRROR and LAB_MIRROR_SECURITY, else apt's configuration.
    pub fn find(given: Option<&str>) -> Result<Mirrors, MirrorError> {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let mirror = given.map(str::to_owned).or_else(|| var("LAB_MIRROR"));
        let security = var("LAB_MIRROR_SECURITY").as_deref().map(trim);
        let mut mirrors = match mirror {
            Some(address) if has_scheme(&address) => Mirrors::at(&address),
            Some(address) => return Err(MirrorError::NoScheme(address)),
            None => from_uris(&apt_uris().unwrap_or_default()).ok_or(MirrorError::NoMirror)?,
        };
        mirrors.security = security.or(mirrors.security);
        Ok(mirrors)
    }

    /// The mirror at `address`; the security archive beside it, if it ends in `/debian`.
    pub fn at(address: &str) -> Mirrors {
        let debian = trim(address);
        let security = debian.ends_with("/debian").then(|| format!("{debian}-security"));
        Mirrors { debian, security }
    }

    /// The address of the archive itself.
    pub fn base(&self, archive: Archive) -> Result<&str, MirrorError> {
        match archive {
            Archive::Debian => Ok(&self.debian),
            Archive::DebianSecurity => {
                self.security.as_deref().ok_or_else(|| MirrorError::NoSecurity(self.debian.clone()))
            }
        }
    }

    /// The address of a file in an archive.
    pub fn url(&self, archive: Archive, path: &str) -> Result<String, MirrorError> {
        Ok(format!("{}/{path}", self.base(archive)?))
    }
}

/// What `apt-get update` would fetch. It uses no network, and needs no list that was fetched before.
fn apt_uris() -> Option<String> {
    let mut command = Command::new("apt-get");
    command.args(["--print-uris", "update"]);
    die_with_parent(&mut command);
    let output = output_within(&mut command, APT_TIMEOUT).ok()?;
    output.status.success().then(|| clean::output(&output.stdout))
}

/// Reads lines of `'ADDRESS/dists/SUITE/InRelease' NAME SIZE`.
///
/// Other vendors' archives end in `/debian` too. The one that also serves `SUITE-updates` is Debian's.
fn from_uris(lines: &str) -> Option<Mirrors> {
    let mut suites: BTreeMap<(usize, &str), Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for line in lines.lines() {
        let Some(uri) = line.strip_prefix('\'').and_then(|rest| rest.split('\'').next()) else {
            continue;
        };
        let Some((base, suite)) = uri.strip_suffix("/InRelease").and_then(|uri| uri.split_once("/dists/"))
        else {
            continue;
        };
        if !order.contains(&base) {
            order.push(base);
        }
        let index = order.iter().position(|known| *known == base)?;
        suites.entry((index, base)).or_default().push(suite);
    }
    let named = |name: &'static str| {
        suites.iter().filter(move |((_, base), _)| base.rsplit('/').next() == Some(name))
    };
    let ours = |suites: &[&str]| suites.iter().any(|suite| suite.ends_with("-updates"));
    let ((_, debian), _) =
        named("debian").find(|(_, suites)| ours(suites)).or_else(|| named("debian").next())?;
    let security = named("debian-security").next().map(|((_, base), _)| trim(base));
    let derived = Mirrors::at(debian);
    Some(Mirrors { security: security.or(derived.security.clone()), ..derived })
}

/// Whether apt and curl take it as an address: `http://...`, `file:/...`.
fn has_scheme(address: &str) -> bool {
    address.split_once(":/").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|char| char.is_ascii_alphanumeric() || char == '+')
    })
}

fn trim(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(base: &str, suite: &str) -> String {
        format!("'{base}/dists/{suite}/InRelease' x_dists_{suite}_InRelease 0 \n")
    }

    #[test]
    fn debian_among_others() {
        let lines = line("https://vendor.example/linux/debian", "bookworm")
            + &line("http://mirror.example/debian", "bookworm")
            + &line("http://mirror.example/debian", "bookworm-updates")
            + &line("http://sec.example/debian-security", "bookworm-security")
            + "'http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' x 0 \n";
        let mirrors = from_uris(&lines).unwrap();
        let url = |archive| mirrors.url(archive, "pool/x.deb").unwrap();
        assert_eq!(url(Archive::Debian), "http://mirror.example/debian/pool/x.deb");
        assert_eq!(url(Archive::DebianSecurity), "http://sec.example/debian-security/pool/x.deb");
    }

    #[test]
    fn one_suite_only() {
        let mirrors = from_uris(&line("http://mirror.example/debian", "bookworm")).unwrap();
        assert_eq!(mirrors, Mirrors::at("http://mirror.example/debian/"));
        assert_eq!(mirrors.base(Archive::DebianSecurity).unwrap(), "http://mirror.example/debian-security");
    }

    #[test]
    fn none_at_all() {
        assert_eq!(from_uris(&line("http://mirror.example/ubuntu", "noble")), None);
        assert_eq!(from_uris(""), None);
        let odd = Mirrors::at("http://mirror.example/pub/deb");
        assert!(matches!(odd.base(Archive::DebianSecurity), Err(MirrorError::NoSecurity(_))));
    }

    #[test]
    fn an_address_has_a_scheme() {
        for address in
            ["http://mirror.example/debian", "file:/srv/debian", "tor+http://mirror.example/debian"]
        {
            assert!(Mirrors::find(Some(address)).is_ok(), "{address}");
        }
        for word in ["mirror.example/debian", "/srv/debian", "a b:/c", ":/x"] {
            assert_eq!(Mirrors::find(Some(word)), Err(MirrorError::NoScheme(word.to_owned())));
        }
    }
}
