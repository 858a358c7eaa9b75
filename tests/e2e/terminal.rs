//! `lab shell` in a terminal: what is typed, what is shown, and the terminal and the machine after its end.

use std::fs::{File, read_link, read_to_string};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use nix::pty::{Winsize, openpty};

use crate::machine::{self, LAB, trial};
use crate::{KERNEL, flagship};

/// A loaded machine starts a guest in some ten seconds.
const START_TIMEOUT: Duration = Duration::from_secs(180);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_secs(3);
const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";
/// Ends the machine.
const CTRL_CLOSING_BRACKET: &str = "\u{1d}";

/// The trials.
pub fn trials() -> Vec<Trial> {
    let tests: [(&str, fn()); 2] = [
        ("window size, signals and job control", size_signals_and_jobs),
        ("Ctrl-] ends the machine", escape_ends_the_machine),
    ];
    let pin = || machine::pins(KERNEL).remove(0);
    tests.map(|(name, test)| trial(format!("terminal/{name}"), pin(), move |_, _| test())).into()
}

/// A terminal with a program in it.
struct Terminal {
    child: Child,
    master: File,
    slave: PathBuf,
    /// Its settings before the program began.
    before: String,
    output: Receiver<Vec<u8>>,
    shown: String,
    /// What was looked at already, in bytes of `shown`.
    seen: usize,
}

impl Terminal {
    fn start(arguments: &[&str], (rows, columns): (u16, u16)) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a pseudoterminal");
        let slave =
            read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).expect("a terminal has a path");
        let before = stty(&slave, &["--save"]);
        let stream = || pty.slave.try_clone().expect("a descriptor");
        // A session of its own, whose terminal this is: the kernel sends SIGWINCH to its foreground process group.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", LAB]).args(arguments);
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().expect("util-linux");
        let (sender, output) = channel();
        let mut reader = File::from(pty.master.try_clone().expect("a descriptor"));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut chunk) {
                if sender.send(chunk[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, master: File::from(pty.master), slave, before, output, shown: String::new(), seen: 0 }
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    /// Waits until a text is shown that was not there before.
    #[track_caller]
    fn wait_for(&mut self, text: &str, timeout: Duration) {
        assert!(self.shows(text, timeout), "{text:?} is not shown:\n{}", self.shown);
    }

    /// Whether a text is shown by then that was not there before.
    fn shows(&mut self, text: &str, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return true;
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return false,
            }
        }
    }

    /// Waits for the program's end, and compares the terminal with what it was.
    #[track_caller]
    fn ends_with(&mut self, status: i32) {
        assert_eq!(self.child.wait().expect("it ends").code(), Some(status), "{}", self.shown);
        assert_eq!(stty(&self.slave, &["--save"]), self.before, "the terminal is as it was");
    }
}

/// stty(1) of a terminal.
fn stty(terminal: &Path, arguments: &[&str]) -> String {
    let output = Command::new("stty").arg("-F").arg(terminal).args(arguments).output().expect("coreutils");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All processes that this process has started, and theirs.
fn below(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let children = read_to_string(path).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|id| id.parse().ok());
    children.flat_map(|child| [vec![child], below(child)].concat()).collect()
}

/// Whether a process is there and is a virtual machine. Its identifier may be another process's by now.
fn is_machine(process: &u32) -> bool {
    read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|words| words.contains("qemu-system"))
}

/// A shell in the flagship's namespace that has executed a command, and its machine.
fn started() -> (Terminal, Vec<u32>) {
    let topology = flagship();
    let topology = topology.to_str().expect("a path of the project");
    let shell = ["shell", topology, "--no-install", "--kernel", KERNEL, "--ns", "node"];
    let mut terminal = Terminal::start(&shell, (24, 80));
    terminal.type_in("echo ready-$((40 + 2))\n");
    terminal.wait_for("ready-42", START_TIMEOUT);
    let machines: Vec<u32> = below(terminal.child.id()).into_iter().filter(is_machine).collect();
    assert_eq!(machines.len(), 1, "the machine is a process of the lab's");
    (terminal, machines)
}

/// A program in the foreground. It says so itself: an interactive shell makes a job's process group the foreground one before it
/// executes the program, and keys that come before are the shell's.
fn in_foreground(terminal: &mut Terminal, number: u32) {
    terminal.type_in(&format!("sh -c 'echo begun-$((40 + {number})); exec sleep 1000'\n"));
    terminal.wait_for(&format!("begun-{}", 40 + number), ANSWER_TIMEOUT);
}

fn size_signals_and_jobs() {
    let (mut terminal, machines) = started();
    terminal.type_in("stty size\n");
    terminal.wait_for("24 80", ANSWER_TIMEOUT);
    stty(&terminal.slave, &["rows", "50", "cols", "132"]);
    // The signal and the new size are on their way while the shell waits for its next line.
    terminal.type_in("until stty size | grep -q '^50 132'; do :; done; echo wide-$((40 + 2))\n");
    terminal.wait_for("wide-42", ANSWER_TIMEOUT);

    in_foreground(&mut terminal, 3);
    terminal.type_in(CTRL_C);
    terminal.type_in("echo \"status $?\"\n");
    terminal.wait_for("status 130", ANSWER_TIMEOUT);

    in_foreground(&mut terminal, 4);
    terminal.type_in(CTRL_Z);
    terminal.wait_for("Stopped", ANSWER_TIMEOUT);
    terminal.type_in("bg; jobs\n");
    terminal.wait_for("Running", ANSWER_TIMEOUT);
    terminal.wait_for(" &\r\n", ANSWER_TIMEOUT);
    terminal.type_in("fg\n");
    terminal.wait_for("exec sleep 1000'\r\n", ANSWER_TIMEOUT);
    end_with_ctrl_c(&mut terminal);
    terminal.type_in("echo \"jobs: $(jobs).\"\n");
    terminal.wait_for("jobs: .", ANSWER_TIMEOUT);

    terminal.type_in("lab step\n");
    terminal.wait_for("The account so far, with 1 of 2 steps to come:", ANSWER_TIMEOUT);
    // A process that ignores the hang-up of its terminal does not keep the machine.
    terminal.type_in("nohup sleep 1000 >/dev/null 2>&1 &\nexit 7\n");
    terminal.ends_with(7);
    assert!(!machines.iter().any(is_machine), "the machine has ended with the shell");
}

/// Types Ctrl-C until the shell answers: a job that `fg` names is not in the foreground yet when its name is shown. What was typed
/// before is flushed with the signal.
fn end_with_ctrl_c(terminal: &mut Terminal) {
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    while Instant::now() < deadline {
        terminal.type_in(CTRL_C);
        terminal.type_in("echo answer-$((40 + 2))\n");
        if terminal.shows("answer-42", RETRY_INTERVAL) {
            return;
        }
    }
    panic!("the job of the foreground does not end:\n{}", terminal.shown);
}

fn escape_ends_the_machine() {
    let (mut terminal, machines) = started();
    in_foreground(&mut terminal, 3);
    terminal.type_in(CTRL_CLOSING_BRACKET);
    terminal.ends_with(70);
    terminal.wait_for("error: the machine was ended by Ctrl-]", ANSWER_TIMEOUT);
    assert!(!machines.iter().any(is_machine), "the machine has ended");
}
