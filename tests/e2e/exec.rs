//! `lab exec`: programs of this host in a guest, their streams, and how they ended.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bondlab_host::wait;
use libtest_mimic::Trial;

use crate::machine::{self, LAB, trial};
use crate::{KERNEL, flagship};

/// The oldest kernel, whose FUSE and overlay are modules.
const OLD_KERNEL: &str = "5.10.262";

/// How often a process is looked for.
const INTERVAL: Duration = Duration::from_millis(10);

/// The trials.
pub fn trials() -> Vec<Trial> {
    let pin = |kernel| machine::pins(kernel).remove(0);
    let mut trials = Vec::new();
    for kernel in [KERNEL, OLD_KERNEL] {
        trials.push(trial(format!("exec/streams and status/{kernel}"), pin(kernel), move |_, _| {
            streams(kernel)
        }));
        trials.push(trial(format!("exec/in a topology/{kernel}"), pin(kernel), move |_, _| {
            in_a_topology(kernel)
        }));
    }
    let tests: [(&str, fn()); 14] = [
        ("idle NICs receive nothing", idle_nics),
        ("a signal", a_signal),
        ("a command that is not there", not_there),
        ("a time-out", timed_out),
        ("standard input", standard_input),
        ("writes stay in the guest", writes_stay),
        ("files that are asked for", files_come_out),
        ("a guest that dies", a_guest_that_dies),
        ("Ctrl-C", interrupted),
        ("a terminal", a_terminal),
        ("a shell", a_shell),
        ("several kernels", several_kernels),
        ("Ctrl-C with several kernels", interrupted_on_several),
        ("cargo's runner", cargo_runner),
    ];
    trials.extend(tests.map(|(name, test)| trial(format!("exec/{name}"), pin(KERNEL), move |_, _| test())));
    trials
}

fn lab(kernel: &str, more: &[&str], command: &[&str]) -> Command {
    let mut lab = Command::new(LAB);
    lab.args(["exec", "--no-install", "--kernel", kernel]).args(more).arg("--").args(command);
    lab.stdin(Stdio::null());
    lab
}

fn output(kernel: &str, more: &[&str], command: &[&str]) -> Output {
    lab(kernel, more, command).output().expect("cargo has built it")
}

fn texts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn streams(kernel: &str) {
    let script = "uname -r; echo to stderr >&2; test \"$A\" = 'one two'; echo $? \"$0\" \"$1\"; exit 42";
    let output = output(kernel, &["--env", "A=one two"], &["sh", "-c", script, "zero", "a  b"]);
    let (code, stdout, stderr) = texts(&output);
    assert_eq!((code, stderr.as_str()), (Some(42), "to stderr\n"), "{stdout}");
    let (release, rest) = stdout.split_once('\n').expect("two lines");
    assert_eq!(rest, "0 zero a  b\n");
    let version = kernel.rsplit_once('.').map_or(kernel, |(version, _)| version);
    assert!(release.starts_with(version), "{release}");
}

