//! An agent that misbehaves on request, so that the host's verdicts are tested on the real thing.
//!
//! Only there with `lab.selftest` on the kernel command line; a plan cannot ask for any of it.

pub(crate) mod dirt;
pub(crate) mod this_kernel;

use std::error::Error;
use std::fs;
use std::io::{BufRead, Write};

use crate::agent::channel;
use crate::agent::channel::{Reader, Writer};
use crate::init;
use bondlab_core::plan::handshake::Ready;

/// The word on the kernel command line.
pub const WORD: &str = "lab.selftest";

/// Before a topology's name: the kernel panics when that topology has stood for the first time.
pub const PANIC_WORD: &str = "lab.selftest.panic=";

/// Before a topology's name: a record too much is written after the last one of its plan.
pub const STRAY_WORD: &str = "lab.selftest.stray=";

/// Before a JSON object: run the lab inside the guest, and tell how it went.
pub const LAB_WORD: &str = "lab ";

/// Whether this boot is a test of the lab itself.
#[must_use]
pub fn is_asked_for() -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.split_whitespace().any(|word| word == WORD))
}

/// Panics the kernel where this boot is a test of what comes of that.
pub(crate) fn panic_if_asked_for(topology: &str) {
    if is_asked_of(PANIC_WORD, topology) {
        // Written or not, nothing is left to be done.
        let _ = fs::write("/proc/sysrq-trigger", "c");
    }
}

/// Whether this boot is a test of what comes of a record too much.
pub(crate) fn is_stray_asked_for(topology: &str) -> bool {
    is_asked_of(STRAY_WORD, topology)
}

fn is_asked_of(before: &str, topology: &str) -> bool {
    let is_it = |word: &str| word.strip_prefix(before) == Some(topology);
    init::is_machine()
        && fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.split_whitespace().any(is_it))
}

/// Does what each line names; any other line is echoed. Returns at the end of input or at `finish`.
///
/// # Errors
/// When the channel breaks, and for `fail`.
pub fn serve(reader: Reader, mut writer: Writer, ready: Ready) -> Result<(), Box<dyn Error + Send + Sync>> {
    channel::say_ready(&mut writer, ready)?;
    for line in reader.lines() {
        let line = line?;
        match line.as_str() {
            "finish" => return Ok(()),
            "fail" => return Err("asked to fail".into()),
            "agent-panic" => panic!("asked to panic"),
            "abort" => std::process::abort(),
            "exit" => std::process::exit(3),
            "kernel-panic" => fs::write("/proc/sysrq-trigger", "c")?,
            "power-off" => fs::write("/proc/sysrq-trigger", "o")?,
            "hang" => hang(),
            "freeze" => freeze(),
            "garbage" => writer.write_all(b"\xff\xfe not JSON, not even text\n")?,
            "truncate" => {
                writer.write_all(b"{\"truncated\":")?;
                return Ok(());
            }
            "truncate-and-panic" => {
                writer.write_all(b"{\"truncated\":")?;
                fs::write("/proc/sysrq-trigger", "c")?;
            }
            "more" => {
                writer.write_all(b"last\none more\n")?;
                return Ok(());
            }
            "flood" => flood(&mut writer)?,
            "uptime" => writer.write_all(fs::read_to_string("/proc/uptime")?.as_bytes())?,
            "random" => writer.write_all(fs::read_to_string("/proc/sys/kernel/random/uuid")?.as_bytes())?,
            "dirt" => writeln!(writer, "{}", serde_json::to_string(&dirt::spread()?)?)?,
            "console" => writeln!(std::io::stderr(), "{}", "x".repeat(200_000))?,
            other => match other.strip_prefix(LAB_WORD) {
                Some(ask) => {
                    let answer = this_kernel::run(&serde_json::from_str(ask)?)?;
                    writeln!(writer, "{}", serde_json::to_string(&answer)?)?;
                }
                None => writeln!(writer, "{other}")?,
            },
        }
    }
    Ok(())
}

/// Lines for ever.
fn flood(writer: &mut Writer) -> std::io::Result<()> {
    let lines = "{\"flood\":true}\n".repeat(4096);
    loop {
        writer.write_all(lines.as_bytes())?;
    }
}

/// An endless loop in user space: the kernel is well, the agent says nothing.
fn hang() -> ! {
    loop {
        std::hint::spin_loop();
    }
}

/// Interrupts off and an endless loop, which iopl(3) grants no more since Linux 5.5. What still stops the only CPU is
/// a real-time task that never yields, with throttling off: not even the kernel's own threads run.
fn freeze() -> ! {
    let _ = fs::write("/proc/sys/kernel/sched_rt_runtime_us", "-1");
    let param = libc::sched_param { sched_priority: 99 };
    // SAFETY: the struct is valid for the call, and 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) };
    hang()
}
