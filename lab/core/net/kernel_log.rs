//! The kernel's log from level warning up, as lines that a second run would print too.
//!
//! Left out of a line: addresses, pointers, and numbers that stand for themselves, which may be interface indexes or process
//! ids. Device names and IPv4 addresses stay. Of a WARN() its place is kept, and nothing of the trace below it. Lines are
//! listed once, in no order: how often the kernel repeats one is a matter of its rate limit.
//!
//! Left out are lines that the load of the host causes (`LOAD`), lines that depend on which of two timers was first
//! (`TIMERS`), and that messages were held back.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The least urgent level that is kept: KERN_WARNING.
const LEVEL_MAX: u8 = 4;
/// Distinct lines; with more the log is not compared.
pub const LINES_MAX: usize = 64;
/// Of one line, in characters.
const LINE_CHARS_MAX: usize = 200;
/// By number, include/linux/kern_levels.h.
const LEVELS: [&str; 5] = ["emerg", "alert", "crit", "err", "warning"];

/// What a kernel says when its host is slow, and that it has held messages back.
const LOAD: [&str; 17] = [
    "hrtimer:",
    "clocksource:",
    "Clocksource",
    "rcu:",
    "rcu_",
    "INFO: rcu",
    "INFO: task",
    "INFO: NMI",
    "workqueue:",
    "perf:",
    "sched:",
    "watchdog:",
    "NOHZ",
    "TSC ",
    "tsc:",
    "random:",
    "net_ratelimit:",
];
/// Parts of lines that depend on timers of two sides. The mailbox between a PF and its VFs: `igb_msg_task()` is run by an
/// interrupt and a watchdog, a VF that asks in the midst of a reset is refused (`igbvf_reset()`). A bond warns that it has no
/// partner when it selects an aggregator before the first LACPDU came (`ad_agg_selection_logic()`).
const TIMERS: [&str; 4] = [
    "igb 0000:",
    "igbvf 0000:",
    "setting MAC of new active slave",
    "No 802.3ad response from the link partner for any adapters in the bond",
];
const HELD_BACK: &str = "callbacks suppressed";

/// How a WARN() begins and ends.
const CUT_HERE: &str = "[ cut here ]";
const END_TRACE: &str = "---[ end trace";

/// Lines of a trial.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelLog {
    /// `LEVEL TEXT`, each once.
    pub lines: BTreeSet<String>,
    /// Whether there were more, or some were overwritten before they were read.
    pub is_cut: bool,
    /// Whether the lines to come are of a trace.
    #[serde(skip)]
    in_trace: bool,
}

impl KernelLog {
    /// Takes in a record of /dev/kmsg: `PRIORITY,SEQUENCE,TIME,FLAGS;TEXT` (Documentation/ABI/testing/dev-kmsg).
    pub fn take(&mut self, record: &str) {
        let Some((head, text)) = record.split_once(';') else { return };
        let priority: Option<u32> = head.split(',').next().and_then(|priority| priority.parse().ok());
        // The facility of the kernel itself is 0; others have written to /dev/kmsg.
        let Some(level) = priority.and_then(|it| u8::try_from(it).ok()).filter(|it| *it <= LEVEL_MAX) else {
            return;
        };
        // Lines below are properties of the record.
        let text = text.lines().next().unwrap_or_default().trim();
        if let Some(line) = self.line(text) {
            let line: String = line.chars().take(LINE_CHARS_MAX).collect();
            let line = format!("{} {line}", LEVELS[usize::from(level)]);
            if self.lines.len() < LINES_MAX || self.lines.contains(&line) {
                self.lines.insert(line);
            } else {
                self.is_cut = true;
            }
        }
    }

    fn line(&mut self, text: &str) -> Option<String> {
        if text.contains(CUT_HERE) || text.starts_with(END_TRACE) {
            self.in_trace = text.contains(CUT_HERE);
            return None;
        }
        if self.in_trace {
            return text.starts_with("WARNING: ").then(|| place(text));
        }
        let is_load = LOAD.iter().any(|start| text.starts_with(start)) || text.contains(HELD_BACK);
        let is_timers = TIMERS.iter().any(|part| text.contains(part));
        (!is_load && !is_timers && !text.is_empty()).then(|| normalised(text))
    }
}

