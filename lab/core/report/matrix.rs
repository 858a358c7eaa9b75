//! A matrix: each topology on each kernel, judged against what was accepted, grouped by what the kernels did.
//!
//! A topology's own conditions are written for one kernel. Where there is an accepted snapshot, that is what a cell is
//! judged by: a kernel with the bug has a snapshot that shows the bug. Where there is none, the file's conditions
//! decide. What the lab cannot vouch for is green under neither: no snapshot covers a frame that is not accounted for, a
//! hang, or a guest that did not come up.
//!
//! Where something stands in for NICs that a topology asks for, the cell shows what the substitute does. It is compared
//! with no snapshot, becomes none, and stands in no group beside kernels with the NICs; the file's conditions decide.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::judge::outcome::Outcome;
use crate::report::behaviour::{Behaviour, Difference};
use crate::report::document::Document;
use crate::report::shard::Shard;
use crate::report::{behaviour, snapshot};

/// One topology on one kernel. `outcome` of the document is the matrix's verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// The result.
    #[serde(flatten)]
    pub document: Document,
    /// The topology's file.
    pub file: String,
    /// The verdict of the run by itself, by the topology's own conditions.
    pub ran: Outcome,
    /// What it comes to; in JSON its canonical text.
    #[serde(rename = "text")]
    pub behaviour: Behaviour,
    /// How that compares with what was accepted.
    pub snapshot: Comparison,
    /// SHA-256 of the topology's file, 16 digits of it: cells of two machines are of the same file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// In what it was otherwise in a guest that it shared with other topologies. The result is that of its own guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_guest: Option<String>,
}

/// A cell's text against its accepted snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// In a word.
    #[serde(rename = "standing")]
    pub status: SnapshotStatus,
    /// The lines that differ; the accepted text is the first value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What was not looked at, though the cell tells of it: the accepted text does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotStatus {
    /// Not looked at, or there is nothing to compare.
    None,
    /// Equal.
    Same,
    /// Not equal.
    Differs,
    /// Nothing is accepted yet.
    New,
    /// Not looked at: something stood in for NICs that the topology asks for.
    #[serde(rename = "stood-in")]
    Substituted,
}

/// How strict a matrix is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether cells are compared with snapshots at all.
    pub compare: bool,
    /// Whether a cell without a snapshot fails: in CI no one accepts it.
    pub new_fails: bool,
}

/// Kernels by behaviour for one topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behaviours {
    /// Its name.
    pub topology: String,
    /// The kernels of each group; groups stand in the order of their first kernel.
    pub groups: Vec<BehaviourGroup>,
    /// The lines in which the groups differ.
    pub differences: Vec<Difference>,
    /// Kernels by the features of their devices, which make no group of behaviour: offloads come with nearly each series.
    #[serde(default)]
    pub features: Vec<BehaviourGroup>,
    /// In which devices and features these differ.
    #[serde(default)]
    pub feature_differences: Vec<Difference>,
}

/// Kernels that did the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehaviourGroup {
    /// Their ids, in the matrix's order.
    pub kernels: Vec<String>,
    /// As ranges over the kernels that ran.
    pub range: String,
}

/// Verdicts, a row for each topology.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// The columns.
    pub kernels: Vec<String>,
    /// By topology, a verdict for each column; `None` was not run.
    pub rows: IndexMap<String, Vec<Option<Outcome>>>,
}

/// What a matrix cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// From the first machine made to the last verdict, in ms.
    pub wall_ms: u64,
    /// Of that, until every kernel's machine was saved, in ms.
    pub prepare_ms: u64,
    /// Cells finished in a second, once the machines were saved.
    pub cells_per_s: f64,
    /// Start to verdict of the cell in the middle, in ms.
    pub median_cell_ms: u64,
    /// Guests at a time.
    pub jobs: usize,
    /// Most memory all guests held at once, in bytes; 0 when it was not looked at.
    pub peak_bytes: u64,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// In the order of topologies, then kernels.
    pub cells: Vec<Cell>,
    /// One entry for each topology.
    pub groups: Vec<Behaviours>,
    /// The same at a glance.
    pub grid: Grid,
    /// Wall-clock figures.
    pub measures: Measures,
    /// Whether it was ended before every cell had run.
    pub interrupted: bool,
    /// The kernels that were to run, by topology. A cell of these that is not in `cells` is missing.
    #[serde(default)]
    pub planned: Planned,
    /// The part that this machine ran, of a matrix that is split over several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Part>,
    /// The lab's version, with its commit where the build knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<String>,
}