fn in_a_topology(kernel: &str) {
    let topology = flagship();
    let topology = topology.to_str().expect("a path of the project");
    let script =
        "cat /sys/class/net/bond0/bonding/mode && test -e /run/netns/node && cat /proc/net/vlan/config";
    let (code, stdout, stderr) =
        texts(&output(kernel, &["--topology", topology, "--ns", "node"], &["sh", "-c", script]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("active-backup 1\n"), "{stdout}");
    assert!(stdout.contains("bond0.70"), "{stdout}");
}

/// QEMU announces a restored machine's NICs with five RARP frames in 800 ms, unless it is told not to.
fn idle_nics() {
    let topology = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/idle-nics.toml");
    let script = "sleep 1; cat /sys/class/net/v0/operstate /sys/class/net/v0/statistics/rx_packets";
    let (code, stdout, stderr) =
        texts(&output(KERNEL, &["--topology", topology, "--ns", "switch"], &["sh", "-c", script]));
    assert_eq!((code, stdout.as_str()), (Some(0), "up\n0\n"), "{stderr}");
}

fn a_signal() {
    let (code, _, stderr) = texts(&output(KERNEL, &[], &["sh", "-c", "kill -USR1 $$"]));
    assert_eq!(code, Some(128 + 10), "{stderr}");
}

fn not_there() {
    let (code, stdout, stderr) = texts(&output(KERNEL, &[], &["lab-test-no-such-program"]));
    assert_eq!((code, stdout.as_str()), (Some(127), ""));
    assert!(stderr.contains("lab-test-no-such-program: No such file or directory"), "{stderr}");
    let (code, _, stderr) = texts(&output(KERNEL, &[], &["/etc/passwd"]));
    assert_eq!(code, Some(126), "{stderr}");
}

fn timed_out() {
    // One that heeds SIGTERM, and one that does not.
    for script in ["echo begun; exec sleep 1000", "trap '' TERM; echo begun; while :; do sleep 1; done"] {
        let (code, stdout, stderr) = texts(&output(KERNEL, &["--timeout", "1"], &["sh", "-c", script]));
        assert_eq!((code, stdout.as_str()), (Some(124), "begun\n"), "{stderr}");
        assert!(stderr.contains("--timeout"), "{stderr}");
    }
}

fn standard_input() {
    // More than the guest grants at once, and more than a pipe holds.
    let sent: Vec<u8> = (0..1_000_000_u32).flat_map(|number| number.to_le_bytes()).take(3_000_000).collect();
    let mut child = lab(KERNEL, &[], &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cargo has built it");
    let mut stdin = child.stdin.take().expect("it was asked for");
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("all of it was read");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == sent, "{} bytes came back of {}", output.stdout.len(), sent.len());
}

fn writes_stay() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let there = dir.path().join("there");
    std::fs::write(&there, "before").expect("it is new");
    let path = there.to_str().expect("a plain path");
    let script = format!("echo after > {path} && touch {path}.new && cat {path} && ls {path}.new");
    let (code, stdout, stderr) = texts(&output(KERNEL, &[], &["sh", "-c", &script]));
    assert_eq!((code, stdout), (Some(0), format!("after\n{path}.new\n")), "{stderr}");
    assert_eq!(std::fs::read_to_string(&there).expect("it is there"), "before");
    assert!(!Path::new(&format!("{path}.new")).exists());
}

