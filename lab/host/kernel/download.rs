//! Fetches a pinned file and checks it.
//!
//! apt's own helper does the transfer where there is one, because it knows this machine's proxies and
//! certificates; else curl does. What arrives counts for nothing until its size and SHA-256 are the pin's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::child::{APT_AS_CALLER, APT_BOUNDS, Drain, Keep, die_with_parent, end_within};
use crate::file::{At, FileError};
use crate::kernel::pins::{PinnedPackage, Sha256Hex};
use crate::{file, wait};
use bondlab_core::net::clean;

const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// How often a transfer is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time for name resolution, connection and retries, apart from the bytes.
const CONNECT_TIMEOUT_S: u64 = 120;

/// A transfer slower than this on average is given up.
const BYTES_PER_SECOND_MIN: u64 = 50_000;

/// Without a new byte for so long a transfer is given up. The transports give up by themselves before that, with a
/// better message: apt after 30 s ([`APT_BOUNDS`]), curl after [`CURL_STALL_S`].
const STALL_TIMEOUT: Duration = Duration::from_secs(90);

/// curl's own bounds: on the connection, and on a transfer that does not move.
const CURL_CONNECT_S: &str = "30";
const CURL_STALL_S: &str = "45";

/// What is kept of a transport's standard error: its end.
const LAST_WORDS_BYTES_MAX: usize = 16 * 1024;

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
    #[error("cannot download {url}: {message}; try another mirror with LAB_MIRROR")]
    Failed {
        /// The address.
        url: String,
        /// Last words of the transport.
        message: String,
    },
    /// It took too long.
    #[error(
        "gave up on {url} after {seconds} s: {received} of {size} bytes had arrived and {why}; try again or set LAB_MIRROR to a nearer mirror"
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
        /// Which limit it was.
        why: &'static str,
    },
    /// The mirror's file is larger than it may be. It was not taken to its end.
    #[error("{url} has more than {size} bytes; the mirror may be damaged, try another with LAB_MIRROR")]
    TooLarge {
        /// The address.
        url: String,
        /// Size of the pin, or the limit for what has none.
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

/// Fetches `url` to `partial` and says what came, which is at most `size_max` bytes.
///
/// # Errors
/// When it cannot be fetched, or is larger. What came of it is not used.
pub fn fetch_unpinned(
    url: &str,
    package: &str,
    size_max: u64,
    partial: &Path,
    on_event: &mut dyn FnMut(DownloadEvent),
) -> Result<(u64, Sha256Hex), DownloadError> {
    if let Some(local) = url.strip_prefix("file://") {
        let mut from = file::open(Path::new(local))?.take(size_max.saturating_add(1));
        let mut to = File::create(partial).at("create", partial)?;
        io::copy(&mut from, &mut to).at("copy", local)?;
    } else {
        transfer(url, package, size_max, partial, on_event)?;
    }
    if fs::metadata(partial).at("read", partial)?.len() > size_max {
        return Err(DownloadError::TooLarge { url: url.to_owned(), size: size_max });
    }
    Ok(measure(partial)?)
}

/// Size and SHA-256 of a file.
pub(crate) fn measure(path: &Path) -> Result<(u64, Sha256Hex), FileError> {
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
    let limits = Limits {
        size,
        stall: STALL_TIMEOUT,
        total: Duration::from_secs(CONNECT_TIMEOUT_S + size / BYTES_PER_SECOND_MIN),
    };
    watch(&mut command, partial, limits, &mut |received| {
        on_event(DownloadEvent::Progress { package, received });
    })
    .map_err(|end| match end {
        Unfinished::Failed(message) => failed(message),
        Unfinished::TooLarge => DownloadError::TooLarge { url: url.to_owned(), size },
        Unfinished::Stopped { seconds, received, why } => {
            DownloadError::TooSlow { url: url.to_owned(), seconds, received, size, why }
        }
    })
}

/// How much a transfer may bring, and how long it may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// In bytes.
    size: u64,
    /// Without a new byte.
    stall: Duration,
    /// In all.
    total: Duration,
}

