//! The guest's console: a bounded memory of it, and what its lines say about how the kernel fared.

use std::collections::VecDeque;
use std::fmt;

use bondlab_core::net::clean;
use bondlab_core::plan::handshake::CONSOLE_MARK;

/// A panic with its traces is under 16 KiB, and a machine ends at the first; a guest that floods its console
/// loses its oldest lines.
pub const CONSOLE_BYTES_MAX: usize = 256 * 1024;

/// The last bytes of a console.
#[derive(Debug, Default)]
pub struct Console {
    bytes: VecDeque<u8>,
    lost: u64,
}

impl Console {
    /// Remembers `bytes`, and forgets the oldest beyond [`CONSOLE_BYTES_MAX`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(CONSOLE_BYTES_MAX);
        self.bytes.drain(..excess);
        self.lost += excess as u64;
    }

    /// How many bytes were forgotten.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// What is remembered, one entry a line, without timestamps and line ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        // A serial port ends its lines with \r\n, and some firmware with more of them.
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.split('\n').map(|line| without_prefix(line.trim_end_matches('\r')));
        lines.filter(|line| !line.is_empty()).map(|line| clean::line(line).into_owned()).collect()
    }
}

/// What a line on the console means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The kernel found no init to start.
    BootFail,
    /// PID 1 was killed.
    InitDied,
    /// The kernel noticed by itself that something does not move on.
    Hang,
    /// The kernel found itself at fault.
    Panic,
    /// A report that does not end a run.
    Warning,
}

struct Marker {
    text: &'static str,
    meaning: Meaning,
    /// How many of these a run may print that otherwise ended well.
    tolerated: usize,
}

/// More specific lines first: a kernel that hangs or has no init says "Kernel panic" in its next breath.
const MARKERS: [Marker; 16] = [
    Marker { text: "Unable to mount root fs", meaning: Meaning::BootFail, tolerated: 0 },
    Marker { text: "No working init found", meaning: Meaning::BootFail, tolerated: 0 },
    Marker { text: "Requested init", meaning: Meaning::BootFail, tolerated: 0 },
    Marker { text: "Initramfs unpacking failed", meaning: Meaning::BootFail, tolerated: 0 },
    Marker { text: "BUG: soft lockup", meaning: Meaning::Hang, tolerated: 0 },
    Marker { text: "blocked for more than", meaning: Meaning::Hang, tolerated: 0 },
    // A host that gives the guest no CPU for 21 s causes one as well.
    Marker { text: "self-detected stall", meaning: Meaning::Hang, tolerated: 1 },
    Marker { text: "detected stalls on CPUs", meaning: Meaning::Hang, tolerated: 1 },
    Marker { text: "rcu_sched kthread starved", meaning: Meaning::Hang, tolerated: 1 },
    Marker { text: "kernel BUG at", meaning: Meaning::Panic, tolerated: 0 },
    Marker { text: "BUG:", meaning: Meaning::Panic, tolerated: 0 },
    Marker { text: "Oops:", meaning: Meaning::Panic, tolerated: 0 },
    Marker { text: "general protection fault", meaning: Meaning::Panic, tolerated: 0 },
    Marker { text: "Attempted to kill init", meaning: Meaning::InitDied, tolerated: 0 },
    Marker { text: "Kernel panic", meaning: Meaning::Panic, tolerated: 0 },
    Marker { text: "WARNING: ", meaning: Meaning::Warning, tolerated: usize::MAX },
];

/// The first functions of a kernel's stack at the point where it failed: the same fault compares equal, whatever the
/// addresses, offsets and the way the kernel came to print it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub Vec<String>);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no kernel function on the stack");
        }
        f.write_str(&self.0.join(" < "))
    }
}

/// A line that means something, and the stack printed below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where among the lines.
    pub index: usize,
    /// What it means.
    pub meaning: Meaning,
    /// The line.
    pub line: String,
    /// The stack below it.
    pub fingerprint: Fingerprint,
}

/// The finding that explains why a kernel ended its machine, or `None` when the console has no reason for it.
#[must_use]
pub fn cause_of_death(lines: &[String]) -> Option<Finding> {
    find(lines, |marker| marker.meaning != Meaning::Warning)
}

/// The finding that spoils a run that otherwise ended well: more of a kind than is tolerated.
#[must_use]
pub fn untolerated(lines: &[String]) -> Option<Finding> {
    find(lines, |marker| {
        let count = lines.iter().filter(|line| is_of_kernel(line) && line.contains(marker.text)).count();
        count > marker.tolerated
    })
}

/// Kernel reports that do not end a run, for the record.
#[must_use]
pub fn warnings(lines: &[String]) -> Vec<String> {
    let is_marked =
        |line: &&String| is_of_kernel(line) && MARKERS.iter().any(|marker| line.contains(marker.text));
    lines.iter().filter(is_marked).cloned().collect()
}

/// What PID 1 and the agent said, without the mark.
#[must_use]
pub fn last_words(lines: &[String]) -> Vec<String> {
    lines.iter().filter_map(|line| line.strip_prefix(CONSOLE_MARK)).map(str::to_owned).collect()
}