/// One machine's part of a split matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which one.
    #[serde(flatten)]
    pub shard: Shard,
    /// The cells of all parts.
    pub whole: Planned,
}

/// The kernels on which each topology was to run.
pub type Planned = IndexMap<String, Vec<String>>;

/// Judges one result. `accepted` is what its snapshot has, `file` the topology's.
pub fn judge(document: Document, file: &str, accepted: Option<&Behaviour>, policy: Policy) -> Cell {
    let ran = document.outcome;
    let behaviour = snapshot::behaviour(&document);
    let snapshot = compare(&document, &behaviour, accepted, policy);
    let mut cell =
        Cell { document, file: file.to_owned(), ran, behaviour, snapshot, digest: None, shared_guest: None };
    cell.document.outcome = verdict(&cell, policy);
    cell
}

fn compare(
    document: &Document,
    behaviour: &Behaviour,
    accepted: Option<&Behaviour>,
    policy: Policy,
) -> Comparison {
    let (status, differences) = match accepted {
        _ if document.used_fallback => (SnapshotStatus::Substituted, Vec::new()),
        _ if !policy.compare => (SnapshotStatus::None, Vec::new()),
        None if is_acceptable(document.outcome) => (SnapshotStatus::New, Vec::new()),
        None => (SnapshotStatus::None, Vec::new()),
        Some(accepted) if snapshot::same(accepted, behaviour) => (SnapshotStatus::Same, Vec::new()),
        Some(accepted) => (SnapshotStatus::Differs, between(accepted, behaviour, document)),
    };
    let is_compared = matches!(status, SnapshotStatus::Same | SnapshotStatus::Differs);
    let older = accepted
        .filter(|accepted| is_compared && snapshot::is_older(accepted) && !snapshot::is_older(behaviour));
    Comparison { status, differences, not_compared: older.map(|_| snapshot::OLDER.to_owned()) }
}

/// The lines in which a run does something else than `other`.
pub(crate) fn between(other: &Behaviour, own: &Behaviour, document: &Document) -> Vec<Difference> {
    reached(behaviour::differences(&[other, own]), &[None, Some(document)])
}

/// Tells checks that hold from those that a run did not come to: a text has only those that fail, a document has all.
/// `documents` are those of the differences' values, as far as there are any.
fn reached(mut differences: Vec<Difference>, documents: &[Option<&Document>]) -> Vec<Difference> {
    for difference in &mut differences {
        let Some(name) = &difference.check else { continue };
        for (value, document) in difference.values.iter_mut().zip(documents) {
            let Some(document) = document else { continue };
            let mut of_name = document.checks.iter().filter(|check| snapshot::check_name(check) == *name);
            if of_name.clone().any(|check| check.outcome != Outcome::Pass) {
                continue;
            }
            let said = if of_name.next().is_some() { behaviour::HOLDS } else { behaviour::NOT_REACHED };
            said.clone_into(value);
        }
    }
    differences
}

/// Whether a snapshot can be made of such a run: it shows what the kernel does.
pub fn is_acceptable(ran: Outcome) -> bool {
    matches!(ran, Outcome::Pass | Outcome::Fail | Outcome::Xfail | Outcome::Panic | Outcome::Unsupported)
}

fn verdict(cell: &Cell, policy: Policy) -> Outcome {
    let ran = cell.ran;
    match cell.snapshot.status {
        // What the lab cannot tell is no difference of the kernel.
        _ if matches!(ran, Outcome::Error | Outcome::Hang | Outcome::BootFail) => ran,
        _ if unattributed(&cell.document) > 0 => Outcome::Fail,
        SnapshotStatus::Same if !ran.is_failure() => ran,
        SnapshotStatus::Same => Outcome::Xfail,
        SnapshotStatus::Differs if ran == Outcome::Panic => Outcome::Panic,
        SnapshotStatus::Differs => Outcome::Fail,
        SnapshotStatus::New if policy.new_fails && ran == Outcome::Pass => Outcome::Fail,
        SnapshotStatus::New | SnapshotStatus::None | SnapshotStatus::Substituted => ran,
    }
}

