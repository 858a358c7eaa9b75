//! Results of several machines as one matrix: a column for each kernel, a row for each topology, no cell twice.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::judge::outcome::Outcome;
use crate::net::clean;
use crate::report::behaviour::Behaviour;
use crate::report::document::Document;
use crate::report::format::{self, FormatError, Version};
use crate::report::matrix::{Cell, Matrix, Measures, Part, Planned, Policy, SnapshotStatus, judge};
use crate::report::snapshot;

/// What a file has.
#[derive(Debug)]
pub enum Kept {
    /// Of `lab run`, not compared with anything yet: one, or one for each variant of a topology with parameters.
    Runs(Vec<Document>),
    /// Of `lab matrix`.
    Matrix(MatrixCells),
}

/// Tells the two apart, without losing the order of what is in them.
#[derive(Default, Deserialize)]
struct Probe {
    cells: Option<IgnoredAny>,
    planned: Option<IgnoredAny>,
    variants: Option<IgnoredAny>,
    format: Option<Value>,
    lab: Option<Value>,
}

/// What `lab run` prints of a topology with parameters.
#[derive(Deserialize)]
struct Variants {
    variants: Vec<Document>,
}

/// Of a matrix, what is merged. A document that does not say what was planned is refused: it could not be said whether
/// it is whole.
#[derive(Debug, Deserialize)]
pub struct MatrixCells {
    /// Those that ran.
    pub cells: Vec<Cell>,
    /// Those that were to run.
    pub planned: Planned,
    /// Of a split matrix: which part, and all that was to run.
    #[serde(default)]
    pub shard: Option<Part>,
    /// The version that ran them.
    #[serde(default)]
    pub lab: Option<String>,
}

impl Kept {
    /// Reads what `--format json` printed. `file` is what an error calls it.
    ///
    /// # Errors
    /// It is something else, or cut short.
    pub fn parse(file: &str, json: &str) -> Result<Self, MergeError> {
        let one_line = clean::json(json, &[]);
        // Why a run ended, and its canonical text, have several lines; a drop reason, of the same name, has one.
        let lines = clean::json(json, &["reason", "text"]);
        let mut probe: Probe = serde_json::from_str(&one_line).unwrap_or_default();
        let version = Version::new(probe.format.take(), probe.lab.take());
        let [one_line, lines] = [format::of(file, &one_line, &version)?, format::of(file, &lines, &version)?];
        if probe.cells.is_some() && probe.planned.is_none() {
            return Err(MergeError::NoPlan { file: file.into() });
        }
        let parse = || match probe {
            Probe { cells: Some(_), .. } => {
                let mut matrix = serde_json::from_str::<MatrixCells>(&one_line)?;
                let lines = serde_json::from_str::<MatrixCells>(&lines)?.cells;
                for (cell, lines) in matrix.cells.iter_mut().zip(lines) {
                    cell.document.reason = lines.document.reason;
                    cell.behaviour = lines.behaviour;
                }
                Ok(Self::Matrix(matrix))
            }
            Probe { variants: Some(_), .. } => {
                let mut all = serde_json::from_str::<Variants>(&one_line)?.variants;
                for (one, lines) in all.iter_mut().zip(serde_json::from_str::<Variants>(&lines)?.variants) {
                    one.reason = lines.reason;
                }
                if all.is_empty() {
                    return Err(serde::de::Error::custom("there is no variant in it"));
                }
                Ok(Self::Runs(all))
            }
            _ => {
                let lines: Document = serde_json::from_str(&lines)?;
                Ok(Self::Runs(vec![Document { reason: lines.reason, ..serde_json::from_str(&one_line)? }]))
            }
        };
        parse().map_err(|error: serde_json::Error| MergeError::NoResult {
            file: file.into(),
            reason: clean::line(&error.to_string()).into_owned(),
        })
    }
}

