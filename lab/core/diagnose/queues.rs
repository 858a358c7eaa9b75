//! `tc -s qdisc` as text: what queueing disciplines counted, by device.

use std::collections::BTreeMap;

use crate::import::text::{self, Line};
use crate::net::name::IfName;

/// What the disciplines of one device counted, in frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// Kinds at the root and below it, in order.
    pub kinds: Vec<String>,
    /// Frames taken.
    pub sent: u64,
    /// Frames refused or dropped.
    pub drops: u64,
    /// Frames that a driver did not take at once.
    pub requeues: u64,
    /// Frames that wait.
    pub backlog: u64,
    /// What filters at clsact or ingress dropped, where the device has that discipline.
    pub hook: Option<u64>,
}

/// Reads all that is there.
pub fn read(text: &str) -> BTreeMap<IfName, Queue> {
    let mut all: BTreeMap<IfName, Queue> = BTreeMap::new();
    // Its device, and whether it is clsact or ingress.
    let mut current: Option<(IfName, bool)> = None;
    for Line { text, .. } in text::lines(text) {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let ["qdisc", kind, _, ..] = words[..] {
            current = text::after(text, "dev").and_then(|dev| dev.parse().ok()).map(|dev: IfName| {
                let is_hook = matches!(kind, "clsact" | "ingress");
                let queue = all.entry(dev.clone()).or_default();
                if !is_hook {
                    queue.kinds.push(kind.to_owned());
                }
                (dev, is_hook)
            });
        } else if let Some((device, is_hook)) = &current
            && let Some(queue) = all.get_mut(device)
        {
            line(queue, *is_hook, text);
        }
    }
    all
}

/// `Sent 168 bytes 2 pkt (dropped 99, overlimits 0 requeues 1)`, ` backlog 98b 1p requeues 1`.
fn line(queue: &mut Queue, is_hook: bool, text: &str) {
    let number = |word: &str| {
        let digits = text::after(text, word)?.trim_end_matches([',', ')', 'p', 'b']);
        digits.parse::<u64>().ok()
    };
    let trimmed = text.trim();
    if trimmed.starts_with("Sent ") {
        let dropped = number("(dropped").unwrap_or(0);
        if is_hook {
            queue.hook = Some(queue.hook.unwrap_or(0).max(dropped));
            return;
        }
        let words: Vec<&str> = trimmed.split_whitespace().collect();
        let sent = words.get(3).and_then(|word| word.parse().ok()).unwrap_or(0);
        // A child's frames are its parent's, too.
        (queue.sent, queue.drops) = (queue.sent.max(sent), queue.drops.max(dropped));
        queue.requeues = queue.requeues.max(number("requeues").unwrap_or(0));
    } else if trimmed.starts_with("backlog ") && !is_hook {
        let packets = trimmed.split_whitespace().nth(2).map(|word| word.trim_end_matches('p'));
        let packets = packets.and_then(|word| word.parse().ok()).unwrap_or(0);
        queue.backlog = queue.backlog.max(packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_clsact_of_a_device_are_told_apart() {
        let text = "qdisc tbf 8001: dev enp2s0 root refcnt 2 rate 8bit burst 200b lat 2s \n \
                    Sent 168 bytes 2 pkt (dropped 193, overlimits 199 requeues 1) \n \
                    backlog 490b 5p requeues 1\n\
                    qdisc fq_codel 8002: dev enp2s0 parent 8001:1 limit 1p\n \
                    Sent 168 bytes 2 pkt (dropped 190, overlimits 0 requeues 0) \n \
                    backlog 490b 5p requeues 0\n\
                    qdisc clsact ffff: dev bond0 parent ffff:fff1 \n \
                    Sent 8400 bytes 200 pkt (dropped 200, overlimits 0 requeues 0) \n \
                    backlog 0b 0p requeues 0\n";
        let all = read(text);
        let port = &all[&"enp2s0".parse::<IfName>().unwrap()];
        assert_eq!((port.sent, port.drops, port.requeues, port.backlog, port.hook), (2, 193, 1, 5, None));
        assert_eq!(port.kinds, ["tbf", "fq_codel"]);
        let bond = &all[&"bond0".parse::<IfName>().unwrap()];
        assert_eq!((bond.hook, bond.drops), (Some(200), 0));
    }

    #[test]
    fn numbers_beyond_all_bounds_are_none() {
        let all = read(
            "qdisc pfifo 1: dev a\n Sent 1 bytes 99999999999999999999999 pkt (dropped x, requeues -1)\n",
        );
        assert_eq!(all[&"a".parse::<IfName>().unwrap()].drops, 0);
    }
}
