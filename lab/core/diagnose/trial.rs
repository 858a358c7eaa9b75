//! A trial of a snapshot, taken apart again: flows, counters, queues and links.

use std::collections::BTreeMap;

/// A flow's numbers.
#[derive(Debug, Default)]
pub struct FlowSeen<'t> {
    /// Its name.
    pub name: &'t str,
    /// Its kind of socket.
    pub socket: &'t str,
    /// Frames asked for, delivered, and so on, and errnos, by their words.
    pub numbers: BTreeMap<&'t str, u64>,
    /// Layer and device of each place where frames were lost.
    pub lost_at: Vec<(&'t str, &'t str)>,
}

impl<'t> FlowSeen<'t> {
    /// A number by its word.
    pub fn number(&self, word: &str) -> u64 {
        self.numbers.get(word).copied().unwrap_or(0)
    }

    /// The errno that most frames ended with.
    pub fn errno(&self) -> Option<&'t str> {
        let errnos = self.numbers.iter().filter(|(word, count)| word.starts_with('E') && **count > 0);
        errnos.max_by_key(|(_, count)| **count).map(|(word, _)| *word)
    }
}

/// One trial.
#[derive(Debug, Default)]
pub struct Trial<'t> {
    /// In order.
    pub flows: Vec<FlowSeen<'t>>,
    /// Counters of devices.
    pub counters: BTreeMap<(&'t str, &'t str), u64>,
    /// Counters of queueing disciplines by kind, device and name.
    pub queues: Vec<(&'t str, &'t str, &'t str, u64)>,
    /// `operstate ..., flags ...` of devices.
    pub links: BTreeMap<&'t str, &'t str>,
    /// LACP's bits, by port.
    pub lacp: BTreeMap<&'t str, &'t str>,
    /// Counters that the text does not compare: nothing is known of them.
    pub unknown: Vec<(&'t str, &'t str)>,
    /// Whether the text has counters at all: with paced flows and with TCP that sends again it has none.
    pub is_counted: bool,
}

impl<'t> Trial<'t> {
    /// The trial of this name; `None` if the text does not have it, or the kernel refused it.
    pub fn parse(text: &'t str, name: &str) -> Option<Self> {
        let heading = format!("trial {name}");
        let mut lines = text.lines().skip_while(|line| *line != heading);
        lines.next()?;
        let mut trial = Self { is_counted: true, ..Self::default() };
        for line in lines.take_while(|line| line.starts_with(' ')) {
            let (label, value) = line.trim_start().split_once(": ")?;
            trial.line(label, value)?;
        }
        (!trial.flows.is_empty()).then_some(trial)
    }

    fn line(&mut self, label: &'t str, value: &'t str) -> Option<()> {
        if label == "refused" {
            return None;
        } else if let Some(flow) = label.strip_prefix("flow ") {
            let (name, socket) = flow.split_once(" (")?;
            let numbers = value.split(", ").filter_map(|item| {
                let (number, word) = item.split_once(' ')?;
                Some((word, number.parse().ok()?))
            });
            let flow = FlowSeen {
                name,
                socket: socket.trim_end_matches(')'),
                numbers: numbers.collect(),
                lost_at: Vec::new(),
            };
            let sends_again = flow.socket == "tcp" && flow.number("delivered") < flow.number("asked");
            self.is_counted &= flow.numbers.contains_key("sent") && !sends_again;
            self.flows.push(flow);
        } else if let Some(place) = label.strip_prefix("lost at ") {
            self.flows.last_mut()?.lost_at.push(place.split_once(" of ")?);
        } else if let Some(device) = label.strip_prefix("link ") {
            self.links.insert(device, value);
        } else if let Some(device) = label.strip_prefix("lacp ") {
            self.lacp.insert(device, value);
        } else if label.starts_with("capture ")
            || label.starts_with("acknowledged ")
            || label.ends_with(", replaced")
        {
        } else {
            self.counted(label, value);
        }
        Some(())
    }

    fn counted(&mut self, label: &'t str, value: &'t str) {
        for item in value.split(", ") {
            let (queue, device) =
                label.split_once(" of ").map_or((None, label), |(kind, device)| (Some(kind), device));
            let Some((name, number)) = item.split_once(' ') else { continue };
            match (queue, number.parse()) {
                (Some(kind), Ok(number)) => self.queues.push((kind, device, name, number)),
                (None, Ok(number)) => {
                    self.counters.insert((device, name), number);
                }
                (_, Err(_)) => self.unknown.push((device, name)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "outcome: pass\n\ntrial main\n  flow packet (packet): 9 asked, 2 sent, 7 ENOBUFS, 0 delivered\n    \
                        lost at qdisc of node:p0: 2 BACKLOG, 7 QDISC_DROP\n  node:bond0.7: tx_dropped 7\n  \
                        node:p0: tx_errors not compared: the kernel's own frames moved it\n  \
                        pfifo of node:p0: drops 7, backlog_packets 2\n  \
                        link node:p0: operstate UP, flags UP LOWER_UP SLAVE\n\ntrial other\n  refused: because\n";

    #[test]
    fn lines_of_a_trial_are_told_apart() {
        let trial = Trial::parse(TEXT, "main").expect("it is there");
        assert_eq!(trial.flows[0].errno(), Some("ENOBUFS"));
        assert_eq!(trial.flows[0].lost_at, [("qdisc", "node:p0")]);
        assert_eq!(trial.counters, BTreeMap::from([(("node:bond0.7", "tx_dropped"), 7)]));
        assert_eq!(trial.unknown, [("node:p0", "tx_errors")]);
        let queues = [("pfifo", "node:p0", "drops", 7), ("pfifo", "node:p0", "backlog_packets", 2)];
        assert_eq!(trial.queues, queues);
        assert_eq!(trial.links["node:p0"], "operstate UP, flags UP LOWER_UP SLAVE");
        assert!(trial.is_counted);
    }

    #[test]
    fn a_refused_trial_and_one_that_is_not_there_say_nothing() {
        assert!(Trial::parse(TEXT, "other").is_none());
        assert!(Trial::parse(TEXT, "control").is_none());
    }
}