/// Frames of all rounds and trials that are not accounted for.
pub fn unattributed(document: &Document) -> u32 {
    if let Some(all) = &document.repetitions {
        return u32::try_from(all.unattributed).unwrap_or(u32::MAX);
    }
    document.trials.iter().flat_map(|trial| &trial.flows).map(|flow| flow.unattributed).sum()
}

impl Matrix {
    /// Puts cells together. `topologies` are the rows and `kernels` the columns, in order; some cells may not have
    /// run, and then the matrix was interrupted.
    pub fn new(cells: Vec<Cell>, topologies: &[String], kernels: &[String], measures: Measures) -> Self {
        let interrupted = cells.len() < topologies.len() * kernels.len();
        let of =
            |topology: &String| cells.iter().filter(|cell| cell.document.topology == *topology).collect();
        let topologies: IndexMap<&str, Vec<&Cell>> =
            topologies.iter().map(|topology| (topology.as_str(), of(topology))).collect();
        let groups = topologies.iter().map(|(name, cells)| behaviours(name, cells, kernels)).collect();
        let row = |cells: &[&Cell]| {
            let verdict = |kernel: &String| {
                cells.iter().find(|cell| cell.document.kernel.id == *kernel).map(|cell| cell.document.outcome)
            };
            kernels.iter().map(verdict).collect()
        };
        let rows = topologies.iter().map(|(name, cells)| ((*name).to_owned(), row(cells))).collect();
        let grid = Grid { kernels: kernels.to_vec(), rows };
        let planned = grid.rows.keys().map(|topology| (topology.clone(), kernels.to_vec())).collect();
        Self { groups, grid, measures, interrupted, planned, cells, shard: None, lab: None }
    }

    /// Makes it one part of a split: what is planned are `own` cells, and what is whole is what was planned before.
    #[must_use]
    pub fn part(mut self, shard: Shard, own: &BTreeSet<(String, String)>) -> Self {
        let is_own = |topology: &str, kernel: &str| own.contains(&(topology.to_owned(), kernel.to_owned()));
        let whole = std::mem::take(&mut self.planned);
        for (topology, on) in &whole {
            let on: Vec<String> = on.iter().filter(|kernel| is_own(topology, kernel)).cloned().collect();
            if !on.is_empty() {
                self.planned.insert(topology.clone(), on);
            }
        }
        self.shard = Some(Part { shard, whole });
        self.interrupted = !self.missing().is_empty();
        self
    }

    /// The cells that were to run and did not: topology and kernel.
    pub fn missing(&self) -> Vec<(&str, &str)> {
        let ran = |topology: &str, kernel: &str| {
            let mut cells = self.cells.iter();
            cells.any(|cell| cell.document.topology == topology && cell.document.kernel.id == kernel)
        };
        let planned = self.planned.iter();
        let planned =
            planned.flat_map(|(topology, on)| on.iter().map(move |kernel| (&**topology, &**kernel)));
        planned.filter(|(topology, kernel)| !ran(topology, kernel)).collect()
    }

    /// How many cells have this verdict.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.cells.iter().filter(|cell| cell.document.outcome == outcome).count()
    }

    /// How many cells ran and have no snapshot.
    pub fn new_cells(&self) -> usize {
        self.cells.iter().filter(|cell| cell.snapshot.status == SnapshotStatus::New).count()
    }

    /// Whether every cell that ran is as expected, or skipped with a reason, or of a kernel without what it asks for.
    pub fn is_expected(&self) -> bool {
        self.cells.iter().all(|cell| !cell.document.outcome.is_failure())
    }
}

