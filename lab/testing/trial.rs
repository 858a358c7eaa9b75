//! One trial of a run: the main one, the control, or an explanation.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::testing::flow::FlowAccount;
use crate::testing::{fail, known};
use bondlab_core::report::document::{QdiscDocument, TrialDocument};
use bondlab_core::topology::condition::{DEVICE_COUNTERS, QDISC_COUNTERS};

/// One trial of a run, in namespaces of its own.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    document: &'a TrialDocument,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(document: &'a TrialDocument) -> Self {
        Self { document }
    }

    /// `main`, `control`, or the explanation's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.document.name
    }

    /// What became of a flow's frames.
    ///
    /// # Panics
    /// If the trial has no such flow.
    #[must_use]
    #[track_caller]
    pub fn flow(&self, name: &str) -> FlowAccount<'a> {
        match self.document.flows.iter().find(|flow| flow.name == name) {
            Some(flow) => FlowAccount::new(&self.document.name, flow),
            None => {
                let flows = known(self.document.flows.iter().map(|flow| flow.name.as_str()));
                fail(&format!("trial {} has no flow `{name}`; it has: {flows}", self.document.name))
            }
        }
    }

    /// By how much a counter of a device has moved (`"node:bond0"`, `"tx_dropped"`).
    ///
    /// # Panics
    /// If there is no such device or counter.
    #[must_use]
    #[track_caller]
    pub fn counter(&self, device: &str, counter: &str) -> u64 {
        if !DEVICE_COUNTERS.contains(&counter) {
            fail(&format!("devices have no counter `{counter}`; they have: {}", known(DEVICE_COUNTERS)));
        }
        number(find(&self.document.devices, device, "device"), counter)
    }

    /// A counter of the root queueing discipline of a device (`"drops"`, `"backlog_packets"`).
    ///
    /// # Panics
    /// If there is no such discipline or counter.
    #[must_use]
    #[track_caller]
    pub fn qdisc_counter(&self, device: &str, counter: &str) -> u64 {
        if !QDISC_COUNTERS.contains(&counter) {
            let known = known(QDISC_COUNTERS);
            fail(&format!("queueing disciplines have no counter `{counter}`; they have: {known}"));
        }
        let qdisc: &QdiscDocument = find(&self.document.qdiscs, device, "device with a queueing discipline");
        number(&qdisc.counters, counter)
    }

    /// Frames that a capture has counted.
    ///
    /// # Panics
    /// If the topology has no such capture.
    #[must_use]
    #[track_caller]
    pub fn captured(&self, capture: &str) -> u64 {
        match self.document.captured.get(capture) {
            Some(frames) => *frames,
            None => {
                let captures = known(self.document.captured.keys().map(String::as_str));
                fail(&format!("there is no capture `{capture}`; there are: {captures}"))
            }
        }
    }

    /// The operational state of a link at the end of the trial, as `ip link` prints it.
    ///
    /// # Panics
    /// If there is no such link.
    #[must_use]
    #[track_caller]
    pub fn operstate(&self, device: &str) -> &'a str {
        &find(&self.document.links, device, "link").operstate
    }

    /// What the kernel refused to make or to change, if it refused anything: the trial ended there.
    #[must_use]
    pub fn refused(&self) -> Option<&'a str> {
        self.document.refused.as_deref()
    }

    /// Asserts by how much a counter of a device has moved.
    ///
    /// # Panics
    /// If it is another number, with what all devices have counted; and as [`Trial::counter`].
    #[track_caller]
    pub fn assert_counter(&self, device: &str, counter: &str, expected: u64) {
        let observed = self.counter(device, counter);
        if observed != expected {
            let mut all = String::new();
            for (device, counters) in &self.document.devices {
                let moved = counters.iter().filter(|(_, value)| **value > 0);
                let moved: Vec<String> = moved.map(|(name, value)| format!("{name} {value}")).collect();
                all += &format!("\n  {device}: {}", known(moved.iter().map(String::as_str)));
            }
            fail(&format!(
                "{counter} {expected} of {device} was expected, {observed} is observed; trial {}:{all}",
                self.document.name
            ));
        }
    }
}

/// Only counters that moved are in a result.
fn number(counters: &BTreeMap<String, u64>, counter: &str) -> u64 {
    counters.get(counter).copied().unwrap_or(0)
}

#[track_caller]
fn find<'a, T>(all: &'a IndexMap<String, T>, device: &str, what: &str) -> &'a T {
    match all.get(device) {
        Some(found) => found,
        None => fail(&format!(
            "there is no {what} `{device}`; there are: {}",
            known(all.keys().map(String::as_str))
        )),
    }
}
