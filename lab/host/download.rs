//! Fetches a pinned file and checks it.
//!
//! apt's own helper does the transfer where there is one, because it knows this machine's proxies and
//! certificates; else curl does. What arrives counts for nothing until its size and SHA-256 are the pin's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::child::{APT_AS_CALLER, die_with_parent};
use super::file::{At, FileError};
use super::kernels::{PinnedPackage, Sha256Hex};
use super::wait;

const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// How often a transfer is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time for name resolution, connection and retries, apart from the bytes.
const CONNECT_TIMEOUT_S: u64 = 120;

/// A transfer slower than this on average is given up.
const BYTES_PER_SECOND_MIN: u64 = 50_000;

/// What happens while a kernel is fetched, for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadEvent<'a> {
    /// Another process is fetching the same kernel; it is waited for.
    Waiting {
        /// Name of the kernel.
        kernel: &'a str,
    },
    /// A transfer begins.
    Started {
        /// Name of the package.
        package: &'a str,
        /// Bytes to come.
        size: u64,
    },
    /// Bytes have arrived.
    Progress {
        /// Name of the package.
        package: &'a str,
        /// Bytes so far.
        received: u64,
    },
    /// A package is complete and its hash is right.
    Verified {
        /// Name of the package.
        package: &'a str,
    },
    /// All packages are there; the kernel is being taken out of them.
    Unpacking {
        /// Name of the kernel.
        kernel: &'a str,
    },
    /// A module is being built from source.
    Building {
        /// The module and its kernel.
        module: &'a str,
    },
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Neither apt nor curl.
    #[error("nothing to download with: neither apt's apt-helper nor curl is installed; install curl")]
    NoTransport,
    /// The transport said no.
    #[error("cannot download {url}: {message}")]
    Failed {
        /// The address.
        url: String,
        /// Last words of the transport.
        message: String,
    },
    /// It took too long.
    #[error(
        "gave up on {url} after {seconds} s: {received} of {size} bytes had arrived; try again or set LAB_MIRROR to a nearer mirror"
    )]
    TooSlow {
        /// The address.
        url: String,
        /// How long it was given.
        seconds: u64,
        /// Bytes that came.
        received: u64,
        /// Bytes expected.
        size: u64,
    },
    /// The mirror's file is not the pinned one.
    #[error(
        "{url} is not the pinned file: expected {expected}, got {actual}; the mirror may be damaged, try another with LAB_MIRROR"
    )]
    Mismatch {
        /// The address.
        url: String,
        /// Size and hash of the pin.
        expected: String,
        /// Size and hash of what came.
        actual: String,
    },
    /// A local file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Fetches `url` to `partial`, which is deleted again if it is not what `package` pins.
///
/// `partial` belongs in a scratch directory: it is not safe to use until this returns.
pub fn fetch(
    url: &str,
    package: &PinnedPackage,
    partial: &Path,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<(), DownloadError> {
    let name = package.package.as_str();
    on_event(DownloadEvent::Started { package: name, size: package.size });
    let (size, sha256) = fetch_unpinned(url, name, package.size, partial, on_event)?;
    if (size, &sha256) != (package.size, &package.sha256) {
        fs::remove_file(partial).at("remove", partial)?;
        let say = |size: u64, hash: &Sha256Hex| format!("{size} bytes, sha256 {}", hash.as_str());
        let expected = say(package.size, &package.sha256);
        return Err(DownloadError::Mismatch { url: url.to_owned(), expected, actual: say(size, &sha256) });
    }
    on_event(DownloadEvent::Verified { package: name });
    Ok(())
}

/// Fetches `url` to `partial` and says what came; the time it is given is enough for `size_max` bytes.
pub fn fetch_unpinned(
    url: &str,
    package: &str,
    size_max: u64,
    partial: &Path,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<(u64, Sha256Hex), DownloadError> {
    if let Some(local) = url.strip_prefix("file://") {
        fs::copy(local, partial).at("copy", local)?;
    } else {
        transfer(url, package, size_max, partial, on_event)?;
    }
    Ok(measure(partial)?)
}

/// Size and SHA-256 of a file.
pub(super) fn measure(path: &Path) -> Result<(u64, Sha256Hex), FileError> {
    let mut file = File::open(path).at("open", path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer).at("read", path)?;
        if count == 0 {
            return Ok((size, Sha256Hex::of(&hash.finalize())));
        }
        hash.update(&buffer[..count]);
        size += count as u64;
    }
}

fn transfer(
    url: &str,
    package: &str,
    size: u64,
    partial: &Path,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<(), DownloadError> {
    let failed = |message: String| DownloadError::Failed { url: url.to_owned(), message };
    let mut command = transport(url, partial)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    die_with_parent(&mut command);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;

    let seconds = CONNECT_TIMEOUT_S + size / BYTES_PER_SECOND_MIN;
    let mut received = 0;
    let ended = wait::until(Instant::now() + Duration::from_secs(seconds), POLL_INTERVAL, || {
        let now = fs::metadata(partial).map_or(0, |metadata| metadata.len());
        if now != received {
            received = now;
            on_event(DownloadEvent::Progress { package, received });
        }
        child.try_wait().transpose()
    });
    match ended {
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(failed(last_words(&mut child, status))),
        Some(Err(error)) => Err(failed(error.to_string())),
        None => {
            // Both fail only if the child has ended meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            let url = url.to_owned();
            Err(DownloadError::TooSlow { url, seconds, received, size })
        }
    }
}

fn transport(url: &str, partial: &Path) -> Result<Command, DownloadError> {
    if Path::new(APT_HELPER).exists() {
        let mut command = Command::new(APT_HELPER);
        command.args(APT_AS_CALLER);
        command.args(["download-file", url]).arg(partial);
        return Ok(command);
    }
    let mut command = Command::new(find_in_path("curl").ok_or(DownloadError::NoTransport)?);
    command.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=http,https", "--output"]);
    command.arg(partial).args(["--", url]);
    Ok(command)
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The error lines of a transport that has failed, without apt's warnings.
fn last_words(child: &mut Child, status: ExitStatus) -> String {
    let mut text = String::new();
    let read = child.stderr.as_mut().map_or(Ok(0), |stderr| stderr.read_to_string(&mut text));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("W:"));
    let said = lines.collect::<Vec<_>>().join("; ");
    match read {
        Ok(_) if !said.is_empty() => said,
        Ok(_) => status.to_string(),
        Err(error) => format!("{status}; {}", io::Error::other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(content: &[u8]) -> PinnedPackage {
        PinnedPackage {
            package: "linux-image".to_owned(),
            version: "1".to_owned(),
            path: "pool/linux-image.deb".to_owned(),
            size: content.len() as u64,
            sha256: Sha256Hex::of(&Sha256::digest(content)),
            unindexed: false,
        }
    }

    #[test]
    fn takes_only_what_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let (source, partial) = (dir.path().join("source"), dir.path().join("partial"));
        let url = format!("file://{}", source.display());
        for (pinned, served, good) in [(b"kernel", b"kernel", true), (b"kernel", b"kernes", false)] {
            fs::write(&source, served).unwrap();
            let mut events = Vec::new();
            let mut on_event = |event: DownloadEvent| events.push(format!("{event:?}"));
            let fetched = fetch(&url, &package(pinned), &partial, &mut on_event);
            assert_eq!(fetched.is_ok(), good);
            assert_eq!(partial.exists(), good);
            assert_eq!(events.iter().any(|event| event.starts_with("Verified")), good);
        }
    }
}