/// Why results do not make one matrix.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MergeError {
    /// Of a version that this lab does not read.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Not what `--format json` prints.
    #[error("{file}: no result of `lab run` or `lab matrix` with --format json: {reason}")]
    NoResult {
        /// Where it is from.
        file: String,
        /// What serde says.
        reason: String,
    },
    /// A matrix that is not whole cannot be told from one that is.
    #[error(
        "{file}: it does not say which cells were planned, so that those that are missing cannot be named: run the matrix \
         again with --format json"
    )]
    NoPlan {
        /// Where it is from.
        file: String,
    },
    /// Two results that say different things. To show one of them would hide the other.
    #[error(
        "{topology} on {kernel} ended differently in {one} and in {other}: merge only one of them, or look into why"
    )]
    Contradiction {
        /// The row.
        topology: String,
        /// The column.
        kernel: String,
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
    /// What two versions of the lab saw is not one grid.
    #[error("{one} is from lab {of_one} and {other} from lab {of_other}: run all parts with one version")]
    OtherLab {
        /// The first file.
        one: String,
        /// Its version.
        of_one: String,
        /// The second file.
        other: String,
        /// Its version.
        of_other: String,
    },
    /// A topology was edited between two runs.
    #[error(
        "{topology} in {one} and in {other} are different files: run both parts with the same topologies"
    )]
    OtherTopology {
        /// Its name.
        topology: String,
        /// The first file of results.
        one: String,
        /// The second.
        other: String,
    },
    /// Two parts were split from different plans.
    #[error(
        "{one} is part {part} of one matrix and {other} is of another: give each part the same paths, kernels and times"
    )]
    OtherSplit {
        /// The first file.
        one: String,
        /// Its part.
        part: String,
        /// The second file.
        other: String,
    },
    /// A cell in two parts of a split, where each cell is in one.
    #[error(
        "{topology} on {kernel} is in {one} and in {other}, two parts of one matrix: they were split by different times"
    )]
    Double {
        /// The row.
        topology: String,
        /// The column.
        kernel: String,
        /// The first file.
        one: String,
        /// The second.
        other: String,
    },
}

/// Cells by topology and kernel, and where each is from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merged {
    cells: BTreeMap<(String, Column), (Cell, String)>,
    planned: BTreeSet<(String, Column)>,
    new_fails: bool,
    /// The first version of the lab, and its file.
    lab: Option<(String, String)>,
    /// The first part of a split, and its file.
    part: Option<(Part, String)>,
    /// The planned cells of the parts so far, with their files.
    of_parts: BTreeMap<(String, Column), String>,
    /// By topology: its file's digest, and the results it is from.
    digests: BTreeMap<String, (String, String)>,
}

/// A kernel, ordered by the numbers in its name: 6.9 comes before 6.12, and 7.3-rc7 before 7.3.0.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Column(String);

impl Column {
    /// A release candidate has -1 where a release has its number, and its own number after that.
    fn numbers(&self) -> Vec<i64> {
        let numbers = |text: &str| {
            text.split(|c: char| !c.is_ascii_digit())
                .filter_map(|part| part.parse().ok())
                .collect::<Vec<i64>>()
        };
        match self.0.split_once("-rc") {
            Some((series, candidate)) => [numbers(series), vec![-1], numbers(candidate)].concat(),
            None => numbers(&self.0),
        }
    }
}