/// Why a transfer did not come to its end.
#[derive(Debug, PartialEq, Eq)]
enum Unfinished {
    Failed(String),
    TooLarge,
    Stopped { seconds: u64, received: u64, why: &'static str },
}

/// Runs a transport that writes to `partial`, and ends it when it takes too long or does not move.
fn watch(
    command: &mut Command,
    partial: &Path,
    limits: Limits,
    on_progress: &mut dyn FnMut(u64),
) -> Result<(), Unfinished> {
    let failed = |error: std::io::Error| Unfinished::Failed(error.to_string());
    let mut child = command.spawn().map_err(failed)?;
    let stderr = child.stderr.take().map(|pipe| Drain::start(pipe, LAST_WORDS_BYTES_MAX, Keep::Last));
    let (begun, mut received, mut moved) = (Instant::now(), 0, Instant::now());
    let mut is_too_large = false;
    let ended = wait::until(begun + limits.total, POLL_INTERVAL, || {
        let now = fs::metadata(partial).map_or(0, |metadata| metadata.len());
        if now != received {
            (received, moved) = (now, Instant::now());
            on_progress(received.min(limits.size));
        }
        is_too_large = received > limits.size;
        match child.try_wait() {
            Ok(None) if is_too_large || moved.elapsed() >= limits.stall => Some(Ok(None)),
            ended => ended.transpose().map(|status| status.map(Some)),
        }
    });
    let status = ended.transpose().map_err(failed)?;
    let why = match status {
        Some(Some(status)) if status.success() => return Ok(()),
        Some(Some(status)) => {
            let said = stderr.map(Drain::finish).unwrap_or_default();
            return Err(Unfinished::Failed(last_words(&said, status)));
        }
        Some(None) => "no byte came any more",
        None => "it was too slow",
    };
    end_within(&mut child, Duration::ZERO).map_err(failed)?;
    if is_too_large {
        return Err(Unfinished::TooLarge);
    }
    Err(Unfinished::Stopped { seconds: begun.elapsed().as_secs(), received, why })
}

fn transport(url: &str, partial: &Path) -> Result<Command, DownloadError> {
    if Path::new(APT_HELPER).exists() {
        let mut command = Command::new(APT_HELPER);
        command.args(APT_AS_CALLER).args(APT_BOUNDS);
        command.args(["download-file", url]).arg(partial);
        return Ok(command);
    }
    let mut command = Command::new(find_in_path("curl").ok_or(DownloadError::NoTransport)?);
    command.args(["--fail", "--location", "--silent", "--show-error", "--proto", "=http,https"]);
    command.args(["--connect-timeout", CURL_CONNECT_S, "--speed-limit", "1", "--speed-time", CURL_STALL_S]);
    command.arg("--output");
    command.arg(partial).args(["--", url]);
    Ok(command)
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The error lines of a transport that has failed, without apt's warnings.
fn last_words(said: &[u8], status: ExitStatus) -> String {
    let text = clean::output(said);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("W:"));
    let said = lines.collect::<Vec<_>>().join("; ");
    if said.is_empty() { status.to_string() } else { said }
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

    #[test]
    fn a_transfer_that_does_not_move_is_ended_and_one_that_says_much_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("partial");
        let run = |script: &str, stall_ms, total_ms| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(&partial).stderr(Stdio::piped());
            let limits = Limits {
                size: 1 << 30,
                stall: Duration::from_millis(stall_ms),
                total: Duration::from_millis(total_ms),
            };
            watch(&mut command, &partial, limits, &mut |_| {})
        };
        let stopped = |script, stall_ms, total_ms| match run(script, stall_ms, total_ms) {
            Err(Unfinished::Stopped { received, why, .. }) => (received, why),
            other => panic!("{script}: {other:?}"),
        };
        assert_eq!(stopped("printf 12345 > $1; exec sleep 60", 300, 60_000), (5, "no byte came any more"));
        let slow = "while :; do printf x >> $1; sleep 0.02; done";
        assert_eq!(stopped(slow, 5_000, 500).1, "it was too slow");
        // More than a pipe holds.
        let noisy = "head -c 300000 /dev/zero | tr '\\0' w >&2; echo >&2; echo 'E: no route' >&2; exit 1";
        let Err(Unfinished::Failed(said)) = run(noisy, 60_000, 60_000) else { panic!("it failed") };
        assert!(said.ends_with("E: no route"), "{}", said.len());
        assert_eq!(run("printf 1 > $1", 60_000, 60_000), Ok(()));
    }

    /// A mirror that never stops sending is stopped at the size of the pin, and not at the end of the disk.
    #[test]
    fn a_transfer_ends_at_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("partial");
        let mut command = Command::new("sh");
        let endless = "while :; do head -c 1000 /dev/zero; sleep 0.01; done > $1";
        command.args(["-c", endless, "sh"]).arg(&partial).stderr(Stdio::piped());
        let minute = Duration::from_secs(60);
        let limits = Limits { size: 10_000, stall: minute, total: minute };
        let mut told = 0;
        let ended = watch(&mut command, &partial, limits, &mut |received| told = received);
        assert_eq!((ended, told), (Err(Unfinished::TooLarge), 10_000));
        assert!(fs::metadata(&partial).unwrap().len() < 1_000_000);
    }

    #[test]
    fn a_mirror_on_this_machine_ends_at_its_size_too() {
        let dir = tempfile::tempdir().unwrap();
        let (source, partial) = (dir.path().join("source"), dir.path().join("partial"));
        File::create(&source).unwrap().set_len(1 << 40).unwrap();
        let url = format!("file://{}", source.display());
        let error = fetch(&url, &package(b"kernel"), &partial, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("has more than 6 bytes"), "{error}");
        assert_eq!(fs::metadata(&partial).unwrap().len(), 7);
        let error = fetch("file:///dev/zero", &package(b"kernel"), &partial, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("it is a device"), "{error}");
    }
}
