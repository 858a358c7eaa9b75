//! The moments of a trial at which everything is counted.

use serde::{Deserialize, Serialize};

/// A moment of a trial at which everything is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The topology stands; nothing was broken or sent.
    Before,
    /// Everything was sent and has settled.
    After,
}
