//! Installs a Debian package the lab needs, or says which command does, without changing the machine's apt setup.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cache::{Cache, CacheError};
use crate::child::{APT_BOUNDS, ChildError, die_with_parent, output_within};
use bondlab_core::net::clean;

/// What apt knows without the network takes it a second.
const LOCAL_TIMEOUT: Duration = Duration::from_secs(60);

/// Package lists, or QEMU and what it depends on (some 100 MB), at 100 kB/s.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// The package with QEMU for x86-64 guests.
pub const QEMU_PACKAGE: &str = "qemu-system-x86";

const OS_RELEASE: &str = "/etc/os-release";

/// Debian's own keys: what a suite that the machine does not know yet is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// QEMU 7.2 of Debian 12 cannot save machines with mapped-ram and has no igb. Other packages are taken from the release itself.
const BACKPORTED: [(&str, &str, &str); 1] = [(QEMU_PACKAGE, "bookworm", "bookworm-backports")];

/// Why a package could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Only root may.
    #[error("not root; type: {command}")]
    NotRoot {
        /// What to type.
        command: String,
    },
    /// Packages come onto this machine in another way.
    #[error("there is no apt-get on this machine; install by hand what Debian has as {package}")]
    NoApt {
        /// What was to be installed.
        package: String,
    },
    /// No mirror in the machine's own configuration.
    #[error("apt knows no mirror with the suite {suite}; install {package} by hand")]
    NoMirror {
        /// The suite that was looked for.
        suite: String,
        /// What was to be installed.
        package: String,
    },
    /// apt ran and failed.
    #[error("{command}: {reason}")]
    Apt {
        /// What was run.
        command: String,
        /// The end of what it said.
        reason: String,
    },
    /// apt ended well, and what was wanted is missing.
    #[error(
        "{package} was installed, and what is needed of it is still missing; look with: dpkg -L {package}"
    )]
    NotThere {
        /// What was installed.
        package: String,
    },
    /// The cache has no place for the lock.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// apt, or a temporary file, is not to be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// apt did not start, or did not end.
    #[error("{command}: {source}")]
    Child {
        /// What was run.
        command: String,
        /// What became of it.
        source: ChildError,
    },
}

/// The one command to type for `package`, as root.
#[must_use]
pub fn command_line(package: &str) -> String {
    let os_release = fs::read_to_string(OS_RELEASE).unwrap_or_default();
    match backports_of(package, &os_release) {
        Some(suite) => backports_command(package, suite, &index_targets().unwrap_or_default()),
        None => format!("apt-get install --no-install-recommends {package}"),
    }
}

/// With a line that adds the suite where the machine does not have it yet.
fn backports_command(package: &str, suite: &str, targets: &str) -> String {
    let install = format!("apt-get install --no-install-recommends -t {suite} {package}");
    let release = suite.split('-').next().unwrap_or(suite);
    let mirror_of = |wanted: &str| {
        let targets = targets.lines().filter_map(|line| line.split_once(' '));
        targets.filter(|(_, known)| *known == wanted).map(|(mirror, _)| mirror).next()
    };
    match (mirror_of(suite), mirror_of(release)) {
        (None, Some(mirror)) => format!(
            "sh -c 'echo deb [signed-by={KEYRING}] {mirror} {suite} main > /etc/apt/sources.list.d/{suite}.list \
             && apt-get update && {install}'"
        ),
        _ => install,
    }
}

/// `command`, as a user who may not be root types it.
#[must_use]
pub fn as_root(command: &str) -> String {
    if nix::unistd::geteuid().is_root() { command.to_owned() } else { format!("sudo {command}") }
}

/// Installs `package` unless `is_there`; one lab at a time, for apt does not wait for the lock of its lists.
///
/// # Errors
/// When not root, without a mirror, when apt fails, or when it says that it is done and `is_there` does not.
pub fn ensure(cache: &Cache, package: &str, is_there: impl Fn() -> bool) -> Result<(), InstallError> {
    if is_there() {
        return Ok(());
    }
    let _held = cache.lock("install")?;
    // Another lab may have installed it meanwhile.
    if is_there() {
        return Ok(());
    }
    install(package)?;
    if is_there() { Ok(()) } else { Err(InstallError::NotThere { package: package.to_owned() }) }
}

