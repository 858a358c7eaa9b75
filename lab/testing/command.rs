//! The command `lab` that does the work: which one, and how it is run.
//!
//! A guest's `/init` has to be a static program, which a test program is not, and cargo builds no binary of a dependency. So
//! the command is the one that `BONDLAB_LAB` names, or it is built from the sources that this library was built from, statically,
//! into the cache. cargo looks at the sources each time, so the command is never older than the library. A `lab` that happens to
//! be in PATH is not used: nothing says what it was built from.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use bondlab_core::net::clean;
use bondlab_host::cache::{Cache, CacheError};
use bondlab_host::child::die_with_parent;

/// Names the command.
const VARIABLE: &str = "BONDLAB_LAB";
/// Where the command is built, in the cache.
const BUILD: &str = "command";
/// Kernels of other machines are not supported, so no other target is needed.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// `-C target-feature=+crt-static` as cargo wants several flags in one variable.
const STATIC: &str = "-C\u{1f}target-feature=+crt-static";
/// Lines of cargo's report that are shown when it fails.
const REPORT_LINES_MAX: usize = 30;

/// Why there is no command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// `BONDLAB_LAB` is no program.
    #[error("{VARIABLE}: {}: {source}", path.display())]
    Unreadable {
        /// Its value.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be PID 1 of a guest.
    #[error(
        "{VARIABLE}: {} needs a dynamic linker, and a guest's /init has none\nhint: build it with \
         `RUSTFLAGS='-C target-feature=+crt-static' cargo build --target {TARGET}`, or unset {VARIABLE}", .0.display()
    )]
    Dynamic(PathBuf),
    /// It is of another version than the library.
    #[error(
        "{VARIABLE}: {} is `{found}`, and this library is version {}\nhint: install the command of the same version, or \
         unset {VARIABLE}", path.display(), env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// Its value.
        path: PathBuf,
        /// What it says it is.
        found: String,
    },
    /// No place to build it in.
    #[error("build the command `lab`: {0}\nhint: {VARIABLE} may name one that is built")]
    Cache(#[from] CacheError),
    /// The cache is read-only.
    #[error("build the command `lab`: the cache is read-only\nhint: {VARIABLE} may name one that is built")]
    ReadOnly,
    /// cargo does not start.
    #[error(
        "start {program} to build the command `lab`: {source}\nhint: {VARIABLE} may name one that is built"
    )]
    NoCargo {
        /// cargo.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// cargo fails.
    #[error("the command `lab` could not be built from {}:\n{report}", source_dir.display())]
    Build {
        /// The sources.
        source_dir: PathBuf,
        /// The end of what cargo said.
        report: String,
    },
}

/// How a run of the command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit status; 128 and the number of the signal that ended it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    /// As text that can be shown.
    pub(crate) stderr: String,
}

/// The command, looked for once for the whole process.
///
/// # Errors
/// No static command of this version, and none that can be built.
pub(crate) fn find() -> Result<&'static Path, String> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = match std::env::var_os(VARIABLE) {
            Some(path) => check(path.into()),
            None => build(),
        };
        found.map_err(|error| error.to_string())
    });
    found.as_deref().map_err(Clone::clone)
}

fn check(path: PathBuf) -> Result<PathBuf, CommandError> {
    let unreadable = |source| CommandError::Unreadable { path: path.clone(), source };
    if has_interpreter(&path).map_err(unreadable)? {
        return Err(CommandError::Dynamic(path));
    }
    let said = Command::new(&path).arg("--version").stdin(Stdio::null()).output().map_err(unreadable)?;
    // `lab 0.1.0 (commit)`, and lines about kernels.
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let found = clean::line(said.lines().next().unwrap_or_default()).into_owned();
    if !is_own_version(&found) {
        return Err(CommandError::Version { path, found });
    }
    Ok(path)
}

fn is_own_version(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("lab") && words.next() == Some(env!("CARGO_PKG_VERSION"))
}

/// Whether an ELF program names a dynamic linker (PT_INTERP, elf(5)).
fn has_interpreter(path: &Path) -> io::Result<bool> {
    const PT_INTERP: u32 = 3;
    const PROGRAM_HEADER: usize = 56;
    let file = File::open(path)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return Err(io::Error::other("this is no ELF program of 64 bits"));
    }
    let offset = u64::from_le_bytes(header[32..40].try_into().expect("eight bytes"));
    let count = u16::from_le_bytes(header[56..58].try_into().expect("two bytes"));
    let mut headers = vec![0; PROGRAM_HEADER * usize::from(count)];
    file.read_exact_at(&mut headers, offset)?;
    Ok(headers.chunks_exact(PROGRAM_HEADER).any(|header| header[..4] == PT_INTERP.to_le_bytes()))
}