/// By line first: what a kernel reports later is often a consequence.
fn find(lines: &[String], counts: impl Fn(&Marker) -> bool) -> Option<Finding> {
    let (index, marker) =
        lines.iter().enumerate().filter(|(_, line)| is_of_kernel(line)).find_map(|(index, line)| {
            let marker = MARKERS.iter().find(|marker| line.contains(marker.text) && counts(marker))?;
            Some((index, marker))
        })?;
    let fingerprint = fingerprint(&lines[index..]);
    Some(Finding { index, meaning: marker.meaning, line: lines[index].clone(), fingerprint })
}

fn is_of_kernel(line: &str) -> bool {
    !line.starts_with(CONSOLE_MARK)
}

/// Enough to tell two faults apart; deeper frames vary with configuration and inlining.
const FINGERPRINT_FRAMES: usize = 5;

/// The stack below a marker, without how the kernel came to print it and how a task came to enter the kernel.
#[must_use]
pub fn fingerprint(lines: &[String]) -> Fingerprint {
    let mut frames: Vec<String> = Vec::new();
    // After the end mark an oops prints its registers once more.
    for line in lines.iter().take_while(|line| !line.starts_with("---[ end")) {
        let Some(frame) = frame(line) else { continue };
        if !is_plumbing(frame) && frames.last().is_none_or(|last| last != frame) {
            frames.push(frame.to_owned());
        }
        if frames.len() == FINGERPRINT_FRAMES {
            break;
        }
    }
    Fingerprint(frames)
}

/// The function of ` name.isra.0+0x1a/0x30 [module]` or `RIP: 0010:name+0x1a/0x30`. A leading `?` is an address
/// found on the stack that need not be a frame.
fn frame(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line.strip_prefix("RIP: 0010:").unwrap_or(line);
    let symbol = line.split_whitespace().next()?;
    let (name, offset) = symbol.split_once("+0x")?;
    offset.contains("/0x").then(|| name.split('.').next().unwrap_or(name))
}

/// Functions between the fault and the printout, and between a system call and its work.
fn is_plumbing(function: &str) -> bool {
    const NAMES: [&str; 35] = [
        "__die",
        "__die_body",
        "__handle_sysrq",
        "__show_regs",
        "__sysvec_apic_timer_interrupt",
        "__warn",
        "bad_area_nosemaphore",
        "default_do_nmi",
        "die",
        "die_addr",
        "do_error_trap",
        "do_nmi",
        "do_syscall_64",
        "do_trap",
        "do_user_addr_fault",
        "dump_stack",
        "dump_stack_lvl",
        "end_repeat_nmi",
        "entry_SYSCALL_64_after_hwframe",
        "exc_nmi",
        "first_nmi",
        "handle_bug",
        "kernelmode_fixup_or_oops",
        "nmi_panic",
        "no_context",
        "oops_end",
        "page_fault_oops",
        "panic",
        "report_bug",
        "show_regs",
        "show_stack",
        "unknown_nmi_error",
        "vpanic",
        "write_sysrq_trigger",
        "x64_sys_call",
    ];
    NAMES.contains(&function)
        || ["exc_", "asm_exc_", "asm_sysvec_", "sysvec_"].iter().any(|p| function.starts_with(p))
}