/// Groups the kernels on which there is a behaviour: a skip, an error, a hang and a failed boot are none, and a
/// substitute's is none of the NICs that others have had.
fn behaviours(topology: &str, cells: &[&Cell], kernels: &[String]) -> Behaviours {
    let able = || cells.iter().filter(|cell| is_acceptable(cell.ran));
    let has_nics = able().any(|cell| !cell.document.used_fallback);
    let on = |kernel: &String| {
        let mut cells = able().filter(|cell| !(has_nics && cell.document.used_fallback));
        cells.find(|cell| cell.document.kernel.id == *kernel)
    };
    let order: Vec<String> = kernels.iter().filter(|kernel| on(kernel).is_some()).cloned().collect();
    let parts = order.iter().filter_map(|kernel| {
        let (behaviour, features) = on(kernel)?.behaviour.clone().split_features();
        Some((kernel.as_str(), behaviour, features))
    });
    let parts: Vec<_> = parts.collect();
    let groups = behaviour::group(parts.iter().map(|(kernel, behaviour, _)| (*kernel, behaviour)));
    let first = groups.iter().map(|group| group.kernels.first().and_then(on).map(|cell| &cell.document));
    let differences = reached(differences(&groups), &first.collect::<Vec<_>>());
    let features = parts.iter().filter_map(|(kernel, _, features)| Some((*kernel, features.as_ref()?)));
    let features = behaviour::group(features);
    let with_ranges = |groups: Vec<behaviour::Group>| {
        let group = |group: behaviour::Group| BehaviourGroup {
            range: behaviour::ranges(&order, &group.kernels),
            kernels: group.kernels,
        };
        groups.into_iter().map(group).collect()
    };
    Behaviours {
        topology: topology.to_owned(),
        differences,
        groups: with_ranges(groups),
        feature_differences: self::differences(&features),
        features: with_ranges(features),
    }
}

fn differences(groups: &[behaviour::Group]) -> Vec<Difference> {
    let all: Vec<&Behaviour> = groups.iter().map(|group| &group.behaviour).collect();
    behaviour::differences(&all)
}

#[cfg(test)]
pub mod tests {
    //! Cells made by hand, for the tests of reports as well.

    use super::*;
    use crate::report::document::{CheckDocument, FlowDocument, KernelDocument, Timing, TrialDocument};
    use crate::topology::scenario::Socket;

    /// A run that came to its end: so many frames lost, so many of them unattributed.
    pub fn finished(topology: &str, kernel: &str, ran: Outcome, lost: u32, unattributed: u32) -> Document {
        let mut document = ended(topology, kernel, ran, "");
        document.reason = None;
        let flow = FlowDocument {
            name: "f".into(),
            from: "a:v".into(),
            to: "b:v".into(),
            socket: Socket::Packet,
            counts_at: None,
            asked: 100,
            sent: 100,
            errors: Default::default(),
            delivered: 100 - lost,
            duplicated: 0,
            unattributed,
            fates: Vec::new(),
            interval_us: None,
            silence_ms: None,
            seen_from: Vec::new(),
            reordered: 0,
            retransmitted: None,
        };
        if ran == Outcome::Fail {
            document.checks.push(CheckDocument {
                name: "all arrive".into(),
                outcome: Outcome::Fail,
                expected: "0".into(),
                observed: lost.to_string(),
            });
        }
        document.trials.push(TrialDocument {
            name: "main".into(),
            flows: vec![flow],
            ..TrialDocument::default()
        });
        document
    }

    /// A run that did not.
    pub fn ended(topology: &str, kernel: &str, outcome: Outcome, reason: &str) -> Document {
        let kernel = KernelDocument {
            id: kernel.into(),
            release: format!("{kernel}-amd64"),
            backend: "vm".into(),
            accelerator: "tcg".into(),
            clock: "real".into(),
        };
        Document::unfinished(topology, kernel, outcome, reason.into(), Timing::default())
    }

    /// The usual policy on a developer's machine.
    pub const LOCAL: Policy = Policy { compare: true, new_fails: false };

