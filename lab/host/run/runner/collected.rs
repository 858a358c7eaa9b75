//! Records as they come from a guest, and the times of the milestones among them.

use std::time::Instant;

use crate::net::clean;
use crate::plan::moment::When;
use crate::plan::record::Record;

/// What a guest has asked for.
pub(crate) struct Asked {
    pub(crate) slot: usize,
    pub(crate) is_in: bool,
}

/// Records as they come, with the times of the milestones among them.
pub(crate) struct Collected {
    pub(crate) records: Vec<Record>,
    pub(crate) built: Option<Instant>,
    pub(crate) garbage: Option<String>,
}

impl Collected {
    pub(crate) fn new() -> Self {
        Self { records: Vec::new(), built: None, garbage: None }
    }

    /// Takes a line in; what is no record is remembered, and makes the run an error.
    pub(crate) fn line(&mut self, line: &str) -> Option<Asked> {
        let mut asked = None;
        match serde_json::from_str(&clean::json(line, &[])) {
            Ok(record) => {
                if let Record::Ask { slot, is_in } = record {
                    asked = Some(Asked { slot, is_in });
                }
                if matches!(record, Record::Counters { when: When::Before, .. }) {
                    self.built.get_or_insert_with(Instant::now);
                }
                self.records.push(record);
            }
            Err(error) => {
                let head: String = line.chars().take(120).collect();
                let garbage = format!("a line that is no record ({error}): {head}");
                self.garbage.get_or_insert(clean::line(&garbage).into_owned());
            }
        }
        asked
    }
}