fn files_come_out() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let out = dir.path().join("out");
    let script = "cd $LAB_OUT && mkdir logs && echo one > logs/a && ln -s /etc/passwd link && exit 5";
    let (code, _, stderr) =
        texts(&output(KERNEL, &["--out", out.to_str().expect("a plain path")], &["sh", "-c", script]));
    assert_eq!(code, Some(5), "{stderr}");
    assert_eq!(std::fs::read_to_string(out.join("logs/a")).expect("it came out"), "one\n");
    assert!(!out.join("link").exists(), "links stay in the guest");
    // It is refused before a machine is started.
    let used = ["--out", out.to_str().expect("a plain path")];
    let (code, stdout, stderr) = texts(&output(KERNEL, &used, &["echo", "begun"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(stderr.contains("the folder is not empty\nhint: "), "{stderr}");
}

fn a_guest_that_dies() {
    let script = "echo begun; echo c > /proc/sysrq-trigger; sleep 100";
    let (code, _, stderr) = texts(&output(KERNEL, &[], &["sh", "-c", script]));
    assert_eq!(code, Some(70), "{stderr}");
    assert!(stderr.contains("error:") && stderr.contains("panic"), "{stderr}");
}

fn interrupted() {
    let script = "trap 'echo caught; exit 9' INT; echo begun; while :; do sleep 0.1; done";
    let mut child =
        lab(KERNEL, &[], &["sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("cargo has built it");
    let mut stdout = child.stdout.take().expect("it was asked for");
    let mut begun = [0; 6];
    std::io::Read::read_exact(&mut stdout, &mut begun).expect("the command says so");
    let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut rest).expect("it is text");
    assert_eq!((child.wait().expect("it ends").code(), rest.as_str()), (Some(9), "caught\n"));
}

fn a_terminal() {
    let (code, stdout, stderr) =
        texts(&output(KERNEL, &["--tty"], &["sh", "-c", "tty; stty size; kill -INT $$"]));
    assert_eq!((code, stdout.as_str()), (Some(130), "/dev/pts/0\r\n24 80\r\n"), "{stderr}");
    // The end of standard input is the terminal's end-of-file character.
    let (code, _, stderr) = texts(&output(KERNEL, &["--tty"], &["cat"]));
    assert_eq!(code, Some(0), "{stderr}");
}

fn a_shell() {
    let mut shell = Command::new(LAB);
    shell.arg("shell").arg(flagship()).args(["--no-install", "--kernel", KERNEL, "--ns", "node"]);
    let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cargo has built it");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(b"cat /sys/class/net/bond0/bonding/active_slave\nexit 7\n").expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(7), &b"enp2s0\n"[..]));
}

fn several_kernels() {
    let mut lab = Command::new(LAB);
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    lab.args(["exec", "--no-install", "-j", "1", "--kernels", "5.10.262,6.12.57", "--out"]).arg(dir.path());
    lab.args(["--", "sh", "-c", "uname -r | tee $LAB_OUT/release; case $(uname -r) in 5.*) exit 4;; esac"]);
    let (code, stdout, stderr) = texts(&lab.output().expect("cargo has built it"));
    for (kernel, start) in [("5.10.262", "5.10."), ("6.12.57", "6.12.")] {
        let release = std::fs::read_to_string(dir.path().join(kernel).join("release"));
        assert!(release.as_ref().is_ok_and(|text| text.starts_with(start)), "{kernel}: {release:?}");
    }
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let line = |kernel: &str| {
        let found = stdout.lines().find(|line| line.starts_with(kernel) && !line.ends_with(':'));
        found
            .unwrap_or_else(|| panic!("{kernel} is missing:\n{stdout}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let (old, new): (Vec<String>, Vec<String>) = (line("5.10.262"), line("6.12.57"));
    assert_eq!((old[1].as_str(), new[1].as_str()), ("4", "0"), "{stdout}");
    assert!(old[4].starts_with("5.10.") && new[4].starts_with("6.12."), "{stdout}");
}

/// The processes whose parent is this one.
fn children(of: u32) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    let ids = processes.map(|entry| entry.file_name().to_string_lossy().into_owned());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name, in parentheses, may have blanks; state and parent are behind it.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(of)
    })
    .collect()
}

fn interrupted_on_several() {
    let mut lab = Command::new(LAB);
    lab.args(["exec", "--no-install", "-j", "1", "--kernels", "5.10.262,6.12.57", "--", "sh", "-c"]);
    lab.arg("case $(uname -r) in 5.*) echo done;; *) sleep 1000;; esac");
    let mut child = lab.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cargo has built it");
    let mut stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
    let mut said = String::new();
    while !said.lines().any(|line| line.starts_with("5.10.262")) {
        assert!(stderr.read_line(&mut said).expect("it is text") > 0, "{said}");
    }
    // The first guest has ended: this is the second one.
    let deadline = || Instant::now() + Duration::from_secs(60);
    let guests = || Some(children(child.id())).filter(|guests| !guests.is_empty());
    let guests = wait::until(deadline(), INTERVAL, guests).expect("a second guest");
    let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("it runs");
    let mut stdout = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().expect("it was asked for"), &mut stdout)
        .expect("it is text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{stdout}{said}");
    let rows: Vec<&str> = stdout.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{stdout}");
    assert!(rows[0].starts_with("5.10.262                0") && rows[0].ends_with("  done"), "{stdout}");
    assert!(
        rows[1].starts_with("6.12.57 ") && rows[1].ends_with("  interrupted: its guest was ended"),
        "{stdout}"
    );
    let gone = || {
        let is_there = |id: &&String| Path::new(&format!("/proc/{id}")).exists();
        guests.iter().find(is_there).is_none().then_some(())
    };
    wait::until(deadline(), INTERVAL, gone).expect("a guest dies with the lab");
}

/// Tests of a crate that knows nothing of the lab.
const CRATE: [(&str, &str); 2] = [
    ("Cargo.toml", "[package]\nname = \"there\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n"),
    (
        "src/lib.rs",
        r#"
#[test]
fn runs_on_the_kernel_that_was_named() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(release.starts_with("6.12."), "{release}");
    assert!(std::path::Path::new("Cargo.toml").exists());
}

#[test]
fn fails() {
    panic!("on purpose");
}
"#,
    ),
];

fn cargo_runner() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    for (name, text) in CRATE {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("it is new");
        std::fs::write(path, text).expect("it is new");
    }
    let test = |filter: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--offline", "--lib", filter]).current_dir(dir.path());
        let runner = format!("{LAB} exec --no-install --kernel {KERNEL} --env LD_LIBRARY_PATH --");
        cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", runner);
        for variable in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS"] {
            cargo.env_remove(variable);
        }
        texts(&cargo.output().expect("cargo runs this test"))
    };
    let (code, stdout, stderr) = test("runs_on");
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed"), "{stdout}");
    let (code, stdout, stderr) = test("");
    assert_eq!(code, Some(101), "{stdout}{stderr}");
    assert!(stdout.contains("1 passed; 1 failed") && stdout.contains("on purpose"), "{stdout}");
}
