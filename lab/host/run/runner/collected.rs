//! Records as they come from a guest, and the times of the milestones among them.

use std::time::Instant;

use crate::run::runner::Watch;
use bondlab_core::net::clean;
use bondlab_core::plan::bounds::Bounds;
use bondlab_core::plan::moment::When;
use bondlab_core::plan::record::Record;

/// What a guest has asked for.
pub(crate) struct Asked {
    pub(crate) slot: usize,
    pub(crate) is_in: bool,
}

/// Records as they come, with the times of the milestones among them.
pub(crate) struct Collected<'w> {
    pub(crate) records: Vec<Record>,
    pub(crate) built: Option<Instant>,
    pub(crate) garbage: Option<String>,
    bounds: Bounds,
    bytes: u64,
    watch: Option<Watch<'w>>,
}

impl<'w> Collected<'w> {
    /// Records of a run that may say so much.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self::watched(bounds, None)
    }

    /// The same, each shown to somebody as it comes.
    pub(crate) fn watched(bounds: Bounds, watch: Option<Watch<'w>>) -> Self {
        Self { records: Vec::new(), built: None, garbage: None, bounds, bytes: 0, watch }
    }

    /// Whether the last record of a plan has come.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.records.last(), Some(Record::Finished { .. }))
    }

    /// Why no more is taken in, once it is too much.
    pub(crate) fn excess(&self) -> Option<String> {
        let Bounds { records, bytes } = self.bounds;
        let which = match () {
            () if self.records.len() > records => format!("{records} records"),
            () if self.bytes > bytes => format!("{bytes} bytes of records"),
            () => return None,
        };
        Some(format!("more than {which}, which is the limit for this topology's steps, flows and trials"))
    }

    /// Takes a line in; what is no record is remembered, and makes the run an error.
    pub(crate) fn line(&mut self, line: &str) -> Option<Asked> {
        let mut asked = None;
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        if let Some(excess) = self.excess() {
            self.garbage.get_or_insert(excess);
            return None;
        }
        match serde_json::from_str(&clean::json(line, &[])) {
            Ok(record) => {
                if let Record::CableRequest { slot, is_in } = record {
                    asked = Some(Asked { slot, is_in });
                }
                if matches!(record, Record::Counters { when: When::Before, .. }) {
                    self.built.get_or_insert_with(Instant::now);
                }
                if let Some(Watch(watch)) = self.watch {
                    watch(&record);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"trial_started":{"trial":0}}"#;

    #[test]
    fn a_guest_that_says_more_than_its_plan_has_is_not_listened_to() {
        let bytes = 3 * LINE.len() as u64;
        for (bounds, limit) in [
            (Bounds { records: 2, bytes: u64::MAX }, "more than 2 records,"),
            (Bounds { records: 100, bytes }, "more than 87 bytes of records,"),
        ] {
            let mut collected = Collected::new(bounds);
            for _ in 0..1000 {
                assert!(collected.line(LINE).is_none());
            }
            assert_eq!(collected.records.len(), 3);
            assert!(collected.excess().unwrap().starts_with(limit), "{:?}", collected.excess());
            assert_eq!(collected.garbage, collected.excess());
        }
    }

    #[test]
    fn what_is_no_record_counts_as_well() {
        let mut collected = Collected::new(Bounds { records: 2, bytes: 1000 });
        for _ in 0..1000 {
            assert!(collected.line("garbage").is_none());
        }
        assert!(collected.excess().unwrap().starts_with("more than 1000 bytes"));
    }
}