    #[test]
    fn a_check_that_a_kernel_did_not_come_to_does_not_hold() {
        let failed = finished("t", "6.1", Outcome::Fail, 3, 0);
        let mut passed = finished("t", "6.12", Outcome::Pass, 0, 0);
        passed.checks = vec![CheckDocument { outcome: Outcome::Pass, ..failed.checks[0].clone() }];
        let mut refused = finished("t", "6.18", Outcome::Fail, 0, 0);
        refused.checks = Vec::new();
        refused.trials[0].refused = Some("bond0: EINVAL".into());
        let cells = [failed, passed, refused].map(|document| judge(document, "t.toml", None, LOCAL));
        let kernels = ["6.1", "6.12", "6.18"].map(String::from);
        let matrix = Matrix::new(cells.to_vec(), &["t".into()], &kernels, Measures::default());
        let differences = &matrix.groups[0].differences;
        let check = differences.iter().find(|one| one.item == "check all arrive").expect("it differs");
        assert_eq!(check.values, ["fail, expected 0, observed 3", "holds", "not reached"]);
    }

    #[test]
    fn what_an_older_snapshot_does_not_tell_is_said_to_be_not_compared() {
        let mut document = finished("t", "6.12.57", Outcome::Pass, 0, 0);
        let new = snapshot::behaviour(&document);
        let old = Behaviour::parse(&new.to_string().replace("form: 2\n", ""));
        document.trials[0].captured.insert("c".into(), 3);
        let cell = judge(document.clone(), "t.toml", Some(&old), LOCAL);
        assert_eq!((cell.snapshot.status, cell.document.outcome), (SnapshotStatus::Same, Outcome::Pass));
        assert_eq!(cell.snapshot.not_compared.as_deref(), Some(snapshot::OLDER));
        let cell = judge(document, "t.toml", Some(&new), LOCAL);
        assert_eq!((cell.snapshot.status, cell.snapshot.not_compared), (SnapshotStatus::Differs, None));
    }

    #[test]
    fn the_snapshot_decides_and_covers_nothing_the_lab_cannot_vouch_for() {
        use Outcome::{BootFail, Error, Fail, Hang, Panic, Pass, Skip, Xfail};
        let ci = Policy { compare: true, new_fails: true };
        let off = Policy { compare: false, new_fails: true };
        let good = finished("t", "6.12.57", Pass, 0, 0);
        let bad = finished("t", "6.12.57", Fail, 3, 0);
        let leaky = finished("t", "6.12.57", Fail, 3, 1);
        // Marked as passed, though a frame is missing: no verdict may rest on the run's own word alone.
        let lying = finished("t", "6.12.57", Pass, 3, 1);
        let seen = snapshot::behaviour;
        let (good_seen, bad_seen) = (seen(&good), seen(&bad));
        for (document, accepted, policy, verdict, status) in [
            (&good, Some(good_seen.clone()), LOCAL, Pass, SnapshotStatus::Same),
            (&bad, Some(bad_seen.clone()), LOCAL, Xfail, SnapshotStatus::Same),
            (&bad, Some(good_seen.clone()), LOCAL, Fail, SnapshotStatus::Differs),
            (&good, Some(bad_seen.clone()), LOCAL, Fail, SnapshotStatus::Differs),
            (&leaky, Some(seen(&leaky)), LOCAL, Fail, SnapshotStatus::Same),
            (&lying, Some(seen(&lying)), LOCAL, Fail, SnapshotStatus::Same),
            (&good, None, LOCAL, Pass, SnapshotStatus::New),
            (&bad, None, LOCAL, Fail, SnapshotStatus::New),
            (&good, None, ci, Fail, SnapshotStatus::New),
            (&good, None, off, Pass, SnapshotStatus::None),
            (&good, Some(bad_seen.clone()), off, Pass, SnapshotStatus::None),
        ] {
            let cell = judge(document.clone(), "t.toml", accepted.as_ref(), policy);
            assert_eq!(
                (cell.document.outcome, cell.snapshot.status),
                (verdict, status),
                "{}",
                cell.behaviour
            );
        }
        for outcome in [Error, Hang, BootFail, Skip, Panic] {
            let document = ended("t", "6.12.57", outcome, "x");
            let same = judge(document.clone(), "t.toml", Some(&seen(&document)), LOCAL).document.outcome;
            let expected = if outcome == Panic { Xfail } else { outcome };
            assert_eq!(same, expected, "{outcome} as accepted");
            let differs = judge(document.clone(), "t.toml", Some(&good_seen), LOCAL).document.outcome;
            let expected = if outcome == Skip { Fail } else { outcome };
            assert_eq!(differs, expected, "{outcome} where a pass was accepted");
            assert_eq!(
                judge(document, "t.toml", None, ci).document.outcome,
                outcome,
                "{outcome} without a snapshot"
            );
        }
    }