impl Ord for Column {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers().cmp(&other.numbers()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Column {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Judges what a topology did on a kernel that is not the lab's to choose. What such a kernel lacks is no difference
/// from what was accepted, so a skip stays one.
pub fn judge_as_found(document: Document, file: &str, accepted: Option<&Behaviour>) -> Cell {
    let policy = Policy { compare: document.outcome != Outcome::Skip, new_fails: false };
    judge(document, file, accepted, policy)
}

impl Merged {
    /// Nothing yet. `new_fails` as in [`Policy`]: whether a cell without an accepted snapshot fails.
    pub fn new(new_fails: bool) -> Self {
        Self { new_fails, ..Self::default() }
    }

    /// Takes in what a matrix was to run. What no file has of it is missing.
    pub fn plan(&mut self, planned: Planned) {
        let all = planned.into_iter();
        let cells =
            all.flat_map(|(topology, on)| on.into_iter().map(move |id| (topology.clone(), Column(id))));
        self.planned.extend(cells);
    }

    /// Takes in a matrix, or a part of one. `file` is what an error calls where it is from.
    ///
    /// # Errors
    /// It is from another version, of another split, or contradicts what was taken before.
    pub fn add_matrix(&mut self, file: &str, matrix: MatrixCells) -> Result<(), MergeError> {
        if let Some(lab) = matrix.lab {
            let (known, known_file) = self.lab.get_or_insert_with(|| (lab.clone(), file.to_owned()));
            if *known != lab {
                let (one, of_one) = (known_file.clone(), known.clone());
                return Err(MergeError::OtherLab { one, of_one, other: file.to_owned(), of_other: lab });
            }
        }
        if let Some(part) = matrix.shard {
            self.add_part(file, &matrix.planned, part)?;
        }
        self.plan(matrix.planned);
        matrix.cells.into_iter().try_for_each(|cell| self.add(file, cell))
    }

    /// The parts of a split are of one plan, and share no cell.
    fn add_part(&mut self, file: &str, planned: &Planned, part: Part) -> Result<(), MergeError> {
        if let Some((known, known_file)) = &self.part
            && (known.whole != part.whole || known.shard.of != part.shard.of)
        {
            let (one, part) = (known_file.clone(), known.shard.to_string());
            return Err(MergeError::OtherSplit { one, part, other: file.to_owned() });
        }
        for (topology, kernel) in
            planned.iter().flat_map(|(topology, on)| on.iter().map(move |id| (topology, id)))
        {
            let key = (topology.clone(), Column(kernel.clone()));
            // The same file twice says the same twice.
            if let Some(one) = self.of_parts.insert(key, file.to_owned()).filter(|one| one != file) {
                let (topology, kernel) = (topology.clone(), kernel.clone());
                return Err(MergeError::Double { topology, kernel, one, other: file.to_owned() });
            }
        }
        self.plan(part.whole.clone());
        self.part.get_or_insert((part, file.to_owned()));
        Ok(())
    }

    /// Takes in one cell. `file` is what an error calls where it is from.
    ///
    /// # Errors
    /// It contradicts one that was taken before.
    pub fn add(&mut self, file: &str, mut cell: Cell) -> Result<(), MergeError> {
        if self.new_fails
            && cell.snapshot.status == SnapshotStatus::New
            && cell.document.outcome == Outcome::Pass
        {
            cell.document.outcome = Outcome::Fail;
        }
        if let Some(digest) = &cell.digest {
            let topology = cell.document.topology.clone();
            let known =
                self.digests.entry(topology.clone()).or_insert_with(|| (digest.clone(), file.to_owned()));
            if known.0 != *digest {
                return Err(MergeError::OtherTopology {
                    topology,
                    one: known.1.clone(),
                    other: file.to_owned(),
                });
            }
        }
        let key = (cell.document.topology.clone(), Column(cell.document.kernel.id.clone()));
        let Some((known, known_file)) = self.cells.get(&key) else {
            self.cells.insert(key, (cell, file.into()));
            return Ok(());
        };
        if known.ran == cell.ran && snapshot::same(&known.behaviour, &cell.behaviour) {
            return Ok(());
        }
        let (topology, Column(kernel)) = key;
        Err(MergeError::Contradiction { topology, kernel, one: known_file.clone(), other: file.into() })
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.planned.is_empty()
    }

    /// All of it, by topology and then kernel. Not every topology has run on every kernel, which is no interruption
    /// where no matrix had it in its plan.
    pub fn into_matrix(self) -> Matrix {
        let places: BTreeSet<(String, Column)> = self.cells.keys().cloned().chain(self.planned).collect();
        let kernels: BTreeSet<&Column> = places.iter().map(|(_, kernel)| kernel).collect();
        let kernels: Vec<String> = kernels.into_iter().map(|Column(kernel)| kernel.clone()).collect();
        let mut planned = Planned::new();
        for (topology, Column(kernel)) in places {
            planned.entry(topology).or_default().push(kernel);
        }
        let topologies: Vec<String> = planned.keys().cloned().collect();
        let cells = self.cells.into_values().map(|(cell, _)| cell).collect();
        let mut matrix = Matrix::new(cells, &topologies, &kernels, Measures::default());
        matrix.planned = planned;
        matrix.interrupted = !matrix.missing().is_empty();
        matrix
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::grid;
    use crate::report::matrix::tests::{ended, finished};
    use crate::report::shard::Shard;

    fn merged(files: &[(&str, String)]) -> Result<Merged, MergeError> {
        let mut merged = Merged::default();
        for (file, json) in files {
            let cells: Vec<Cell> = match Kept::parse(file, json)? {
                Kept::Runs(documents) => {
                    documents.into_iter().map(|document| judge_as_found(document, "t.toml", None)).collect()
                }
                Kept::Matrix(matrix) => {
                    merged.add_matrix(file, matrix)?;
                    continue;
                }
            };
            cells.into_iter().try_for_each(|cell| merged.add(file, cell))?;
        }
        Ok(merged)
    }

    fn json(document: &Document) -> String {
        serde_json::to_string(document).expect("text keys only")
    }

    fn passed(topology: &str, kernel: &str) -> Document {
        finished(topology, kernel, Outcome::Pass, 0, 0)
    }

    #[test]
    fn machines_and_a_matrix_make_one_grid() {
        let cell = |topology: &str| {
            let document = passed(topology, "6.9.12");
            let accepted = snapshot::behaviour(&document);
            judge_as_found(document, "t.toml", Some(&accepted))
        };
        let names = ["a", "b"].map(String::from);
        let matrix = Matrix::new(
            names.iter().map(|n| cell(n)).collect(),
            &names,
            &["6.9.12".into()],
            Measures::default(),
        );
        let all = merged(&[
            ("1", json(&passed("a", "6.12.117 (host)"))),
            ("2", json(&ended("a", "6.1.192 (host)", Outcome::Skip, "it lacks a NIC"))),
            ("3", serde_json::to_string(&matrix).expect("text keys only")),
        ])
        .expect("nothing contradicts")
        .into_matrix();
        let expected = "   6.1.192 (host)  6.9.12      6.12.117 (host)\n\
                        a  skip            pass        pass*\n\
                        b  not run         pass        not run\n\
                        * has no accepted snapshot; its own conditions decided\n";
        assert_eq!(grid::grid(&all, grid::WIDTH), expected);
        assert!(all.is_expected() && !all.interrupted);
        assert!(!grid::render(&all).contains("cells/s"), "what it cost is not known");
    }

    #[test]
    fn a_release_candidate_is_before_its_release() {
        let names = ["7.3.4", "7.3-rc7", "6.19.14", "7.3-rc10", "7.3.0", "6.9.1"];
        let columns: BTreeSet<Column> = names.into_iter().map(|name| Column(name.to_owned())).collect();
        let ordered: Vec<&str> = columns.iter().map(|Column(name)| name.as_str()).collect();
        assert_eq!(ordered, ["6.9.1", "6.19.14", "7.3-rc7", "7.3-rc10", "7.3.0", "7.3.4"]);
    }

    #[test]
    fn a_cell_is_taken_twice_only_if_it_says_the_same() {
        let pass = || json(&passed("a", "6.1.192"));
        let twice = merged(&[("1", pass()), ("2", pass())]).expect("the same");
        assert_eq!(twice.into_matrix().cells.len(), 1);
        for other in
            [finished("a", "6.1.192", Outcome::Fail, 0, 0), finished("a", "6.1.192", Outcome::Pass, 1, 0)]
        {
            let error = merged(&[("1", pass()), ("2", json(&other))]).expect_err("they differ");
            let [topology, kernel, one, other] = ["a", "6.1.192", "1", "2"].map(String::from);
            assert_eq!(error, MergeError::Contradiction { topology, kernel, one, other });
        }
    }

    #[test]
    fn cells_that_were_planned_and_did_not_run_are_missing_until_another_file_has_them() {
        let cell = || judge_as_found(passed("a", "6.9.12"), "t.toml", None);
        let names = ["a", "b"].map(String::from);
        let cut = Matrix::new(vec![cell()], &names, &["6.9.12".into()], Measures::default());
        let cut = serde_json::to_string(&cut).expect("text keys only");
        let all = merged(&[("1", cut.clone())]).expect("it is a result").into_matrix();
        assert_eq!((all.interrupted, all.missing()), (true, vec![("b", "6.9.12")]));
        assert!(grid::summary(&all).contains("missing: b on 6.9.12"), "{}", grid::summary(&all));
        let again = serde_json::to_string(&all).expect("text keys only");
        assert!(merged(&[("1", again)]).expect("it is a result").into_matrix().interrupted);
        let rest = merged(&[("1", cut), ("2", json(&passed("b", "6.9.12")))]).expect("nothing contradicts");
        let rest = rest.into_matrix();
        assert_eq!((rest.interrupted, rest.missing()), (false, Vec::new()));
        let none = r#"{"cells":[],"planned":{"a":["6.9.12"],"b":["6.9.12"]}}"#;
        let none = merged(&[("1", none.into())]).expect("it is a result").into_matrix();
        assert_eq!((none.interrupted, none.missing()), (true, vec![("a", "6.9.12"), ("b", "6.9.12")]));
        for all in ["a on 6.9.12", "b on 6.9.12"] {
            assert!(
                grid::summary(&none).contains(&format!("  missing: {all}\n")),
                "{}",
                grid::summary(&none)
            );
        }
        let error = merged(&[("1", r#"{"cells":[]}"#.into())]).expect_err("what is missing is not known");
        assert!(error.to_string().starts_with("1: it does not say which cells were planned"), "{error}");
    }

    /// One part of a matrix of two cells, a and b on 6.9.12, as a file.
    fn part(index: u16, own: &str, lab: &str, digest: &str) -> String {
        let names = ["a", "b"].map(String::from);
        let mut cell = judge_as_found(passed(own, "6.9.12"), "t.toml", None);
        cell.digest = Some(digest.to_owned());
        let matrix = Matrix::new(vec![cell], &names, &["6.9.12".into()], Measures::default());
        let own = BTreeSet::from([(own.to_owned(), "6.9.12".to_owned())]);
        let mut matrix = matrix.part(Shard { index, of: 2 }, &own);
        assert!(!matrix.interrupted, "all of this part has run");
        matrix.lab = Some(lab.to_owned());
        serde_json::to_string(&matrix).expect("text keys only")
    }

    #[test]
    fn variants_of_one_topology_are_rows_of_their_own() {
        let variants = |all: &[Document]| serde_json::json!({ "variants": all }).to_string();
        let both = variants(&[passed("t,mode=a", "6.9.12"), passed("t,mode=b", "6.9.12")]);
        let matrix = merged(&[("1", both)]).expect("nothing contradicts").into_matrix();
        assert_eq!(matrix.grid.rows.keys().collect::<Vec<_>>(), ["t,mode=a", "t,mode=b"]);
        assert!(matches!(merged(&[("1", variants(&[]))]), Err(MergeError::NoResult { .. })));
    }

    #[test]
    fn a_part_that_is_not_there_is_missing() {
        let one = merged(&[("1", part(1, "a", "0.1", "x"))]).expect("it is a result").into_matrix();
        assert_eq!((one.interrupted, one.missing()), (true, vec![("b", "6.9.12")]));
        let both = merged(&[("1", part(1, "a", "0.1", "x")), ("2", part(2, "b", "0.1", "x"))]);
        assert!(!both.expect("nothing contradicts").into_matrix().interrupted);
    }

    #[test]
    fn parts_of_other_versions_and_other_splits_are_refused() {
        let other_lab = merged(&[("1", part(1, "a", "0.1", "x")), ("2", part(2, "b", "0.2", "x"))]);
        assert!(matches!(other_lab, Err(MergeError::OtherLab { .. })), "{other_lab:?}");
        let double = merged(&[("1", part(1, "a", "0.1", "x")), ("2", part(2, "a", "0.1", "x"))]);
        assert!(matches!(double, Err(MergeError::Double { .. })), "{double:?}");
        let other_file = merged(&[
            ("1", part(1, "a", "0.1", "x")),
            ("2", part(2, "b", "0.1", "x")),
            (
                "3",
                serde_json::to_string(&Matrix::new(
                    vec![Cell {
                        digest: Some("y".into()),
                        ..judge_as_found(passed("a", "6.9.12"), "t.toml", None)
                    }],
                    &["a".into()],
                    &["6.9.12".into()],
                    Measures::default(),
                ))
                .expect("text keys only"),
            ),
        ]);
        assert!(matches!(other_file, Err(MergeError::OtherTopology { .. })), "{other_file:?}");
        let other_split = part(2, "b", "0.1", "x").replace("\"of\":2", "\"of\":3");
        let other_split = merged(&[("1", part(1, "a", "0.1", "x")), ("2", other_split)]);
        assert!(matches!(other_split, Err(MergeError::OtherSplit { .. })), "{other_split:?}");
    }

    #[test]
    fn a_cell_without_a_snapshot_fails_where_nobody_is_there_to_accept_it() {
        for (new_fails, expected) in [(false, true), (true, false)] {
            let mut merged = Merged::new(new_fails);
            let cell = judge_as_found(passed("a", "6.9.12"), "t.toml", None);
            merged.add("1", cell).expect("it is the first");
            assert_eq!(merged.into_matrix().is_expected(), expected);
        }
    }

    #[test]
    fn what_is_cut_short_or_bad_is_never_green() {
        let whole = json(&passed("a", "6.1.192"));
        for text in ["", "{}", "[]", r#"{"cells":[{}],"planned":{}}"#, &whole[..whole.len() - 1]] {
            assert!(matches!(merged(&[("1", text.into())]), Err(MergeError::NoResult { .. })), "{text}");
        }
        for outcome in [Outcome::Fail, Outcome::Panic, Outcome::Hang, Outcome::BootFail, Outcome::Error] {
            let bad = merged(&[("1", json(&ended("a", "6.1.192", outcome, "x")))]).expect("it is a result");
            assert!(!bad.into_matrix().is_expected(), "{outcome}");
        }
    }

    #[test]
    fn what_a_kernel_lacks_is_a_skip_whatever_was_accepted() {
        let skip = ended("a", "6.1.192", Outcome::Skip, "it lacks a NIC");
        assert_eq!(
            judge_as_found(skip, "t.toml", Some(&Behaviour::parse("outcome: pass"))).document.outcome,
            Outcome::Skip
        );
        let other = finished("a", "6.1.192", Outcome::Pass, 1, 0);
        assert_eq!(
            judge_as_found(other, "t.toml", Some(&Behaviour::parse("outcome: pass"))).document.outcome,
            Outcome::Fail
        );
    }
}
