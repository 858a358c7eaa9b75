//! Memory that guests hold while cells run.

use std::time::{Duration, Instant};

use bondlab_host::run::memory;

/// How often the guests' memory is looked at: each look costs some ms.
const MEMORY_INTERVAL: Duration = Duration::from_millis(500);

/// The most memory that guests held at once.
#[derive(Default)]
pub struct Peak {
    /// As it was last seen.
    pub bytes: u64,
    looked: Option<Instant>,
}

impl Peak {
    /// Looks, unless it has just done so.
    pub fn look(&mut self) {
        if self.looked.is_none_or(|at| at.elapsed() >= MEMORY_INTERVAL) {
            self.bytes = self.bytes.max(memory::children_bytes());
            self.looked = Some(Instant::now());
        }
    }
}