/// QEMU on Debian 12 from its backports, with sources that apt is shown for this one call.
fn install(package: &str) -> Result<(), InstallError> {
    if !has_apt() {
        return Err(InstallError::NoApt { package: package.to_owned() });
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(InstallError::NotRoot { command: as_root(&command_line(package)) });
    }
    let os_release = fs::read_to_string(OS_RELEASE).unwrap_or_default();
    match backports_of(package, &os_release) {
        Some(suite) => install_from(package, suite),
        None => {
            // Once for all packages of one `lab doctor --fix`.
            static IS_UPDATED: AtomicBool = AtomicBool::new(false);
            if !IS_UPDATED.load(Ordering::Relaxed) {
                apt_get(&[], &["update"])?;
                IS_UPDATED.store(true, Ordering::Relaxed);
            }
            apt_get(&[], &["install", "-y", "--no-install-recommends", package])
        }
    }
}

fn install_from(package: &str, suite: &str) -> Result<(), InstallError> {
    let (release, _) = suite.split_once('-').unwrap_or((suite, ""));
    let sources = sources_for(&index_targets()?, release, suite)
        .ok_or_else(|| InstallError::NoMirror { suite: release.to_owned(), package: package.to_owned() })?;
    let failed = |source| InstallError::Io { what: "temporary apt directory".to_owned(), source };
    let dir = tempfile::tempdir().map_err(failed)?;
    let (list, lists) = (dir.path().join("sources.list"), dir.path().join("lists"));
    fs::write(&list, sources).and_then(|()| fs::create_dir_all(lists.join("partial"))).map_err(failed)?;
    let options = [
        format!("Dir::Etc::SourceList={}", list.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::lists={}", lists.display()),
        // apt's download user cannot look into a directory of root's.
        "APT::Sandbox::User=root".to_owned(),
    ];
    apt_get(&options, &["update"])?;
    apt_get(&options, &["install", "-y", "--no-install-recommends", "-t", suite, package])
}

/// Where the machine gets its packages from, as apt itself understands its configuration.
fn index_targets() -> Result<String, InstallError> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]);
    die_with_parent(&mut command);
    let failed = |source| InstallError::Child { command: "apt-get indextargets".to_owned(), source };
    let output = output_within(&mut command, LOCAL_TIMEOUT).map_err(failed)?;
    Ok(clean::output(&output.stdout))
}

/// One-line sources for the mirrors that carry `release` and its updates, with `suite` beside the former.
fn sources_for(targets: &str, release: &str, suite: &str) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for (mirror, known) in targets.lines().filter_map(|line| line.split_once(' ')) {
        let suites: &[&str] = match known.strip_prefix(release) {
            Some("") => &[known, suite],
            Some("-security" | "-updates") => &[known],
            _ => continue,
        };
        for suite in suites {
            let line = format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.iter().any(|line| line.contains(&format!(" {suite} "))).then(|| lines.concat())
}

fn apt_get(options: &[String], arguments: &[&str]) -> Result<(), InstallError> {
    let mut command = apt_command(options, arguments);
    // An installation that is cut off leaves packages half configured: it goes on when the lab is killed.
    if arguments.first() != Some(&"install") {
        die_with_parent(&mut command);
    }
    carry_out(&mut command, &format!("apt-get {}", arguments.join(" ")), NETWORK_TIMEOUT)
}

fn apt_command(options: &[String], arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q").args(APT_BOUNDS);
    for option in options {
        command.args(["-o", option]);
    }
    command.args(arguments);
    command
}

/// `shown` is what an error calls the command.
fn carry_out(command: &mut Command, shown: &str, limit: Duration) -> Result<(), InstallError> {
    let failed = |source| InstallError::Child { command: shown.to_owned(), source };
    let output = output_within(command, limit).map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = clean::output(&output.stderr);
    let reason =
        stderr.lines().rev().find(|line| line.starts_with("E:")).unwrap_or("it failed without a reason");
    Err(InstallError::Apt { command: shown.to_owned(), reason: reason.to_owned() })
}

/// The suite that `package` is taken from, where that is not the release's own.
fn backports_of(package: &str, os_release: &str) -> Option<&'static str> {
    let codename =
        os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.trim_matches('"');
    let found = BACKPORTED.iter().find(|(name, release, _)| *name == package && *release == codename);
    found.map(|(_, _, suite)| *suite)
}