fn build() -> Result<PathBuf, CommandError> {
    let cache = Cache::open()?;
    if cache.is_read_only() {
        return Err(CommandError::ReadOnly);
    }
    let source_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_dir = cache.path(BUILD);
    let binary = target_dir.join(TARGET).join("debug").join("lab");
    if !binary.exists() {
        say("building the command `lab`, which runs kernels: once, and later only what has changed");
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command.args(["build", "--quiet", "--locked", "--bin", "lab", "--target", TARGET, "--target-dir"]);
    command.arg(&target_dir).current_dir(source_dir).env("CARGO_ENCODED_RUSTFLAGS", STATIC);
    // What checks or measures the tests is not meant for the command.
    command.env_remove("RUSTC_WORKSPACE_WRAPPER").env_remove("RUSTC_WRAPPER").stdin(Stdio::null());
    die_with_parent(&mut command);
    let done = command
        .output()
        .map_err(|source| CommandError::NoCargo { program: cargo.to_string_lossy().into_owned(), source })?;
    if !done.status.success() {
        let report = clean::lines(&String::from_utf8_lossy(&done.stderr)).into_owned();
        let lines: Vec<&str> = report.lines().collect();
        let report = lines[lines.len().saturating_sub(REPORT_LINES_MAX)..].join("\n");
        return Err(CommandError::Build { source_dir: source_dir.to_owned(), report });
    }
    Ok(binary)
}

/// What the user has to know while a test runs; the harness does not capture it.
fn say(line: &str) {
    // Where standard error is closed, the line is lost.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Runs a command of the lab to its end. What it fetches or installs is said while it does so.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn run(command: &mut Command) -> io::Result<Ended> {
    use std::os::unix::process::ExitStatusExt;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_parent(command);
    let mut child = command.spawn()?;
    let stderr = child.stderr.take().expect("it is piped");
    let listening = thread::spawn(move || listen(stderr));
    let done = child.wait_with_output()?;
    let stderr = listening.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let status = done.status.code().or_else(|| done.status.signal().map(|signal| 128 + signal));
    Ok(Ended { status: status.unwrap_or(-1), stdout: done.stdout, stderr })
}

/// Collects standard error, and passes on what takes its time.
fn listen(stderr: impl Read) -> String {
    const SLOW: [&str; 5] = ["fetching ", "installing ", "building ", "unpacking ", "waiting "];
    let mut all = String::new();
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    // A pipe that breaks is at its end.
    while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
        let text = clean::lines(&String::from_utf8_lossy(&line)).into_owned();
        if SLOW.iter().any(|word| text.starts_with(word)) {
            say(text.trim_end());
        }
        all += &text;
        line.clear();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF program with one program header of this type.
    fn elf(kind: u32) -> tempfile::NamedTempFile {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&kind.to_le_bytes());
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn a_program_with_a_dynamic_linker_is_refused() {
        assert!(!has_interpreter(elf(1).path()).unwrap());
        let dynamic = elf(3);
        assert!(has_interpreter(dynamic.path()).unwrap());
        let error = check(dynamic.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("needs a dynamic linker") && error.contains("hint: "), "{error}");
    }

    #[test]
    fn a_command_of_another_version_is_refused() {
        let version = env!("CARGO_PKG_VERSION");
        assert!(is_own_version(&format!("lab {version}")));
        assert!(is_own_version(&format!("lab {version} (0123456789ab)")));
        assert!(!is_own_version(&format!("lab {version}1")) && !is_own_version("lab") && !is_own_version(""));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        let mut text = tempfile::NamedTempFile::new().unwrap();
        text.write_all(&[b'#'; 100]).unwrap();
        let error = check(text.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains("no ELF program"), "{error}");
        assert!(check("/does/not/exist".into()).unwrap_err().to_string().contains("/does/not/exist"));
    }

    #[test]
    fn both_streams_and_the_status_of_a_command_are_kept() {
        let ended = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 7"])).unwrap();
        assert_eq!((ended.status, &ended.stdout[..], ended.stderr.as_str()), (7, &b"out\n"[..], "err\n"));
        assert_eq!(run(Command::new("sh").args(["-c", "kill -9 $$"])).unwrap().status, 137);
    }
}
