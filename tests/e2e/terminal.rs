//! `lab shell` in a terminal: what is typed, what is shown, and the terminal as it is left.

use std::fs::{File, read_link};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
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
const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

/// The trials.
pub fn trials() -> Vec<Trial> {
    let pin = machine::pins(KERNEL).remove(0);
    vec![trial("exec/a shell in a terminal", pin, |_, _| a_shell_in_a_terminal())]
}

/// A terminal with a program in it.
struct Terminal {
    child: Child,
    master: File,
    slave: PathBuf,
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
        let stream = || pty.slave.try_clone().expect("a descriptor");
        // A session of its own, whose terminal this is: the kernel sends SIGWINCH to its foreground process group.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", LAB]).args(arguments).env("PS1", "guest# ");
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
        Self { child, master: File::from(pty.master), slave, output, shown: String::new(), seen: 0 }
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("a terminal takes keys");
    }

    /// Waits until a text is shown that was not there before.
    fn wait_for(&mut self, text: &str, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(at) = self.shown[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.shown.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) => panic!("{text:?} is not shown ({error}):\n{}", self.shown),
            }
        }
    }

    fn stty(&self, arguments: &[&str]) -> String {
        let output =
            Command::new("stty").arg("-F").arg(&self.slave).args(arguments).output().expect("coreutils");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn a_shell_in_a_terminal() {
    let topology = flagship();
    let topology = topology.to_str().expect("a path of the project");
    let shell = ["shell", topology, "--no-install", "--kernel", KERNEL, "--ns", "node", "--env", "PS1"];
    let mut terminal = Terminal::start(&shell, (24, 80));
    let held: OwnedFd =
        File::options().read(true).write(true).open(&terminal.slave).expect("a terminal").into();
    let before = terminal.stty(&["-a"]);
    terminal.type_in("echo ready-$((40 + 2))\n");
    terminal.wait_for("ready-42", START_TIMEOUT);
    terminal.type_in("stty size\n");
    terminal.wait_for("24 80", ANSWER_TIMEOUT);
    terminal.stty(&["rows", "50", "cols", "132"]);
    // The signal and the new size are on their way while the shell waits for its next line.
    terminal.type_in("until stty size | grep -q '^50 132'; do :; done; echo wide-$((40 + 2))\n");
    terminal.wait_for("wide-42", ANSWER_TIMEOUT);
    terminal.type_in("echo begun-$((40 + 2)); sleep 1000\n");
    terminal.wait_for("begun-42", ANSWER_TIMEOUT);
    terminal.type_in(CTRL_C);
    terminal.type_in("echo \"status $?\"\n");
    terminal.wait_for("status 130", ANSWER_TIMEOUT);
    terminal.type_in("echo begun-$((40 + 3)); sleep 1000\n");
    terminal.wait_for("begun-43", ANSWER_TIMEOUT);
    terminal.type_in(CTRL_Z);
    terminal.wait_for("Stopped", ANSWER_TIMEOUT);
    terminal.type_in("bg; jobs\n");
    terminal.wait_for("Running", ANSWER_TIMEOUT);
    terminal.type_in("kill %1; wait; lab step\n");
    terminal.wait_for("The account so far, with 1 of 2 steps to come:", ANSWER_TIMEOUT);
    terminal.type_in("exit 7\n");
    assert_eq!(terminal.child.wait().expect("it ends").code(), Some(7), "{}", terminal.shown);
    let after = terminal.stty(&["-a"]);
    let modes = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(after.contains(" icanon ") && after.contains(" echo "), "{after}");
    assert_eq!(modes(&after).last(), modes(&before).last(), "the terminal is as it was");
    drop(held);
}
