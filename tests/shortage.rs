//! A shortage of this machine's own is reported in one line with an exit code of its own, and is never a verdict on a kernel.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bondlab_host::wait;
use nix::sys::stat::Mode;

const LAB: &str = env!("CARGO_BIN_EXE_lab");

/// `EX_IOERR`.
const IO_ERROR: i32 = 74;

/// The lab, started by a shell that first does `before`.
fn lab_after(before: &str, arguments: &[&str], cache: &std::path::Path) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before}; exec \"$@\""), "sh", LAB]).args(arguments);
    command.env("LAB_CACHE", cache).output().unwrap()
}

fn one_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.lines().count() == 1 && said.starts_with("error: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_full_standard_output_is_an_error() {
    for argument in ["schema", "--help", "--version"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Command::new(LAB).arg(argument).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(IO_ERROR), "{argument}: {output:?}");
        assert!(one_line(&output).contains("No space left"), "{argument}");
    }
}

#[test]
fn a_full_standard_error_is_no_panic() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(LAB).args(["run", "/none.toml"]).stderr(full).output().unwrap();
    assert_eq!(output.status.code(), Some(65), "as with one that is read");
}

#[test]
fn a_machine_without_memory_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let large = dir.path().join("large.toml");
    File::create(&large).unwrap().set_len(400_000_000).unwrap();
    let large = large.display().to_string();
    let output = lab_after("ulimit -v 120000", &["kernels", "list", "--kernels-file", &large], dir.path());
    assert_eq!(output.status.code(), Some(IO_ERROR), "{output:?}");
    assert!(one_line(&output).contains("no memory"), "{output:?}");
}

#[test]
fn a_machine_without_file_descriptors_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let topology = dir.path().join("t.toml");
    fs::write(&topology, "").unwrap();
    let output = lab_after("ulimit -n 3", &["run", &topology.display().to_string()], dir.path());
    assert_eq!(output.status.code(), Some(IO_ERROR), "{output:?}");
    assert!(one_line(&output).contains("Too many open files"), "{output:?}");
}

#[test]
fn a_fifo_is_no_topology_and_no_result() {
    let dir = tempfile::tempdir().unwrap();
    for (name, command) in [("t.toml", &["run"][..]), ("r.json", &["report", "merge"][..])] {
        let fifo = dir.path().join(name);
        nix::unistd::mkfifo(&fifo, Mode::S_IRUSR).unwrap();
        let begun = Instant::now();
        let output = Command::new(LAB).args(command).arg(&fifo).output().unwrap();
        assert_eq!(output.status.code(), Some(65), "{output:?}");
        assert!(one_line(&output).contains("it is a FIFO"), "{output:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}

/// A stub in the place of QEMU, that talks without end.
#[test]
fn a_qemu_that_does_not_stop_talking_is_ended() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let stub = dir.path().join("qemu");
    fs::write(&stub, "#!/bin/sh\nexec yes\n").unwrap();
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    let begun = Instant::now();
    let error = bondlab_host::vm::qemu::Qemu::at(&stub).unwrap_err().to_string();
    assert!(error.contains("--version: "), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

/// `qemu --version` of a lab that is killed.
#[test]
fn a_qemu_that_is_asked_for_its_version_ends_with_the_lab() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (stub, asked) = (dir.path().join("qemu"), dir.path().join("asked"));
    // In one write, so that what is read is whole.
    let script = format!("#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 100\n", asked.display());
    fs::write(&stub, script).unwrap();
    fs::set_permissions(&stub, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Command::new(LAB)
        .arg("doctor")
        .envs([("LAB_QEMU", stub.as_path()), ("LAB_CACHE", dir.path())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let soon = || Instant::now() + Duration::from_secs(60);
    let look = Duration::from_millis(5);
    let number = wait::until(soon(), look, || fs::read_to_string(&asked).ok()).expect("it is asked");
    let process = Path::new("/proc").join(number.trim());
    assert!(process.exists());
    lab.kill().unwrap();
    lab.wait().unwrap();
    // One that has ended and that nobody has waited for yet has no command line any more.
    let is_running = || fs::read(process.join("cmdline")).is_ok_and(|line| !line.is_empty());
    assert!(wait::until(soon(), look, || (!is_running()).then_some(())).is_some(), "it still runs");
}