/// Where a WARN() is: `WARNING at FUNCTION (FILE)`, without line number, processor and process.
fn place(text: &str) -> String {
    let word =
        |has: &str| text.split_whitespace().find_map(|word| word.split_once(has).map(|(name, _)| name));
    let function = word("+0x").unwrap_or("a function without name");
    let file = word(".c:").map_or_else(|| "a file without name".to_owned(), |file| format!("{file}.c"));
    format!("WARNING at {function} ({file})")
}

/// A line without what is another in each run.
fn normalised(text: &str) -> String {
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    let is_edge = |c: char| !c.is_ascii_alphanumeric();
    let core = word.trim_matches(is_edge);
    let put = |what: &str| word.replacen(core, what, 1);
    let all_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mac = core.len() == 17 && core.split(':').count() == 6 && core.split(':').all(all_hex);
    let is_pointer = core.strip_prefix("0x").is_some_and(all_hex) || (core.len() == 16 && all_hex(core));
    if core.is_empty() {
        word.to_owned()
    } else if is_mac {
        put("MAC")
    } else if is_pointer {
        put("ADDRESS")
    } else if core.bytes().all(|byte| byte.is_ascii_digit()) {
        put("N")
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(records: &[&str]) -> Vec<String> {
        let mut log = KernelLog::default();
        records.iter().for_each(|record| log.take(record));
        log.lines.into_iter().collect()
    }

    #[rstest::rstest]
    #[case("4,12,345,-;bond0: (slave p0): is 0 of 12", &["warning bond0: (slave p0): is N of N"])]
    #[case("3,1,2,-;p0: address 02:00:ab:cd:ef:01 at 0xffff8881 of [00000000deadbeef]",
        &["err p0: address MAC at ADDRESS of [ADDRESS]"])]
    #[case("4,1,2,-;Virtual device bond0.70 asks to queue packet!\n SUBSYSTEM=net",
        &["warning Virtual device bond0.70 asks to queue packet!"])]
    // KERN_INFO; another facility; no record.
    #[case("6,1,2,-;bond0: up", &[])]
    #[case("12,1,2,-;systemd: failed", &[])]
    #[case("nonsense", &[])]
    // The host's load.
    #[case("4,1,2,-;hrtimer: interrupt took 5 ns", &[])]
    #[case("4,1,2,-;net_ratelimit: 980 callbacks suppressed", &[])]
    // Timers of two sides.
    #[case("4,1,2,-;igbvf 0000:01:10.2: Vlan id 0\\x0a is not added", &[])]
    #[case("3,1,2,-;bond0: (slave net1): Error 12 setting MAC of new active slave", &[])]
    #[case("4,1,2,-;bond0: Warning: No 802.3ad response from the link partner for any adapters in the bond", &[])]
    fn a_line_is_what_a_second_run_would_print(#[case] record: &str, #[case] expected: &[&str]) {
        assert_eq!(told(&[record]), expected);
    }

    #[test]
    fn of_a_warning_only_its_place_is_reported() {
        for head in [
            "4,1,2,-;WARNING: CPU: 0 PID: 71 at net/core/dev.c:5120 netif_x+0x1a/0x30 [bonding]",
            "4,1,2,-;WARNING: net/core/dev.c:5121 at netif_x+0x1b/0x30 [bonding], CPU#0: lab/72",
        ] {
            let trace =
                ["4,1,1,-;------------[ cut here ]------------", head, "4,1,3,-;RIP: 0010:netif_x+0x1a"];
            let end = ["4,1,4,-;---[ end trace 0000000000000000 ]---", "4,1,5,-;p0: after it"];
            let all: Vec<&str> = trace.into_iter().chain(end).collect();
            assert_eq!(told(&all), ["warning WARNING at netif_x (net/core/dev.c)", "warning p0: after it"]);
        }
    }

    #[test]
    fn repeated_lines_are_one_and_too_many_are_cut() {
        assert_eq!(told(&["4,1,2,-;a 1", "4,2,3,-;a 2"]), ["warning a N"]);
        let mut log = KernelLog::default();
        (0..=LINES_MAX).for_each(|number| log.take(&format!("4,1,2,-;p{number}: x")));
        assert!(log.is_cut && log.lines.len() == LINES_MAX);
    }
}
