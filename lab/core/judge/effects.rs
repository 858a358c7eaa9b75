//! What a mitigation changed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::judge::account::TrialAccount;
use crate::net::name::DeviceRef;

/// What an attempted fix came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Everything that was lost arrives, and nothing else is lost.
    Fixes,
    /// More arrives than before, not all of it.
    Partly,
    /// Nothing more arrives, but something that the report observed does not show any more.
    Hides,
    /// As before.
    ChangesNothing,
    /// Less arrives than before, or a sender is gone.
    Worsens,
    /// The kernel refused one of the steps.
    Refused,
}

impl Effect {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Fixes => "fixes it",
            Self::Partly => "partly",
            Self::Hides => "hides it",
            Self::ChangesNothing => "changes nothing",
            Self::Worsens => "makes it worse",
            Self::Refused => "refused",
        }
    }
}

/// Frames of the flows that lost some before the fix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// Sends tried.
    pub asked: u32,
    /// Frames that arrived.
    pub delivered: u32,
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.delivered, self.asked)
    }
}

/// One fix under one cause; in the document as it is. Counts are of the flows that lost frames without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `fixes`, `partly`, `hides`, `changes-nothing`, `worsens` or `refused`.
    pub effect: Effect,
    /// Without the fix.
    pub before: Arrived,
    /// With it. A flow whose sender is gone asks for what it asked for before, and nothing arrives.
    pub after: Arrived,
    /// Evidence that showed before and does not any more, though frames are still lost.
    pub hidden: Vec<String>,
    /// Senders that are gone.
    pub gone: Vec<DeviceRef>,
}

impl Attempt {
    /// The senders that are gone, separated by commas.
    pub fn gone_in_words(&self) -> String {
        self.gone.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Compares a cause's trial without and with a fix; `hidden` is the evidence that no longer shows.
pub fn compare(before: &TrialAccount, after: &TrialAccount, hidden: Vec<String>) -> Attempt {
    let (mut was, mut is) = (Arrived::default(), Arrived::default());
    let mut gone = Vec::new();
    let mut newly_lossy = false;
    for flow in &before.flows {
        let again = after.flows.iter().find(|other| other.flow.name == flow.flow.name);
        if flow.lost() == 0 {
            newly_lossy |= again.is_some_and(|again| again.lost() > 0);
            continue;
        }
        was.asked += flow.asked;
        was.delivered += flow.delivered;
        is.asked += flow.asked;
        is.delivered += again.map_or(0, |again| again.delivered);
        if again.is_none() && !gone.contains(&flow.flow.from) {
            gone.push(flow.flow.from.clone());
        }
    }
    let effect = if after.refused.is_some() {
        Effect::Refused
    } else if newly_lossy || !gone.is_empty() || is.delivered < was.delivered {
        Effect::Worsens
    } else if is.delivered == is.asked {
        Effect::Fixes
    } else if is.delivered > was.delivered {
        Effect::Partly
    } else if !hidden.is_empty() {
        Effect::Hides
    } else {
        Effect::ChangesNothing
    };
    let hidden = if effect == Effect::Hides { hidden } else { Vec::new() };
    Attempt { before: was, after: is, hidden, gone, effect }
}
