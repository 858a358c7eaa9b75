//! A trial of an accepted behaviour, by what a diagnosis asks: flows, counters, queues and links.

use std::collections::BTreeMap;

use crate::report::behaviour::{Behaviour, Item, Label, Line};

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
    pub links: BTreeMap<&'t str, String>,
    /// LACP's bits, by port.
    pub lacp: BTreeMap<&'t str, String>,
    /// Counters that are not compared: nothing is known of them.
    pub unknown: Vec<(&'t str, &'t str)>,
    /// Whether it has counters at all: with paced flows and with TCP that sends again it has none.
    pub is_counted: bool,
}

impl<'t> Trial<'t> {
    /// The trial of this name; `None` where there is none, or the kernel refused it.
    pub fn of(behaviour: &'t Behaviour, name: &str) -> Option<Self> {
        let mut trial = Self { is_counted: true, ..Self::default() };
        for line in behaviour.trial(name)? {
            match &line.label {
                Label::Refused => return None,
                Label::Flow { name, socket } => trial.flow(name, socket, line),
                Label::Link(device) => {
                    trial.links.insert(device, line.value());
                }
                Label::Lacp(device) => {
                    trial.lacp.insert(device, line.value());
                }
                Label::Device(device) => {
                    trial
                        .counters
                        .extend(line.counters().map(|(name, number)| ((device.as_str(), name), number)));
                    trial.unknown.extend(not_compared(line).map(|name| (device.as_str(), name)));
                }
                Label::Queue { kind, device } => {
                    let counted = line.counters();
                    trial
                        .queues
                        .extend(counted.map(|(name, number)| (kind.as_str(), device.as_str(), name, number)));
                    trial.unknown.extend(not_compared(line).map(|name| (device.as_str(), name)));
                }
                _ => {}
            }
        }
        (!trial.flows.is_empty()).then_some(trial)
    }

    fn flow(&mut self, name: &'t str, socket: &'t str, line: &'t Line) {
        let numbers = line.counts().map(|(number, word)| (word, number)).collect();
        let place = |lost: &'t Line| match &lost.label {
            Label::LostAt { layer, device } => Some((layer.as_str(), device.as_str())),
            _ => None,
        };
        let lost_at = line.below.iter().filter_map(place).collect();
        let flow = FlowSeen { name, socket, numbers, lost_at };
        let sends_again = socket == "tcp" && flow.number("delivered") < flow.number("asked");
        self.is_counted &= flow.numbers.contains_key("sent") && !sends_again;
        self.flows.push(flow);
    }
}

/// The counters of a line that are not compared.
fn not_compared(line: &Line) -> impl Iterator<Item = &str> {
    line.items.iter().filter_map(|item| match item {
        Item::NotCompared { name, .. } => Some(name.as_str()),
        _ => None,
    })
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
        let behaviour = Behaviour::parse(TEXT);
        let trial = Trial::of(&behaviour, "main").expect("it is there");
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
        let behaviour = Behaviour::parse(TEXT);
        assert!(Trial::of(&behaviour, "other").is_none());
        assert!(Trial::of(&behaviour, "control").is_none());
    }
}
