//! What became of a flow's frames, as questions and assertions.

use std::fmt::{self, Write};

use crate::testing::{fail, known};
use bondlab_core::net::layer::Layer;
use bondlab_core::report::document::{FateDocument, FlowDocument};
use bondlab_core::topology::SEND_ERRNOS;

/// The account of one flow in one trial: every frame that was asked for is refused, delivered, lost at one place, or
/// unattributed. `Display` is the account as text.
#[derive(Debug, Clone, Copy)]
pub struct FlowAccount<'a> {
    trial: &'a str,
    document: &'a FlowDocument,
}

impl<'a> FlowAccount<'a> {
    pub(crate) fn new(trial: &'a str, document: &'a FlowDocument) -> Self {
        Self { trial, document }
    }

    /// Frames that were to be sent.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.document.asked
    }

    /// Sends that the kernel accepted.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.document.sent
    }

    /// Frames that arrived where the flow's frames count, each number once.
    #[must_use]
    pub fn delivered(&self) -> u32 {
        self.document.delivered
    }

    /// Frames that arrived more than once.
    #[must_use]
    pub fn duplicated(&self) -> u32 {
        self.document.duplicated
    }

    /// Frames that are lost at an unknown place. A run that has any is an error.
    #[must_use]
    pub fn unattributed(&self) -> u32 {
        self.document.unattributed
    }

    /// The longest time without one of its frames at the receiver, in ms; `None` for a flow without an interval.
    #[must_use]
    pub fn silence_ms(&self) -> Option<u64> {
        self.document.silence_ms
    }

    /// Sends that were refused with this errno (`"ENOBUFS"`).
    ///
    /// # Panics
    /// If it is no errno that a send may have: a typing error must not read as 0.
    #[must_use]
    #[track_caller]
    pub fn refused(&self, errno: &str) -> u32 {
        match self.document.errors.get(errno) {
            Some(sends) => *sends,
            None if SEND_ERRNOS.contains(&errno) => 0,
            None => fail(&format!("`{errno}` is no errno of a send; there are {}", known(SEND_ERRNOS))),
        }
    }

    /// Frames that were not delivered, wherever they are.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.document.asked.saturating_sub(self.document.delivered)
    }

    /// Frames that were lost at a layer (`"qdisc"`, `"tc"`, `"bond"`, `"driver"`, ...).
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    #[track_caller]
    pub fn lost_at(&self, layer: &str) -> u32 {
        let layer = layer_named(layer);
        self.count(|fate| fate.layer == layer)
    }

    /// Frames that were lost at a layer on one device (`"node:enp2s0"`).
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    #[track_caller]
    pub fn lost_on(&self, layer: &str, device: &str) -> u32 {
        let layer = layer_named(layer);
        self.count(|fate| fate.layer == layer && is_on(fate, device))
    }

    /// Frames that were lost at a layer on one device for one reason: the kernel's drop reason (`"QDISC_DROP"`) or the
    /// function that freed them.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    #[track_caller]
    pub fn lost_for(&self, layer: &str, device: &str, reason: &str) -> u32 {
        let layer = layer_named(layer);
        self.count(|fate| fate.layer == layer && is_on(fate, device) && fate.reason == reason)
    }

    fn count(&self, is_wanted: impl Fn(&&FateDocument) -> bool) -> u32 {
        self.document.fates.iter().filter(is_wanted).map(|fate| fate.frames).sum()
    }

    /// Asserts how many frames were delivered.
    ///
    /// # Panics
    /// If it is another number, with the account.
    #[track_caller]
    pub fn assert_delivered(&self, frames: u32) {
        self.assert(self.delivered(), frames, "delivered");
    }

    /// Asserts how many sends were refused with an errno.
    ///
    /// # Panics
    /// If it is another number, with the account; and as [`FlowAccount::refused`].
    #[track_caller]
    pub fn assert_refused(&self, errno: &str, sends: u32) {
        self.assert(self.refused(errno), sends, &format!("refused with {errno}"));
    }

    /// Asserts how many frames were lost at a layer on one device.
    ///
    /// # Panics
    /// If it is another number, with the account; and as [`FlowAccount::lost_on`].
    #[track_caller]
    pub fn assert_lost_on(&self, layer: &str, device: &str, frames: u32) {
        self.assert(self.lost_on(layer, device), frames, &format!("lost at {layer} of {device}"));
    }

    /// Asserts that no frame was refused, lost, duplicated or is unattributed.
    ///
    /// # Panics
    /// If one was, with the account.
    #[track_caller]
    pub fn assert_lossless(&self) {
        self.assert(self.delivered(), self.asked(), "delivered");
        self.assert(self.duplicated(), 0, "duplicated");
    }

    #[track_caller]
    fn assert(&self, observed: u32, expected: u32, what: &str) {
        if observed != expected {
            fail(&format!("{expected} frames {what} were expected, {observed} are observed\n{self}"));
        }
    }
}

#[track_caller]
fn layer_named(name: &str) -> Layer {
    let found = Layer::ALL.into_iter().find(|layer| layer.as_str() == name);
    found.unwrap_or_else(|| {
        fail(&format!("there is no layer `{name}`; there are {}", known(Layer::ALL.map(Layer::as_str))))
    })
}

fn is_on(fate: &FateDocument, device: &str) -> bool {
    fate.device.as_ref().is_some_and(|it| it.to_string() == device)
}

impl fmt::Display for FlowAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = self.document;
        writeln!(f, "flow {} of trial {}, {} -> {}:", flow.name, self.trial, flow.from, flow.to)?;
        let mut refused = String::new();
        for (errno, sends) in &flow.errors {
            write!(refused, ", {sends} refused ({errno})")?;
        }
        writeln!(f, "  {} asked, {} accepted{refused}", flow.asked, flow.sent)?;
        write!(f, "  {} delivered", flow.delivered)?;
        for fate in &flow.fates {
            let device = fate.device.as_ref().map(|device| format!(" of {device}")).unwrap_or_default();
            write!(f, "\n  {} lost at {}{device} ({})", fate.frames, fate.layer, fate.reason)?;
        }
        match (flow.duplicated, flow.unattributed) {
            (0, 0) => Ok(()),
            (duplicated, unattributed) => {
                write!(f, "\n  {duplicated} duplicated, {unattributed} unattributed")
            }
        }
    }
}