/// Without `[    1.234567]` and, where the kernel prints the caller, `[    T1]`.
fn without_prefix(line: &str) -> &str {
    let mut rest = line.trim_end();
    while let Some(inner) = rest.strip_prefix('[') {
        let Some((prefix, after)) = inner.split_once(']') else {
            break;
        };
        let is_prefix = prefix.chars().all(|c| c.is_ascii_digit() || " .TC".contains(c));
        if !is_prefix {
            break;
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let mut console = Console::default();
        console.push(text.as_bytes());
        console.lines()
    }

    const SYSRQ: &str = "\
[    2.101] sysrq: Trigger a crash\r
[    2.102] Kernel panic - not syncing: sysrq triggered crash\r
[    2.103] CPU: 0 UID: 0 PID: 61 Comm: init Not tainted 6.12.57+deb12-cloud-amd64 #1\r
[    2.104] Call Trace:\r
[    2.105]  <TASK>\r
[    2.106]  dump_stack_lvl+0x27/0x90\r
[    2.107]  panic+0x32c/0x370\r
[    2.108]  sysrq_handle_crash+0x1a/0x20\r
[    2.109]  __handle_sysrq.cold+0x9b/0xdb\r
[    2.110]  write_sysrq_trigger+0x5b/0x80\r
[    2.111]  proc_reg_write+0x5a/0xa0\r
[    2.112]  ? preempt_count_add+0x6a/0xa0\r
[    2.113]  vfs_write+0xf8/0x450\r
[    2.114]  ksys_write+0x6d/0xf0\r
[    2.115]  do_syscall_64+0x82/0x190\r
[    2.116]  entry_SYSCALL_64_after_hwframe+0x76/0x7e\r
[    2.117] RIP: 0033:0x7f4d3f\r
[    2.118] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---\r
";

    const OOPS: &str = "\
[    3.1][    T9] BUG: kernel NULL pointer dereference, address: 0000000000000010
[    3.1][    T9] Oops: Oops: 0000 [#1] PREEMPT SMP NOPTI
[    3.1][    T9] RIP: 0010:bond_start_xmit+0x1f/0x500 [bonding]
[    3.1][    T9] Call Trace:
[    3.1][    T9]  <TASK>
[    3.1][    T9]  ? __die+0x23/0x70
[    3.1][    T9]  ? page_fault_oops+0x17d/0x530
[    3.1][    T9]  ? asm_exc_page_fault+0x26/0x30
[    3.1][    T9]  bond_start_xmit+0x1f/0x500 [bonding]
[    3.1][    T9]  dev_hard_start_xmit.isra.0+0x60/0x1f0
[    3.1][    T9]  __dev_queue_xmit+0x25a/0xe20
[    3.1][    T9] ---[ end trace 0000000000000000 ]---
[    3.1][    T9] RIP: 0010:bond_start_xmit+0x1f/0x500 [bonding]
[    3.1][    T9] Kernel panic - not syncing: Fatal exception in interrupt
";

    #[test]
    fn the_same_crash_has_the_same_fingerprint_whatever_the_offsets() {
        let moved =
            SYSRQ.replace("+0x1a/", "+0x99/").replace("ksys_write+0x6d", "ksys_write.constprop.0+0x11");
        let first = cause_of_death(&lines(SYSRQ)).unwrap();
        assert_eq!(first.meaning, Meaning::Panic);
        assert_eq!(first.line, "Kernel panic - not syncing: sysrq triggered crash");
        assert_eq!(
            first.fingerprint.to_string(),
            "sysrq_handle_crash < proc_reg_write < vfs_write < ksys_write"
        );
        assert_eq!(first.index, 1);
        assert_eq!(first, cause_of_death(&lines(&moved)).unwrap());
    }

    #[test]
    fn an_oops_is_reported_by_its_first_line_and_the_faulting_function_comes_first() {
        let found = cause_of_death(&lines(OOPS)).unwrap();
        assert_eq!(found.meaning, Meaning::Panic);
        assert!(found.line.starts_with("BUG: kernel NULL pointer"), "{}", found.line);
        assert_eq!(found.fingerprint.to_string(), "bond_start_xmit < dev_hard_start_xmit < __dev_queue_xmit");
    }

    #[test]
    fn each_marker_means_what_the_kernel_means() {
        let cases = [
            (
                "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
                Some(Meaning::BootFail),
            ),
            (
                "Kernel panic - not syncing: No working init found.  Try passing init=",
                Some(Meaning::BootFail),
            ),
            (
                "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b",
                Some(Meaning::InitDied),
            ),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]", Some(Meaning::Hang)),
            ("INFO: task ip:77 blocked for more than 30 seconds.", Some(Meaning::Hang)),
            ("kernel BUG at net/core/dev.c:1!", Some(Meaning::Panic)),
            ("lab: agent: BUG: not the kernel's", None),
            ("WARNING: CPU: 0 PID: 1 at net/core/dev.c:1", None),
            ("all is well", None),
        ];
        for (line, want) in cases {
            assert_eq!(cause_of_death(&lines(line)).map(|finding| finding.meaning), want, "{line}");
        }
    }

    #[test]
    fn a_run_may_print_as_many_as_are_tolerated() {
        let stall = "rcu: INFO: rcu_preempt self-detected stall on CPU\n";
        assert_eq!(untolerated(&lines(stall)), None);
        assert!(untolerated(&lines(&stall.repeat(2))).is_some());
        assert_eq!(untolerated(&lines(&"WARNING: at x\n".repeat(99))), None);
        assert_eq!(warnings(&lines("WARNING: at x\nfine\n")), ["WARNING: at x"]);
        assert!(untolerated(&lines("BUG: sleeping function called from invalid context")).is_some());
    }

    #[test]
    fn a_line_of_the_console_is_text() {
        for (said, shown) in [
            ("\u{1b}c\u{1b}[2Jcleared\r\r\n", "\\u{1b}c\\u{1b}[2Jcleared"),
            ("a\rb\u{7}\n", "a\\rb\\u{7}"),
            ("\u{9b}31m \u{85} \u{202e}x\n", "\\u{9b}31m \\u{85} \\u{202e}x"),
            ("[    1.5] nul \0\n", "nul \\u{0}"),
        ] {
            assert_eq!(lines(said), [shown]);
        }
        let mut console = Console::default();
        console.push(b"\xff\x1b\n");
        assert_eq!(console.lines(), ["\u{fffd}\\u{1b}"]);
    }

    #[test]
    fn a_flood_keeps_its_end() {
        let mut console = Console::default();
        console.push(&vec![b'x'; CONSOLE_BYTES_MAX]);
        console.push(b"\nKernel panic\n");
        assert_eq!(console.lost(), 14);
        assert_eq!(console.lines().last().unwrap(), "Kernel panic");
    }
}