/// Whether apt is how packages come onto this machine.
#[must_use]
pub fn has_apt() -> bool {
    ["/usr/bin/apt-get", "/bin/apt-get"].iter().any(|path| Path::new(path).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_release_with_an_old_qemu_takes_backports() {
        let bookworm = "ID=debian\nVERSION_CODENAME=bookworm\n";
        assert_eq!(backports_of(QEMU_PACKAGE, bookworm), Some("bookworm-backports"));
        assert_eq!(backports_of(QEMU_PACKAGE, "VERSION_CODENAME=trixie\n"), None);
        assert_eq!(backports_of(QEMU_PACKAGE, ""), None);
        assert_eq!(backports_of("tcpdump", bookworm), None);
    }

    #[test]
    fn the_command_to_type_works_with_or_without_backports() {
        let plain = "apt-get install --no-install-recommends -t bookworm-backports qemu-system-x86";
        let command = |targets| backports_command(QEMU_PACKAGE, "bookworm-backports", targets);
        let known = "http://mirror.test/debian/ bookworm\nhttp://mirror.test/debian/ bookworm-backports\n";
        assert_eq!(command(known), plain);
        let long = command("http://mirror.test/debian/ bookworm\n");
        assert!(long.starts_with("sh -c 'echo deb ") && long.ends_with(&format!("{plain}'")), "{long}");
        assert!(long.contains("http://mirror.test/debian/ bookworm-backports main"), "{long}");
    }

    #[test]
    fn the_mirror_is_the_machines_own() {
        let targets = "http://mirror.test/debian/ bookworm\nhttp://mirror.test/debian/ bookworm\n\
                       http://mirror.test/debian-security/ bookworm-security\nhttps://other.test/x/ nodistro\n";
        let sources = sources_for(targets, "bookworm", "bookworm-backports").unwrap();
        let lines: Vec<&str> = sources.lines().collect();
        assert_eq!(lines.len(), 3, "{sources}");
        assert!(lines[1].ends_with("http://mirror.test/debian/ bookworm-backports main"), "{sources}");
        assert!(
            lines[2].ends_with("http://mirror.test/debian-security/ bookworm-security main"),
            "{sources}"
        );
        assert_eq!(sources_for("https://other.test/x/ nodistro\n", "bookworm", "bookworm-backports"), None);
    }

    #[test]
    fn apt_bounds_its_own_waits_and_is_ended_when_it_does_not() {
        let command = apt_command(&["A=b".to_owned()], &["install", "-y", "x"]);
        let arguments: Vec<&str> = command.get_args().filter_map(|argument| argument.to_str()).collect();
        assert_eq!(arguments, [&["-q"][..], &APT_BOUNDS, &["-o", "A=b", "install", "-y", "x"]].concat());

        let mut deaf = Command::new("sh");
        deaf.args(["-c", "exec sleep 100"]);
        let error = carry_out(&mut deaf, "apt-get update", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "apt-get update: not done after 0 s: it was ended");

        let mut refused = Command::new("sh");
        refused.args(["-c", "echo W: old >&2; echo E: no room >&2; exit 100"]);
        let error = carry_out(&mut refused, "apt-get update", LOCAL_TIMEOUT).unwrap_err();
        assert_eq!(error.to_string(), "apt-get update: E: no room");
    }
}