    /// A run in which a switch stood in for a PF, unasked.
    pub fn substituted(document: Document) -> Document {
        Document { substitutions: vec!["node:enp1s0 by switch".into()], used_fallback: true, ..document }
    }

    #[test]
    fn a_substitution_is_judged_by_the_files_conditions_alone() {
        use Outcome::{Error, Fail, Pass, Skip};
        let ci = Policy { compare: true, new_fails: true };
        let real = snapshot::behaviour(&finished("t", "6.12.57", Pass, 0, 0));
        for (ran, lost, unattributed, verdict) in [
            (Pass, 0, 0, Pass),
            (Pass, 3, 0, Pass),
            (Fail, 3, 0, Fail),
            (Pass, 3, 1, Fail),
            (Fail, 3, 1, Fail),
        ] {
            let document = substituted(finished("t", "6.12.57", ran, lost, unattributed));
            let own = snapshot::behaviour(&document);
            // Not even a text that says the same is one to go by.
            for accepted in [None, Some(&real), Some(&own)] {
                for policy in [LOCAL, ci] {
                    let cell = judge(document.clone(), "t.toml", accepted, policy);
                    assert_eq!(cell.snapshot.status, SnapshotStatus::Substituted);
                    assert!(cell.snapshot.differences.is_empty());
                    assert_eq!(cell.document.outcome, verdict, "{ran} {lost} {unattributed} {accepted:?}");
                }
            }
        }
        for ran in [Skip, Error] {
            let document = substituted(ended("t", "6.12.57", ran, "x"));
            assert_eq!(judge(document, "t.toml", Some(&real), ci).document.outcome, ran);
        }
    }

    #[test]
    fn a_substitution_is_in_no_group_with_real_nics() {
        let kernels = ["6.1", "6.12", "6.18"].map(String::from);
        let of = |documents: [Document; 3]| {
            let cells = documents.map(|document| judge(document, "t.toml", None, LOCAL)).to_vec();
            let matrix = Matrix::new(cells, &["t".to_owned()], &kernels, Measures::default());
            matrix.groups[0].groups.iter().map(|group| group.range.clone()).collect::<Vec<_>>()
        };
        let passed = |kernel: &str| finished("t", kernel, Outcome::Pass, 0, 0);
        let mixed = [passed("6.1"), substituted(passed("6.12")), passed("6.18")];
        assert_eq!(of(mixed), ["6.1, 6.18"]);
        let alone = [substituted(passed("6.1")), substituted(passed("6.12")), substituted(passed("6.18"))];
        assert_eq!(of(alone), ["6.1 .. 6.18"]);
    }

    #[test]
    fn kernels_without_a_behaviour_are_in_the_grid_and_in_no_group() {
        let kernels: Vec<String> = ["5.10", "6.1", "6.12", "6.18"].map(String::from).to_vec();
        let cells = [
            finished("t", "5.10", Outcome::Pass, 0, 0),
            ended("t", "6.1", Outcome::Hang, "x"),
            finished("t", "6.12", Outcome::Pass, 0, 0),
        ];
        let cells = cells.map(|document| judge(document, "t.toml", None, LOCAL)).to_vec();
        let matrix = Matrix::new(cells, &["t".to_owned()], &kernels, Measures::default());
        assert!(matrix.interrupted);
        assert_eq!(matrix.groups[0].groups.len(), 1);
        assert_eq!(matrix.groups[0].groups[0].range, "5.10, 6.12");
        let row = [Some(Outcome::Pass), Some(Outcome::Hang), Some(Outcome::Pass), None];
        assert_eq!(matrix.grid.rows["t"], row);
        assert_eq!((matrix.count(Outcome::Pass), matrix.new_cells(), matrix.is_expected()), (2, 2, false));
        let json = serde_json::to_string(&matrix).unwrap();
        assert_eq!(serde_json::from_str::<Matrix>(&json).unwrap(), matrix);
    }
}
